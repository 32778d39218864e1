"""After a rotation old and new credentials are good, for each device until it used its new ones."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.fleet import administration, secret_files
from mimi_mqtt.fleet import credentials as credentials_module
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.identity import Role
from mimi_mqtt.fleet.secret_files import OLD_SECRET_FILE
from mimi_mqtt.store import devices
from tests.unit.fleet.conftest import DEVICE, MAC, Fleet, asking, password_of

DAY_S = 86_400.0
OTHER = "aa-bb-cc-00-11-33"


async def _password(fleet: Fleet, device_id: str = DEVICE) -> bytes:
    mac = device_id.replace("-", ":")
    return password_of(await fleet.provisioner().provision(asking(mac=mac), "10.0.0.1"))


def _rotate(fleet: Fleet, folder: Path, keep_s: float = 30 * DAY_S) -> None:
    """What `mimi-mqtt rotate-secret` and the server's reload do."""
    secret_files.rotate(folder, time.time(), keep_s)
    assert fleet.credentials.take(fleet.credentials.read())
    fleet.directory.secret_changed()


def _role(fleet: Fleet, password: bytes, device_id: str = DEVICE, client_id: str = "") -> Role | None:
    identity = fleet.directory.authenticate(client_id or device_id, device_id, password)
    return getattr(identity, "role", None)


async def test_both_credentials_are_good_until_the_new_ones_were_used(fleet: Fleet, tmp_path: Path) -> None:
    old = await _password(fleet)
    _rotate(fleet, tmp_path)
    assert fleet.revoked == []
    assert _role(fleet, old) is Role.DEVICE
    new = await _password(fleet)
    assert new != old
    assert _role(fleet, old) is Role.DEVICE  # it asked OTA, and did not connect yet
    assert _role(fleet, new) is Role.DEVICE
    assert _role(fleet, old) is None
    assert _role(fleet, old, client_id="a tester") is None
    assert _role(fleet, new) is Role.DEVICE


async def test_one_devices_new_credentials_leave_those_of_others(fleet: Fleet, tmp_path: Path) -> None:
    old, others = await _password(fleet), await _password(fleet, OTHER)
    _rotate(fleet, tmp_path)
    assert _role(fleet, await _password(fleet)) is Role.DEVICE
    assert _role(fleet, old) is None
    assert _role(fleet, others, OTHER) is Role.DEVICE


async def test_a_tester_with_new_credentials_does_not_put_the_device_out(
    fleet: Fleet, tmp_path: Path
) -> None:
    old = await _password(fleet)
    _rotate(fleet, tmp_path)
    assert _role(fleet, await _password(fleet), client_id="a tester") is Role.TESTER
    assert _role(fleet, old) is Role.DEVICE


async def test_testers_with_old_credentials_are_disconnected_once_the_device_has_new_ones(
    fleet: Fleet, tmp_path: Path
) -> None:
    await _password(fleet)
    _rotate(fleet, tmp_path)
    renewed: list[str] = []
    fleet.directory.on_renewed = renewed.append
    for _ in range(2):
        assert _role(fleet, await _password(fleet)) is Role.DEVICE
    fleet.directory._refresh_s = 0.001
    for _ in range(2):
        await fleet.directory._keep_up()
    assert renewed == [DEVICE]


async def test_a_restart_does_not_make_old_credentials_good_again(fleet: Fleet, tmp_path: Path) -> None:
    old = await _password(fleet)
    _rotate(fleet, tmp_path)
    assert _role(fleet, await _password(fleet)) is Role.DEVICE
    await fleet.directory.aclose()
    fleet.credentials = Credentials.load(tmp_path)
    fleet.directory = DeviceDirectory(fleet.store, fleet.credentials, fleet.directory._accounts)
    await fleet.directory.start()
    assert fleet.credentials.overlaps
    assert _role(fleet, old) is None
    await fleet.directory.aclose()


async def test_the_next_rotation_has_its_own_overlap(fleet: Fleet, tmp_path: Path) -> None:
    first = await _password(fleet)
    _rotate(fleet, tmp_path)
    second = await _password(fleet)
    assert _role(fleet, second) is Role.DEVICE
    _rotate(fleet, tmp_path)
    assert _role(fleet, first) is None
    assert _role(fleet, second) is Role.DEVICE
    assert _role(fleet, await _password(fleet)) is Role.DEVICE
    assert _role(fleet, second) is None


async def test_the_audio_key_is_that_of_the_credentials_in_use(fleet: Fleet, tmp_path: Path) -> None:
    async def told() -> bytes:
        udp = (await fleet.provisioner().provision(asking(mac=MAC), "10.0.0.1")).udp
        assert udp is not None
        return bytes.fromhex(udp.key)

    old, old_key = await _password(fleet), await told()
    _rotate(fleet, tmp_path)
    assert fleet.directory.master_key(DEVICE) == old_key
    assert _role(fleet, old) is Role.DEVICE
    assert fleet.directory.master_key(DEVICE) == old_key
    new, new_key = await _password(fleet), await told()
    assert new_key != old_key
    assert _role(fleet, new) is Role.DEVICE
    assert fleet.directory.master_key(DEVICE) == new_key


async def test_a_rotation_at_once_ends_every_credential_and_connection(fleet: Fleet, tmp_path: Path) -> None:
    passwords = {device_id: await _password(fleet, device_id) for device_id in (DEVICE, OTHER)}
    _rotate(fleet, tmp_path, keep_s=0)
    assert sorted(fleet.revoked) == [DEVICE, OTHER]
    for device_id, old in passwords.items():
        assert _role(fleet, old, device_id) is None
        assert _role(fleet, await _password(fleet, device_id), device_id) is Role.DEVICE


async def test_when_the_time_is_over_the_old_secret_is_gone_for_good(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = await _password(fleet), await _password(fleet, OTHER)
    _rotate(fleet, tmp_path)
    assert _role(fleet, await _password(fleet, OTHER), OTHER) is Role.DEVICE
    assert _role(fleet, old) is Role.DEVICE
    later = time.time() + 30 * DAY_S + 1
    monkeypatch.setattr("mimi_mqtt.fleet.directory.time.time", lambda: later)
    fleet.directory._refresh_s = 0.001
    await fleet.directory._keep_up()
    assert fleet.revoked == [DEVICE]
    assert _role(fleet, old) is None
    assert not (tmp_path / OLD_SECRET_FILE).exists()


async def test_an_old_secret_that_a_reload_finds_gone_ends_its_connections(
    fleet: Fleet, tmp_path: Path
) -> None:
    old = await _password(fleet)
    _rotate(fleet, tmp_path)
    assert _role(fleet, old) is Role.DEVICE
    secret_files.delete_old(tmp_path)
    assert not fleet.credentials.take(fleet.credentials.read())
    fleet.directory._refresh_s = 0.001
    await fleet.directory._keep_up()
    assert fleet.revoked == [DEVICE]
    assert _role(fleet, old) is None


async def test_a_rotation_while_it_is_stored_who_knows_the_secret_before_does_not_put_devices_out(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _password(fleet)
    _rotate(fleet, tmp_path)
    second = await _password(fleet)
    assert _role(fleet, second) is Role.DEVICE

    async def touch(session: AsyncSession, seen: Mapping[str, datetime]) -> None:
        _rotate(fleet, tmp_path)

    monkeypatch.setattr(devices, "touch", touch)
    await fleet.directory._save_seen()
    await fleet.directory.refresh()
    assert _role(fleet, second) is Role.DEVICE


async def test_revoking_ends_the_credentials_of_both_secrets(fleet: Fleet, tmp_path: Path) -> None:
    old = await _password(fleet)
    _rotate(fleet, tmp_path)
    new = await _password(fleet)
    await administration.revoke(fleet.store, DEVICE, fleet.clock())
    await administration.allow(fleet.store, DEVICE, fleet.clock())
    await fleet.directory.refresh()
    assert (_role(fleet, old), _role(fleet, new)) == (None, None)


async def test_an_unknown_device_costs_the_checks_of_a_known_one_in_an_overlap(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _password(fleet)
    _rotate(fleet, tmp_path)
    checked: list[str | None] = []
    is_right: Callable[[bytes, bytes, str | None, int], bool] = credentials_module._is_right

    def check(secret: bytes, password: bytes, device_id: str | None, epoch: int) -> bool:
        checked.append(device_id)
        return is_right(secret, password, device_id, epoch)

    monkeypatch.setattr(credentials_module, "_is_right", check)
    assert _role(fleet, b"wrong") is None
    assert _role(fleet, b"wrong", OTHER) is None
    assert checked == [DEVICE, DEVICE, None, None]


async def test_nothing_is_noted_or_written_outside_of_an_overlap(fleet: Fleet) -> None:
    assert _role(fleet, await _password(fleet)) is Role.DEVICE
    assert fleet.directory._overlap.take_unsaved() == set()
    assert fleet.directory._overlap.take_untold() is None
