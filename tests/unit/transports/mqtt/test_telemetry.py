"""What happens to devices is published as their state and events, in slices, without text or secrets."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from mimi_mqtt.events import (
    CommandRan,
    DeviceBooted,
    DeviceConnected,
    DeviceEvent,
    DeviceGone,
    DeviceRevoked,
    EventBus,
    ProviderRecovered,
    SessionEnded,
    SessionOpened,
    ToolCalled,
    TurnEnded,
)
from mimi_mqtt.transports.mqtt.telemetry import SLICE, Telemetry, event_json

pytestmark = pytest.mark.virtual_time

DEVICE, OTHER = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"
AT = datetime(2026, 5, 4, 3, 2, 1, 500_000, tzinfo=UTC)
CONNECTED = DeviceConnected(at=AT, device_id=DEVICE, transport="mqtt", board="bread", firmware="2.4.2")
OPENED = SessionOpened(at=AT, device_id=DEVICE, session_id="s1", transport="udp", agent="assistant")
ENDED = SessionEnded(at=AT, device_id=DEVICE, session_id="s1", reason="idle", duration_s=2.5)
GONE = DeviceGone(at=AT, device_id=DEVICE, reason="keepalive")


class Setup:
    def __init__(self) -> None:
        self.bus = EventBus()
        self.watched = True
        self.published: list[tuple[str, bytes, bool]] = []
        self.telemetry = Telemetry(self.bus, self._publish, lambda: self.watched)
        self.fails = 0

    def _publish(self, topic: str, payload: bytes, retain: bool) -> None:
        if self.fails:
            self.fails -= 1
            raise RuntimeError("a fault of the broker")
        self.published.append((topic, payload, retain))

    async def happen(self, *events: DeviceEvent) -> None:
        """Each by itself: what follows from one is published before the next happens."""
        for event in events:
            self.bus.publish(event)
            await asyncio.sleep(0.01)

    def states(self, device_id: str = DEVICE) -> list[dict[str, Any] | None]:
        """The retained states of a device, in order; None where it was cleared."""
        topic = f"mimi/devices/{device_id}/state"
        found = [(payload, retain) for to, payload, retain in self.published if to == topic]
        assert all(retain for _, retain in found)
        return [json.loads(payload) if payload else None for payload, _ in found]

    def events(self) -> list[str]:
        found = [(payload, retain) for to, payload, retain in self.published if to.endswith("/event")]
        assert not any(retain for _, retain in found)
        return [json.loads(payload)["event"] for payload, _ in found]


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    made.telemetry.start()
    yield made
    await made.telemetry.aclose()


async def test_state_follows_the_device(setup: Setup) -> None:
    await setup.happen(CONNECTED, OPENED, ENDED, GONE)
    online = {
        "state": "online", "since": "2026-05-04T03:02:01+00:00", "transport": "mqtt", "board": "bread",
        "firmware": "2.4.2", "session": None, "agent": None,
    }  # fmt: skip
    assert setup.states() == [
        online,
        online | {"session": "s1", "agent": "assistant"},
        online,
        online | {"state": "offline"},
    ]


async def test_a_session_that_outlives_its_connection_is_told(setup: Setup) -> None:
    await setup.happen(CONNECTED, OPENED, GONE, CONNECTED, GONE, ENDED)
    told = [(state["state"], state["session"]) for state in setup.states() if state is not None]
    assert told == [
        ("online", None),
        ("online", "s1"),
        ("offline", "s1"),
        ("online", "s1"),
        ("offline", "s1"),
        ("offline", None),
    ]


async def test_the_end_of_an_old_session_does_not_hide_the_new_one(setup: Setup) -> None:
    second = SessionOpened(device_id=DEVICE, session_id="s2")
    await setup.happen(CONNECTED, OPENED, second, ENDED)
    last = setup.states()[-1]
    assert last is not None
    assert last["session"] == "s2"


async def test_a_revoked_device_has_no_state_any_more(setup: Setup) -> None:
    await setup.happen(CONNECTED, DeviceRevoked(device_id=DEVICE), GONE)
    assert setup.states()[1:] == [None]


async def test_new_firmware_is_told_at_boot(setup: Setup) -> None:
    await setup.happen(CONNECTED, DeviceBooted(device_id=DEVICE, board="bread", firmware="2.5.0"))
    last = setup.states()[-1]
    assert last is not None
    assert last["firmware"] == "2.5.0"


async def test_events_are_published_while_somebody_is_there(setup: Setup) -> None:
    await setup.happen(CONNECTED, OPENED)
    setup.watched = False
    await setup.happen(ENDED)
    setup.watched = True
    setup.bus.publish(ProviderRecovered(role="stt", name="azure"))  # no device's
    await setup.happen(GONE)
    assert setup.events() == ["device_connected", "session_opened", "device_gone"]
    assert len(setup.states()) == 4  # retained for whoever comes


async def test_many_events_leave_others_their_turn_and_states_are_joined(setup: Setup) -> None:
    setup.watched = False
    for number in range(3 * SLICE):
        setup.bus.publish(DeviceConnected(device_id=f"aa-bb-cc-00-00-{number % 4:02x}", transport="mqtt"))
    assert setup.published == []  # nothing is published while it happens
    await asyncio.sleep(0.01)
    assert len(setup.published) == 3 * 4  # four devices in three slices


async def test_a_fault_of_the_broker_does_not_end_it(setup: Setup) -> None:
    setup.fails = 1
    await setup.happen(CONNECTED)
    healthy = [setup.telemetry.healthy]
    await asyncio.sleep(60)
    await setup.happen(OPENED)
    healthy.append(setup.telemetry.healthy)
    assert healthy == [False, True]
    assert setup.events()[-1] == "session_opened"


async def test_an_event_that_can_not_be_published_keeps_no_other_and_no_state_back(setup: Setup) -> None:
    setup.fails = 1
    setup.bus.publish(ToolCalled(device_id=DEVICE, tool="set_timer", ok=True, duration_ms=1.0))
    setup.bus.publish(CONNECTED)
    setup.bus.publish(OPENED)
    await asyncio.sleep(0.01)
    told = [json.loads(payload)["event"] for to, payload, _ in setup.published if to.endswith("/event")]
    assert told == ["device_connected", "session_opened"]
    assert [state and state["session"] for state in setup.states()] == ["s1"]


async def test_what_waits_is_published_at_the_end(setup: Setup) -> None:
    for event in (CONNECTED, GONE):
        setup.bus.publish(event)
    await setup.telemetry.aclose()
    await setup.telemetry.aclose()
    last = setup.states()[-1]
    assert last is not None
    assert last["state"] == "offline"
    assert len(setup.bus) == 0


def test_every_event_of_a_device_has_its_json() -> None:
    turn = TurnEnded(
        at=AT, device_id=DEVICE, session_id="s1", number=2, kind="utterance", mode="auto", outcome="answered",
        stages_ms={"transcript": 210.04}, providers={"stt": "azure"}, tools=("get_time",),
        agent="chef", error="timeout",
    )  # fmt: skip
    assert json.loads(event_json(turn)) == {
        "event": "turn_ended", "at": "2026-05-04T03:02:01.500+00:00", "session_id": "s1", "number": 2,
        "kind": "utterance", "mode": "auto", "outcome": "answered", "stages_ms": {"transcript": 210.04},
        "providers": {"stt": "azure"}, "tools": ["get_time"], "agent": "chef", "error": "timeout",
    }  # fmt: skip
    tool = ToolCalled(at=AT, device_id=DEVICE, tool="t", ok=True, duration_ms=1.26)
    assert json.loads(event_json(tool))["duration_ms"] == 1.3
    ran = CommandRan(at=AT, device_id=DEVICE, command="say", by="admin", status="done")
    assert json.loads(event_json(ran))["event"] == "command_ran"
