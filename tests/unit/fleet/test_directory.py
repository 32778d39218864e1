import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt import supervision
from mimi_mqtt.config import AccountSettings
from mimi_mqtt.config.prompt import DeviceFacts
from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet import administration, device_settings
from mimi_mqtt.fleet import directory as directory_module
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.credentials import COMMAND_LINE_USER, SELF_CHECK_USER
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.store import devices
from mimi_mqtt.store.devices import Boot
from mimi_mqtt.store.engine import Store
from tests.databases import sqlite_store
from tests.unit.fleet.conftest import DEVICE, Fleet, asking, password_of

pytestmark = pytest.mark.databases("sqlite")  # other stores are opened on the same file


def with_accounts(fleet: Fleet, accounts: AccountSettings) -> DeviceDirectory:
    return DeviceDirectory(fleet.store, fleet.credentials, Accounts(accounts))


async def test_a_device_under_its_own_client_id_is_a_device(fleet: Fleet) -> None:
    password = password_of(await fleet.provisioner().provision(asking(), "10.0.0.1"))
    assert fleet.directory.authenticate(DEVICE, DEVICE, password) == Identity(Role.DEVICE, DEVICE, DEVICE)


async def test_its_credentials_under_another_client_id_open_a_testers_connection(fleet: Fleet) -> None:
    password = password_of(await fleet.provisioner().provision(asking(), "10.0.0.1"))
    assert fleet.directory.authenticate("mqttx", DEVICE, password) == Identity(Role.TESTER, DEVICE, DEVICE)


async def test_wrong_and_missing_credentials_are_refused(fleet: Fleet) -> None:
    password = password_of(await fleet.provisioner().provision(asking(), "10.0.0.1"))
    other = "aa-bb-cc-00-11-33"
    for client_id, username, given in (
        (DEVICE, DEVICE, b"wrong"),
        (DEVICE, DEVICE, None),
        (DEVICE, DEVICE, b""),
        (DEVICE, None, password),
        (DEVICE, "", password),
        (other, other, password),
        (DEVICE, DEVICE.upper(), password),
        ("x", "admin", b""),
        ("x", "admin", None),
        ("x", None, None),
    ):
        assert fleet.directory.authenticate(client_id, username, given) is None


async def test_the_administrator_needs_the_configured_password(fleet: Fleet) -> None:
    directory = with_accounts(fleet, AccountSettings(admin_password=SecretStr("pässword")))
    assert directory.authenticate("x", "admin", "pässword".encode()) == Identity(Role.ADMIN, "admin")
    assert directory.authenticate("x", "admin", b"password") is None
    assert directory.authenticate("x", "root", "pässword".encode()) is None


async def test_the_self_check_s_password_is_no_administrator_s(fleet: Fleet) -> None:
    """It is sent to the advertised address, which a wrong DNS entry may lead to a stranger."""
    password = fleet.credentials.self_check_password(time.time()).encode()
    found = fleet.directory.authenticate("any", SELF_CHECK_USER, password)
    assert found == Identity(Role.ANONYMOUS, SELF_CHECK_USER)
    assert fleet.directory.authenticate("any", COMMAND_LINE_USER, password) is None
    assert not fleet.credentials.check_command_line_password(password, time.time())
    old = fleet.credentials.self_check_password(time.time() - 3600).encode()
    assert fleet.directory.authenticate("any", SELF_CHECK_USER, old) is None


async def test_this_machines_command_line_is_an_administrator_without_a_configured_password(
    fleet: Fleet,
) -> None:
    password = fleet.credentials.command_line_password(time.time()).encode()
    user = COMMAND_LINE_USER
    assert fleet.directory.authenticate("x", user, password) == Identity(Role.ADMIN, user)
    old = fleet.credentials.command_line_password(time.time() - 3600).encode()
    for wrong in (old, b"", None, b"x"):
        assert fleet.directory.authenticate("x", user, wrong) is None
    assert fleet.directory.authenticate("x", "admin", password) is None


async def test_anonymous_clients_are_let_in_only_when_configured(fleet: Fleet) -> None:
    directory = with_accounts(fleet, AccountSettings(anonymous=True))
    assert directory.authenticate("x", None, None) == Identity(Role.ANONYMOUS, "")
    assert directory.authenticate("x", "somebody", None) is None
    assert directory.authenticate("x", None, b"password without a name") is None


async def test_an_unknown_user_costs_the_check_of_a_password(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    checked: list[str | None] = []

    def check(_: object, password: bytes, device_id: str | None, epoch: int) -> bool:
        del password, epoch
        checked.append(device_id)
        return False

    monkeypatch.setattr(type(fleet.credentials), "check_password", check)
    for username in (DEVICE, "nobody"):
        assert fleet.directory.authenticate("x", username, b"wrong") is None
    assert checked == [DEVICE, None]


async def test_a_device_revoked_by_another_process_is_thrown_out(fleet: Fleet, tmp_path: Path) -> None:
    password = password_of(await fleet.provisioner().provision(asking(), "10.0.0.1"))
    other = sqlite_store(tmp_path)
    await other.open()
    await administration.revoke(other, DEVICE, fleet.clock())
    await other.aclose()
    await fleet.directory.refresh()
    assert fleet.revoked == [DEVICE]
    assert fleet.directory.authenticate(DEVICE, DEVICE, password) is None
    assert fleet.directory.get(DEVICE) is None
    assert len(fleet.directory) == 0


async def test_an_old_password_stays_worthless_when_the_device_is_allowed_again(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    old = password_of(await provisioner.provision(asking(), "10.0.0.1"))
    await administration.revoke(fleet.store, DEVICE, fleet.clock())
    await administration.allow(fleet.store, DEVICE, fleet.clock())
    await fleet.directory.refresh()
    new = password_of(await provisioner.provision(asking(), "10.0.0.1"))
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is None
    assert fleet.directory.authenticate(DEVICE, DEVICE, new) is not None


async def test_a_device_forgotten_by_another_process_is_thrown_out(fleet: Fleet, tmp_path: Path) -> None:
    provisioner = fleet.provisioner()
    old = password_of(await provisioner.provision(asking(), "10.0.0.1"))
    async with fleet.store.read() as session:
        before = await devices.get(session, DEVICE)
    assert before is not None
    other = sqlite_store(tmp_path)
    await other.open()
    await administration.forget(other, DEVICE, fleet.clock())
    await other.aclose()
    await fleet.directory.refresh()
    assert fleet.revoked == [DEVICE]
    fleet.directory.apply(before)
    assert fleet.directory.get(DEVICE) is None
    assert len(fleet.directory) == 0
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is None


async def test_a_forgotten_device_that_comes_back_is_a_new_one(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    old = password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))
    await administration.forget(fleet.store, DEVICE, fleet.clock())
    await fleet.directory.refresh()
    new = password_of(await provisioner.provision(asking("uuid-2"), "10.0.0.1"))
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is None
    again = with_accounts(fleet, AccountSettings())
    for directory in (fleet.directory, again):
        await directory.refresh()
        assert directory.authenticate(DEVICE, DEVICE, new) is not None
        assert len(directory) == 1


async def test_a_device_that_was_forgotten_and_came_back_unnoticed_loses_its_connections(
    fleet: Fleet,
) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    late = with_accounts(fleet, AccountSettings())
    revoked: list[str] = []
    late.on_revoked = revoked.append
    await late.refresh()
    await administration.forget(fleet.store, DEVICE, fleet.clock())
    await fleet.directory.refresh()
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    await late.refresh()
    assert revoked == [DEVICE]
    assert late.get(DEVICE) is not None


async def test_a_row_that_arrives_late_does_not_bring_a_revoked_device_back(fleet: Fleet) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    async with fleet.store.read() as session:
        before = await devices.get(session, DEVICE)
    assert before is not None
    await administration.revoke(fleet.store, DEVICE, fleet.clock())
    await fleet.directory.refresh()
    fleet.directory.apply(before)
    assert fleet.directory.get(DEVICE) is None


async def test_changed_settings_reach_the_directory_without_ending_connections(fleet: Fleet) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert (known.language, known.name, known.host) == ("en-US", "", "10.0.0.1")
    wanted = DeviceChange(name=" Kitchen ", language="de", transport="websocket")
    await device_settings.change(fleet.store, DEVICE, wanted, fleet.clock())
    await fleet.directory.refresh()
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert (known.language, known.name) == ("de", "Kitchen")
    assert fleet.revoked == []


async def test_devices_are_known_after_a_restart(fleet: Fleet) -> None:
    password = password_of(await fleet.provisioner().provision(asking(), "10.0.0.1"))
    await fleet.directory.aclose()
    again = with_accounts(fleet, AccountSettings())
    await again.start()
    assert again.authenticate(DEVICE, DEVICE, password) is not None
    assert again.get(DEVICE) == fleet.directory.get(DEVICE)
    await again.aclose()


async def test_what_a_device_said_of_itself_is_known_at_once(fleet: Fleet) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    await fleet.provisioner().provision(asking(User_Agent="bread-compact-wifi/2.1.0"), "10.0.0.1")
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert known.facts == DeviceFacts(DEVICE, "", "bread-compact-wifi", "en-US", "2.1.0")


async def test_an_agent_and_a_user_given_elsewhere_are_noticed(fleet: Fleet) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    wanted = DeviceChange(agent="chef", user_name=" Anna ")
    await device_settings.change(fleet.store, DEVICE, wanted, fleet.clock())
    await fleet.directory.refresh()
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert (known.agent, known.user_name) == ("chef", "Anna")
    wanted = DeviceChange(agent="", user_name="")
    await device_settings.change(fleet.store, DEVICE, wanted, fleet.clock())
    await fleet.directory.refresh()
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert (known.agent, known.user_name) == ("", "")
    assert fleet.revoked == []


async def test_when_a_device_connected_is_written_at_the_end(fleet: Fleet) -> None:
    password = password_of(await fleet.provisioner().provision(asking(), "10.0.0.1"))
    fleet.directory.authenticate(DEVICE, DEVICE, password)
    await fleet.directory.aclose()
    async with fleet.store.read() as session:
        found = await devices.get(session, DEVICE)
    assert found is not None
    assert found.last_seen_at > fleet.clock()


async def test_a_boot_of_a_device_that_may_connect_is_told_in_bounded_words(fleet: Fleet) -> None:
    booted: list[tuple[str, int]] = []
    fleet.directory.on_booted = lambda device: booted.append((device.device_id, len(device.board)))
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    board = "b" * 10_000
    for device_id in (DEVICE, "aa-bb-cc-00-11-99"):
        fleet.directory.booted(Boot(device_id, "client", fleet.clock(), board=board))
    assert [device_id for device_id, _ in booted] == [DEVICE, DEVICE]
    assert booted[1][1] < 1_000


async def test_devices_that_stay_connected_count_as_seen(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisioner = fleet.provisioner()
    for number in (1, 2):
        await provisioner.provision(asking(mac=f"aa:bb:cc:00:11:0{number}"), "10.0.0.1")
    await fleet.directory.aclose()  # what they said when they booted is written
    monkeypatch.setattr(directory_module, "_PRESENT_EVERY_S", 0.0)
    directory = DeviceDirectory(fleet.store, fleet.credentials, Accounts(AccountSettings()), refresh_s=0.001)
    asked = asyncio.Event()

    def is_connected(device_id: str) -> bool:
        asked.set()
        return device_id.endswith("01")

    directory.is_connected = is_connected
    await directory.start()
    await asked.wait()
    await directory.aclose()
    forgotten = await administration.forget_unseen(
        fleet.store, fleet.clock() + timedelta(seconds=1), fleet.clock()
    )
    assert forgotten == ["aa-bb-cc-00-11-02"]


async def test_keys_are_not_shown(fleet: Fleet) -> None:
    response = await fleet.provisioner().provision(asking(), "10.0.0.1")
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert response.udp is not None
    key = fleet.directory.master_key(DEVICE)
    assert key is not None
    assert key.hex() == response.udp.key
    shown = f"{known!r} {known} {fleet.directory!r}"
    assert repr(key) not in shown
    assert key.hex() not in shown
    assert fleet.directory.master_key("aa-bb-cc-99-99-99") is None


class FlakyStore(Store):
    """A database that can be out of reach; `asked` counts how often it was read."""

    fault: Exception | None = None
    write_fault: Exception | None = None

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked = asyncio.Semaphore(0)

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        self.asked.release()
        if self.fault is not None:
            raise self.fault
        return super().read()

    def write(self, *, within_s: float | None = None) -> AbstractAsyncContextManager[AsyncSession]:
        if self.write_fault is not None:
            raise self.write_fault
        return super().write(within_s=within_s)


async def test_changes_of_others_are_noticed_without_being_asked(fleet: Fleet, tmp_path: Path) -> None:
    password = password_of(await fleet.provisioner().provision(asking(), "10.0.0.1"))
    revoked = asyncio.Event()
    directory = DeviceDirectory(fleet.store, fleet.credentials, Accounts(AccountSettings()), refresh_s=0.001)
    directory.on_revoked = lambda _: revoked.set()
    await directory.start()
    assert directory.authenticate(DEVICE, DEVICE, password) is not None
    other = sqlite_store(tmp_path)
    await other.open()
    await administration.revoke(other, DEVICE, fleet.clock())
    await other.aclose()
    await revoked.wait()
    assert directory.authenticate(DEVICE, DEVICE, password) is None
    await directory.aclose()


@pytest.mark.usefixtures("soon")
async def test_a_database_out_of_reach_leaves_what_was_known(fleet: Fleet, tmp_path: Path) -> None:
    password = password_of(await fleet.provisioner().provision(asking(), "10.0.0.1"))
    store = FlakyStore(f"sqlite:///{tmp_path}/mimi.db")
    await store.open()
    directory = DeviceDirectory(store, fleet.credentials, Accounts(AccountSettings()), refresh_s=0.001)
    await directory.start()
    for broken in (True, False):
        store.fault = StoreError("out of reach") if broken else None
        # Of four readings, the third came after the outcome of the second was taken in.
        for _ in range(4):
            await store.asked.acquire()
        assert directory.healthy is not broken
        assert directory.authenticate(DEVICE, DEVICE, password) is not None
    await directory.aclose()
    await store.aclose()


async def test_ota_sees_what_others_changed_when_the_last_reading_is_too_old(
    fleet: Fleet, tmp_path: Path
) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    store = FlakyStore(f"sqlite:///{tmp_path}/mimi.db")
    await store.open()
    directory = DeviceDirectory(store, fleet.credentials, Accounts(AccountSettings()), refresh_s=-1)
    found = await directory.registration(DEVICE)
    assert found is not None
    assert found.client_id == "uuid-1"
    await administration.revoke(fleet.store, DEVICE, fleet.clock())
    assert await directory.registration(DEVICE) is None
    store.fault = StoreError("out of reach")
    with pytest.raises(StoreError):
        await directory.registration(DEVICE)
    await store.aclose()


async def test_many_who_find_the_reading_too_old_share_a_new_one(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    store = FlakyStore(f"sqlite:///{tmp_path}/mimi.db")
    await store.open()
    read_before = store.asked._value
    directory = DeviceDirectory(store, fleet.credentials, Accounts(AccountSettings()), refresh_s=3600)
    found = await asyncio.gather(*(directory.registration(DEVICE) for _ in range(50)))
    assert all(registration is not None for registration in found)
    assert store.asked._value == read_before + 1
    await store.aclose()


async def test_a_registration_does_not_show_the_client_id(fleet: Fleet) -> None:
    await fleet.provisioner().provision(asking("secret-uuid"), "10.0.0.1")
    found = await fleet.directory.registration(DEVICE)
    assert found is not None
    assert "secret-uuid" not in f"{found!r} {found}"


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop go on until `condition` holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.001)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that failed goes on almost at once."""
    monkeypatch.setattr(supervision, "FIRST_DELAY_S", 0.002)
    monkeypatch.setattr(supervision, "MAX_DELAY_S", 0.002)


@pytest.mark.usefixtures("soon")
async def test_one_device_that_can_not_be_thrown_out_does_not_keep_the_others_connected(fleet: Fleet) -> None:
    ids = [f"aa-bb-cc-00-11-0{number}" for number in range(4)]
    for device_id in ids:
        await fleet.provisioner().provision(asking(mac=device_id.replace("-", ":")), "10.0.0.1")
    directory = DeviceDirectory(fleet.store, fleet.credentials, Accounts(AccountSettings()), refresh_s=0.001)
    ended: list[str] = []
    stuck = True
    tries = 0

    def end(device_id: str) -> None:
        nonlocal tries
        if device_id == ids[1] and stuck:
            tries += 1
            raise RuntimeError("a mistake in the transport")
        ended.append(device_id)

    directory.on_revoked = end
    await directory.start()
    for device_id in ids[:3]:
        await administration.revoke(fleet.store, device_id, fleet.clock())
    await until(lambda: tries > 2 and len(ended) == 2)
    assert directory._loop.healthy  # a round that failed would have the next one wait
    assert sorted(ended) == [ids[0], ids[2]]
    assert not directory.healthy
    assert len(directory) == 1
    await administration.revoke(fleet.store, ids[3], fleet.clock())  # later ones are noticed too
    await until(lambda: ids[3] in ended)
    assert not directory.healthy
    stuck = False
    await until(lambda: directory.healthy)
    assert sorted(ended) == ids
    await directory.aclose()


async def test_ota_is_answered_although_the_old_connection_can_not_be_ended(fleet: Fleet) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")

    def end(_: str) -> None:
        raise RuntimeError("a mistake in the transport")

    fleet.directory.on_revoked = end
    await administration.revoke(fleet.store, DEVICE, fleet.clock())
    await administration.allow(fleet.store, DEVICE, fleet.clock())
    response = await fleet.provisioner().provision(asking(), "10.0.0.2")
    assert response.mqtt is not None


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fault", [StoreError("locked"), TypeError("a mistake")])
async def test_changes_are_noticed_again_after_whatever_a_round_raised(
    fleet: Fleet, tmp_path: Path, fault: Exception
) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    store = FlakyStore(f"sqlite:///{tmp_path}/mimi.db")
    await store.open()
    directory = DeviceDirectory(store, fleet.credentials, Accounts(AccountSettings()), refresh_s=0.001)
    await directory.start()
    store.fault = fault
    await until(lambda: not directory.healthy)
    await administration.revoke(fleet.store, DEVICE, fleet.clock())
    store.fault = None
    await until(lambda: len(directory) == 0)
    await until(lambda: directory.healthy)
    await directory.aclose()
    await store.aclose()


@pytest.mark.usefixtures("soon")
async def test_when_devices_were_seen_is_not_lost_with_a_failed_write(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "_SEEN_EVERY_S", 0.0)
    password = password_of(await fleet.provisioner().provision(asking(), "10.0.0.1"))
    await fleet.directory.aclose()
    store = FlakyStore(f"sqlite:///{tmp_path}/mimi.db")
    await store.open()
    directory = DeviceDirectory(store, fleet.credentials, Accounts(AccountSettings()), refresh_s=0.001)
    await directory.start()
    store.write_fault = StoreError("locked")
    directory.authenticate(DEVICE, DEVICE, password)
    await until(lambda: not directory.healthy)
    store.write_fault = None
    await until(lambda: directory.healthy)
    async with store.read() as session:
        found = await devices.get(session, DEVICE)
    assert found is not None
    assert found.last_seen_at > fleet.clock()
    await directory.aclose()
    await store.aclose()


async def test_forgotten_devices_take_no_room(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    for number in range(20):
        mac = f"aa:bb:cc:00:22:{number:02x}"
        password = password_of(await provisioner.provision(asking(mac=mac), "10.0.0.1"))
        device_id = mac.replace(":", "-")
        assert fleet.directory.authenticate(device_id, device_id, password) is not None
        await administration.forget(fleet.store, mac, fleet.clock())
        await fleet.directory.refresh()
    assert (fleet.directory.remembered, len(fleet.directory)) == (0, 0)
    again = with_accounts(fleet, AccountSettings())
    await again.refresh()
    assert again.remembered == 0
