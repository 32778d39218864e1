"""Open event streams of people whose group changes, with accounts of a database, on two nodes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mimi_mqtt.events import DeviceBooted, EventBus
from mimi_mqtt.fleet.entry import DeviceInfo
from mimi_mqtt.http.api.event_feed import RIGHTS_EVERY_S, EventFeed
from mimi_mqtt.people.access import Presented
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authentication import FRESH_S, People
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.people.sessions import Browser
from tests.databases import sqlite_store
from tests.fakes.api_scene import SHARED, FakeDirectory
from tests.fakes.people import Keys, added

ADMIN = command_line()


@dataclass
class Node:
    """A node's authenticator and event streams. `seconds` is its clock."""

    people: Accounts
    own: bool
    """True: the changes are made on this node."""
    group: str
    seconds: float = 0.0
    bus: EventBus = field(default_factory=EventBus)

    def __post_init__(self) -> None:
        self.feed = EventFeed(self.bus, FakeDirectory({SHARED: DeviceInfo(SHARED, group_id=self.group)}))
        self.authenticator = self.people.authenticator
        if not self.own:
            self.authenticator = People(
                self.people.users._store, self.people.sessions, self.people.tokens, clock=lambda: self.seconds
            )
        self.feed.start(self.authenticator)

    async def later(self) -> None:
        """The time passes in which a change must be felt: `FRESH_S`, and a check of all rights."""
        self.seconds += FRESH_S + 0.01
        await self.feed._check()


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[Accounts]:
    store = sqlite_store(tmp_path)
    await store.open()
    built = Accounts.build(store, Keys())
    yield built
    await built.aclose()
    await store.aclose()


def test_a_change_of_rights_is_felt_within_a_second_on_every_node() -> None:
    assert FRESH_S + RIGHTS_EVERY_S < 1.0


@pytest.mark.parametrize("own", [True, False], ids=["this node", "another node"])
@pytest.mark.parametrize("change", ["member", "group"])
async def test_who_left_a_group_is_told_no_more_of_its_devices(
    people: Accounts, own: bool, change: str
) -> None:
    now = datetime.now(UTC)
    bob = await added(people, "bob", password=None)
    home = await people.groups.create(ADMIN, "Home", now)
    await people.groups.add_member(ADMIN, home.id, bob.id)
    session = await people.sessions.begin(bob, Browser(), now)
    node, shown = Node(people, own, home.id), Presented(session=session.cookie)
    caller = await node.authenticator.authenticate(shown)
    assert caller is not None
    with node.feed.listen(caller, shown) as listener:
        node.bus.publish(DeviceBooted(device_id=SHARED))
        assert SHARED.encode() in node.feed.read(listener)
        if change == "member":
            await people.groups.remove_member(ADMIN, home.id, bob.id)
        else:
            await people.groups.remove(ADMIN, home.id, now)
        await node.later()
        node.bus.publish(DeviceBooted(device_id=SHARED))
        assert node.feed.read(listener) == b""
        assert listener.ended == "", "what is his goes on"
    await node.feed.aclose()
