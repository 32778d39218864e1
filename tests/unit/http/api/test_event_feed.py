"""The event stream: who is told what, from where on, and within which bounds."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.errors import Invalid, LimitReached, LoginRefused, StoreError
from mimi_mqtt.events import (
    DeviceBooted,
    DeviceRevoked,
    Event,
    EventBus,
    ProviderFailed,
    TurnEnded,
    TurnStage,
    told,
)
from mimi_mqtt.fleet.entry import DeviceInfo
from mimi_mqtt.http.api import event_feed
from mimi_mqtt.http.api.event_feed import (
    HEARTBEAT_S,
    MAX_KEPT,
    MAX_LISTENERS,
    MAX_PER_CALLER,
    RIGHTS_UNKNOWN_S,
    EventFeed,
    Listener,
    selected,
)
from mimi_mqtt.people.access import Caller, Presented, Role, Scope, Via
from tests.fakes.api import ADMIN, MEMBER, STRANGER
from tests.fakes.api_scene import BOBS, NOBODYS, SHARED, FakeDirectory

pytestmark = pytest.mark.virtual_time

SHOWN = Presented("key")


class Callers:
    """An `Authenticator` whose answer is set by the test."""

    def __init__(self) -> None:
        self.answer: Caller | Exception | None = MEMBER
        self.takes_s = 0.0
        self.asked = 0

    async def authenticate(self, shown: Presented) -> Caller | None:
        self.asked += 1
        await asyncio.sleep(self.takes_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Setup:
    def __init__(self) -> None:
        self.bus = EventBus()
        self.directory = FakeDirectory(
            {
                BOBS: DeviceInfo(BOBS, owner_id="u-bob"),
                SHARED: DeviceInfo(SHARED, owner_id="u-ada", group_id="g-home"),
                NOBODYS: DeviceInfo(NOBODYS),
            }
        )
        self.callers = Callers()
        self.feed = EventFeed(self.bus, self.directory)
        self.feed.start(self.callers)

    def booted(self, device_id: str = BOBS) -> None:
        self.bus.publish(DeviceBooted(device_id=device_id))

    def read(self, listener: Listener) -> list[dict[str, object]]:
        """The data of the events that are there for a listener."""
        return parsed(self.feed.read(listener))


def parsed(frames: bytes) -> list[dict[str, object]]:
    lines = [line for line in frames.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def last_id(frames: bytes) -> str:
    return [line for line in frames.decode().splitlines() if line.startswith("id: ")][-1].removeprefix("id: ")


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    yield made
    await made.feed.aclose()


async def test_each_caller_is_told_of_his_devices(setup: Setup) -> None:
    with (
        setup.feed.listen(ADMIN, SHOWN) as ada,
        setup.feed.listen(MEMBER, SHOWN) as bob,
        setup.feed.listen(STRANGER, SHOWN) as eve,
    ):
        for device_id in (BOBS, SHARED, NOBODYS):
            setup.booted(device_id)
        setup.bus.publish(ProviderFailed(role="llm", name="openai", kind="ProviderTimeout"))
        assert [told.get("device_id") for told in setup.read(ada)] == [BOBS, SHARED, NOBODYS, None]
        assert [told["device_id"] for told in setup.read(bob)] == [BOBS, SHARED]
        assert setup.read(eve) == []
        assert not eve.wake.is_set()


async def test_rights_are_those_of_the_moment_of_delivery(setup: Setup) -> None:
    with setup.feed.listen(MEMBER, SHOWN) as bob, setup.feed.listen(STRANGER, SHOWN) as eve:
        setup.booted()
        setup.directory[BOBS] = DeviceInfo(BOBS, owner_id="u-eve")
        setup.booted()
        assert setup.read(bob) == []
        assert len(setup.read(eve)) == 1  # the one of before was not for her


async def test_a_new_owner_is_not_told_what_happened_before_the_device_was_his(setup: Setup) -> None:
    for _ in range(3):
        setup.booted()
    setup.directory[BOBS] = DeviceInfo(BOBS, owner_id="u-eve")
    with (
        setup.feed.listen(STRANGER, SHOWN, last_id="00000000-0") as eve,
        setup.feed.listen(MEMBER, SHOWN, last_id="00000000-0") as bob,
        setup.feed.listen(ADMIN, SHOWN, last_id="00000000-0") as ada,
    ):
        assert (setup.read(eve), setup.read(bob)) == ([], [])
        assert len(setup.read(ada)) == 3
        setup.booted()
        assert len(setup.read(eve)) == 1


async def test_the_owner_of_a_device_is_told_that_it_was_revoked(setup: Setup) -> None:
    with setup.feed.listen(MEMBER, SHOWN) as bob, setup.feed.listen(STRANGER, SHOWN) as eve:
        setup.booted()
        del setup.directory[BOBS]
        setup.bus.publish(DeviceRevoked(device_id=BOBS))
        assert [told["event"] for told in setup.read(bob)] == ["device_booted", "device_revoked"]
        assert setup.read(eve) == []


async def test_events_are_chosen_by_type_and_device(setup: Setup) -> None:
    with setup.feed.listen(
        ADMIN, SHOWN, types=selected(["turn_ended,device_revoked"]), device_id=BOBS
    ) as ada:
        setup.booted()
        for device_id in (SHARED, BOBS):
            setup.bus.publish(
                TurnEnded(device_id=device_id, session_id="s", number=1, kind="", mode="", outcome="spoken")
            )
        assert [(told["event"], told["device_id"]) for told in setup.read(ada)] == [("turn_ended", BOBS)]


def test_a_type_that_there_is_not_is_refused() -> None:
    with pytest.raises(Invalid, match="turn_ended"):
        selected(["turn_began"])


async def test_a_listener_goes_on_behind_the_last_event_it_saw(setup: Setup) -> None:
    with setup.feed.listen(ADMIN, SHOWN) as first:
        setup.booted(BOBS)
        seen = last_id(setup.feed.read(first))
    setup.booted(SHARED)
    with setup.feed.listen(ADMIN, SHOWN, last_id=seen) as again:
        assert [told["device_id"] for told in setup.read(again)] == [SHARED]


async def first_frames(listener: Listener) -> list[dict[str, object]]:
    frames = listener.frames()
    await anext(frames)
    found = parsed(await anext(frames))
    await frames.aclose()  # type: ignore[attr-defined]
    return found


async def test_a_gap_is_told(setup: Setup) -> None:
    setup.booted()
    with setup.feed.listen(ADMIN, SHOWN, last_id=None) as first:
        setup.booted()
        seen = last_id(setup.feed.read(first))
    for _ in range(MAX_KEPT + 1):
        setup.booted()
    with setup.feed.listen(ADMIN, SHOWN, last_id=seen) as again:
        assert await first_frames(again) == [{"event": "missed", "reason": "too_old"}]
        told = 0
        while found := setup.read(again):
            told += len(found)
        assert told == MAX_KEPT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("00000000-1", "restart"), ("RUN-99999", "unknown"), ("RUN-999999999999999999", "unknown"),
        ("RUN--1", "unknown"), ("RUN-1\n", "unknown"), ("x", "unknown"), ("", "unknown"),
        ("RUN-" + "9" * 60, "unknown"),
    ],
)  # fmt: skip
async def test_an_id_that_was_not_given_is_told_as_a_gap(setup: Setup, text: str, reason: str) -> None:
    with setup.feed.listen(ADMIN, SHOWN) as first:
        setup.booted()
        run = last_id(setup.feed.read(first)).partition("-")[0]
    with setup.feed.listen(ADMIN, SHOWN, last_id=text.replace("RUN", run)) as listener:
        assert await first_frames(listener) == [{"event": "missed", "reason": reason}]
        assert len(setup.read(listener)) == (1 if reason == "restart" else 0)


async def test_an_event_is_serialised_once_for_all(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Event] = []

    def noted(event: Event) -> dict[str, object]:
        made.append(event)
        return told(event)

    monkeypatch.setattr(event_feed, "told", noted)
    with setup.feed.listen(ADMIN, SHOWN) as one, setup.feed.listen(MEMBER, SHOWN) as two:
        setup.booted()
        assert setup.read(one) == setup.read(two) != []
    assert len(made) == 1


async def test_a_listener_that_does_not_read_is_ended_and_others_go_on(setup: Setup) -> None:
    with setup.feed.listen(ADMIN, SHOWN) as slow, setup.feed.listen(ADMIN, SHOWN) as quick:
        for _ in range(MAX_KEPT + 1):
            setup.booted()
            setup.feed.read(quick)
        assert (slow.ended, quick.ended) == ("slow", "")
        assert [frame async for frame in slow.frames()][1:] == []


async def test_a_listener_for_whom_there_is_nothing_is_not_slow(setup: Setup) -> None:
    with setup.feed.listen(STRANGER, SHOWN) as eve:
        for _ in range(2 * MAX_KEPT):
            setup.booted()
        assert eve.ended == ""


async def test_listeners_are_bounded_by_caller_and_in_all(setup: Setup) -> None:
    opened = [setup.feed.listen(MEMBER, SHOWN) for _ in range(MAX_PER_CALLER)]
    for each in opened:
        each.__enter__()
    with pytest.raises(LimitReached), setup.feed.listen(MEMBER, SHOWN):
        pass
    for number in range(MAX_LISTENERS - MAX_PER_CALLER):
        other = Caller(f"c{number}", f"u{number}", Role.MEMBER, frozenset(Scope))
        opened.append(setup.feed.listen(other, SHOWN))
        opened[-1].__enter__()
    with pytest.raises(LimitReached), setup.feed.listen(ADMIN, SHOWN):
        pass
    assert len(setup.feed) == MAX_LISTENERS
    for each in opened:
        each.__exit__(None, None, None)
    assert len(setup.feed) == 0
    with setup.feed.listen(MEMBER, SHOWN):
        assert len(setup.feed) == 1


async def test_a_listener_whose_rights_end_is_ended_within_a_second(setup: Setup) -> None:
    with setup.feed.listen(MEMBER, SHOWN) as one, setup.feed.listen(MEMBER, SHOWN) as two:
        await asyncio.sleep(5)
        assert (one.ended, two.ended) == ("", "")
        asked = setup.callers.asked
        setup.callers.answer = None
        await asyncio.sleep(1)
        assert (one.ended, two.ended) == ("rights", "rights")
        assert setup.callers.asked - asked <= 3  # one question for both


async def test_rights_that_changed_count_from_then_on(setup: Setup) -> None:
    with setup.feed.listen(MEMBER, SHOWN) as bob:
        setup.callers.answer = Caller(
            "bob", "u-bob", Role.MEMBER, frozenset({Scope.EVENTS})
        )  # left the group
        await asyncio.sleep(1)
        setup.booted(SHARED)
        setup.booted(BOBS)
        assert [told["device_id"] for told in setup.read(bob)] == [BOBS]
        setup.callers.answer = Caller("bob", "u-bob", Role.MEMBER, frozenset({Scope.COMMANDS}))
        await asyncio.sleep(1)
        assert bob.ended == "rights"


@pytest.mark.parametrize("error", [StoreError("locked"), LoginRefused("too many")])
async def test_rights_that_can_not_be_checked_last_a_while(setup: Setup, error: Exception) -> None:
    with setup.feed.listen(MEMBER, SHOWN) as bob:
        setup.callers.answer = error
        await asyncio.sleep(RIGHTS_UNKNOWN_S - 1)
        assert bob.ended == ""
        assert setup.feed.healthy
        await asyncio.sleep(2)
        assert bob.ended == "unchecked"


async def test_a_database_that_hangs_does_not_lengthen_the_time_without_known_rights(setup: Setup) -> None:
    setup.callers.answer, setup.callers.takes_s = StoreError("locked"), 10.0
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(setup.feed.listen(MEMBER, Presented(str(each)))) for each in range(9)]
        await asyncio.sleep(RIGHTS_UNKNOWN_S + 11)
        assert {listener.ended for listener in found} == {"unchecked"}


async def test_the_command_line_listens_longer_than_its_password_is_good(setup: Setup) -> None:
    setup.callers.answer = None
    line = Caller("command line", "", Role.ADMIN, frozenset(Scope), via=Via.COMMAND_LINE)
    with setup.feed.listen(line, SHOWN) as listener:
        await asyncio.sleep(600)
        assert listener.ended == ""


async def test_a_quiet_stream_has_heartbeats_and_ends_when_the_server_stops(setup: Setup) -> None:
    with setup.feed.listen(ADMIN, SHOWN) as listener:
        frames = listener.frames()
        await anext(frames)
        began = asyncio.get_running_loop().time()
        assert await anext(frames) == b": \n\n"
        assert asyncio.get_running_loop().time() - began == pytest.approx(HEARTBEAT_S)
        waiting = asyncio.ensure_future(anext(frames, None))
        await asyncio.sleep(0)
        setup.feed.close()
        assert await waiting is None
    with pytest.raises(LimitReached), setup.feed.listen(ADMIN, SHOWN):
        pass


async def test_stages_are_told_of_the_one_device_that_was_asked_for() -> None:
    setup = Setup()

    def reached(device_id: str) -> None:
        setup.bus.publish(
            TurnStage(device_id=device_id, session_id="s1", number=2, stage="transcript", ms=640)
        )

    assert not setup.bus.wanted(TurnStage)
    with (
        pytest.raises(Invalid, match="device"),
        setup.feed.listen(ADMIN, SHOWN, types=selected(["turn_stage"])),
    ):
        pass
    with (
        setup.feed.listen(ADMIN, SHOWN) as all_else,
        setup.feed.listen(MEMBER, SHOWN, types=selected(["turn_stage"]), device_id=BOBS) as bob,
        setup.feed.listen(STRANGER, SHOWN, types=selected(["turn_stage"]), device_id=BOBS) as eve,
    ):
        reached(BOBS)
        reached(SHARED)
        setup.booted()
        told = setup.read(bob)
        assert [(each["event"], each["device_id"], each["stage"], each["ms"]) for each in told] == [
            ("turn_stage", BOBS, "transcript", 640)
        ]
        assert [each["event"] for each in setup.read(all_else)] == ["device_booted"]
        assert setup.read(eve) == []
    assert not setup.bus.wanted(TurnStage)
    await setup.feed.aclose()
