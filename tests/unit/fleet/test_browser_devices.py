"""Browsers as devices: whose they are, how many, and what opens their connections."""

import re
import time

import pytest
from sqlmodel import col, select

from mimi_mqtt.errors import Conflict, Forbidden, LimitReached
from mimi_mqtt.fleet import ownership
from mimi_mqtt.fleet.browser_devices import BOARD, MAX_PER_ACCOUNT, Browser, BrowserAccess, BrowserDevices
from mimi_mqtt.fleet.browser_tokens import LIFETIME_S, BrowserTokens
from mimi_mqtt.fleet.rights import COMMAND_LINE, Rights
from mimi_mqtt.store import devices
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.tables import AuditEntry, User
from tests.unit.fleet.conftest import Fleet, asking


def person(name: str) -> Rights:
    return Rights(Author(name, f"u-{name}", "192.0.2.7"), f"u-{name}", is_admin=False)


BOB, EVE = person("bob"), person("eve")


class Talkers:
    """The browsers of a fleet, and which of them are connected."""

    def __init__(self, fleet: Fleet, max_devices: int = 100) -> None:
        self.connected: set[str] = set()
        self.browsers = BrowserDevices(
            fleet.store, fleet.directory, fleet.credentials, path="/ws", max_devices=max_devices,
            is_connected=self.connected.__contains__, clock=lambda: fleet.clock().timestamp(),
        )  # fmt: skip

    async def connect(self, rights: Rights = BOB, device_id: str = "", name: str = "") -> BrowserAccess:
        given = Browser(device_id, name, language="vi", origin="https://mimi.lan", host="mimi.lan")
        return await self.browsers.connect(given, rights.author.name, rights)


async def test_a_browser_becomes_a_device_of_its_person_and_stays_it(fleet: Fleet) -> None:
    talkers = Talkers(fleet)
    made = (await talkers.connect()).device
    assert re.fullmatch("[0-9a-f]{2}(-[0-9a-f]{2}){5}", made.id)
    assert int(made.id[:2], 16) & 0b11 == 0b10  # locally administered, of one device
    assert (made.owner_id, made.board, made.name) == ("u-bob", BOARD, "bob's browser")
    known = fleet.directory.get(made.id)
    assert known is not None
    assert (known.language, known.origin, known.auto_update) == ("vi", "https://mimi.lan", False)
    assert (await talkers.connect(device_id=made.id.replace("-", ":"))).device.id == made.id
    async with fleet.store.read() as session:
        wanted = select(AuditEntry).where(col(AuditEntry.action) == "device.register")
        written = (await session.scalars(wanted)).all()
    assert [(each.user_id, each.target) for each in written] == [("u-bob", f"device:{made.id}")]


async def test_somebody_else_s_device_is_not_given_away(fleet: Fleet) -> None:
    talkers = Talkers(fleet)
    bobs = (await talkers.connect()).device.id
    eves = (await talkers.connect(EVE, device_id=bobs)).device
    assert eves.id != bobs
    assert eves.owner_id == "u-eve"
    # Nor a device of one's own that is no browser.
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    async with fleet.store.write() as session:
        chip = await devices.get(session, "aa-bb-cc-00-11-22")
        assert chip is not None
        chip.owner_id, chip.board = "u-bob", BOARD
    assert (await talkers.connect(device_id="aa-bb-cc-00-11-22")).device.id not in ("aa-bb-cc-00-11-22", bobs)


async def test_an_account_has_few_and_the_one_unused_for_longest_is_used_again(fleet: Fleet) -> None:
    talkers = Talkers(fleet)
    made = []
    for _ in range(MAX_PER_ACCOUNT):
        made.append((await talkers.connect(name="Laptop")).device)
        fleet.clock.advance(hours=1)
    assert [device.name for device in made] == ["Laptop", "Laptop 2", "Laptop 3", "Laptop 4", "Laptop 5"]
    talkers.connected.add(made[0].id)
    assert (await talkers.connect(name="Laptop")).device.id == made[1].id
    assert (await talkers.connect(EVE)).device.id not in {device.id for device in made}


async def test_a_full_server_and_a_disabled_device_are_refused_with_the_reason(fleet: Fleet) -> None:
    talkers = Talkers(fleet, max_devices=1)
    made = (await talkers.connect()).device
    with pytest.raises(LimitReached, match=r"ota\.max_devices"):
        await talkers.connect(EVE)
    async with fleet.store.write() as session:
        device = await devices.get(session, made.id)
        assert device is not None
        device.allowed = False
    with pytest.raises(Conflict, match="disabled"):
        await talkers.connect(device_id=made.id)
    with pytest.raises(Forbidden):
        await talkers.connect(COMMAND_LINE)


async def test_a_disabled_account_gets_no_token_from_a_node_that_does_not_know_yet(fleet: Fleet) -> None:
    at = fleet.clock()
    async with fleet.store.write() as session:
        session.add(
            User(
                id="u-bob", name="bob", folded_name="bob", role="member", password_hash="", disabled=True,
                created_at=at, updated_at=at,
            )
        )  # fmt: skip
    with pytest.raises(Forbidden, match="disabled"):
        await Talkers(fleet).connect()


class Everybody:
    """All accounts. Implements `ownership.People`."""

    async def has_user(self, user_id: str) -> bool:
        return bool(user_id)

    async def has_group(self, group_id: str) -> bool:
        return bool(group_id)


@pytest.mark.parametrize("owner_id", ["", "u-eve"])
async def test_nobody_fills_the_server_with_browsers_by_giving_them_away(fleet: Fleet, owner_id: str) -> None:
    made = (await Talkers(fleet).connect()).device
    with pytest.raises(Conflict, match="stays with its account"):
        await ownership.transfer(fleet.store, made.id, owner_id, fleet.clock(), Everybody(), BOB)
    async with fleet.store.read() as session:
        assert [device.id for device in await devices.browsers_of(session, "u-bob")] == [made.id]


def test_a_token_is_good_for_its_device_and_for_a_minute(fleet: Fleet) -> None:
    tokens = BrowserTokens(fleet.credentials)
    token = tokens.token("02-00-00-00-00-01", 7, 1000.0).encode()
    assert BrowserTokens.is_one(token)
    assert tokens.is_good(token, "02-00-00-00-00-01", 7, 1000.0 + LIFETIME_S - 1)
    assert not tokens.is_good(token, "02-00-00-00-00-01", 7, 1000.0 + LIFETIME_S)
    assert not tokens.is_good(token, "02-00-00-00-00-02", 7, 1000.0)
    assert not tokens.is_good(token, "02-00-00-00-00-01", 8, 1000.0)
    until, signature = token.split(b".")[1:]
    for forged in (
        b"browser.%d.%s" % (int(until) + 10, signature), b"browser.", b"browser.x." + signature, b"browser..",
        b"browser." + b"9" * 40 + b"." + signature, token[:-1], b"browser.\xff.\xff",
    ):  # fmt: skip
        assert not tokens.is_good(forged, "02-00-00-00-00-01", 7, 1000.0)


async def test_only_its_token_opens_a_browser_device(fleet: Fleet) -> None:
    talkers = Talkers(fleet)
    access = await talkers.connect()
    tokens = BrowserTokens(fleet.credentials)
    fresh = tokens.token(access.device.id, access.device.epoch, time.time()).encode()
    assert fleet.directory.admits(access.device.id, "", fresh)
    assert not fleet.directory.admits("02-00-00-00-00-99", "", fresh)
    assert not fleet.directory.admits(access.device.id, "", access.token.encode())  # of the test's clock
    # Who saw the address of a connection gets no lasting credentials by OTA.
    answer = await fleet.provisioner().provision(asking("", access.device.id.replace("-", ":")), "10.0.0.1")
    assert answer.mqtt is None
    assert answer.websocket is None
    access.device.epoch += 1
    access.device.revision += 1
    fleet.directory.apply(access.device)
    assert not fleet.directory.admits(access.device.id, "", fresh)
