"""The bus delivers what happened to whom it concerns, and no observer can harm another or the publisher."""

import dataclasses
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from mimi_mqtt import events
from mimi_mqtt.events import (
    LOGGED_AGAIN_S,
    MAX_DEPTH,
    MAX_OBSERVERS,
    SLOW_S,
    DeviceConnected,
    DeviceEvent,
    DeviceGone,
    Event,
    EventBus,
    EventQueue,
    ProviderRecovered,
    SessionOpened,
    TooManyObservers,
    TurnStage,
)

DEVICE = "aa-bb-cc-00-11-22"
CONNECTED = DeviceConnected(device_id=DEVICE, transport="mqtt")
GONE = DeviceGone(device_id=DEVICE)
OPENED = SessionOpened(device_id=DEVICE, session_id="s")


def _failures(observer: str) -> float:
    return REGISTRY.get_sample_value("mimi_event_observer_failures_total", {"observer": observer}) or 0.0


class FakeClock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_observers_get_the_types_they_asked_for_in_order() -> None:
    bus = EventBus()
    presence: list[Event] = []
    devices: list[Event] = []
    everything: list[Event] = []
    bus.subscribe(presence.append, DeviceConnected, DeviceGone, name="presence")
    bus.subscribe(devices.append, DeviceEvent, name="devices")
    bus.subscribe(everything.append, name="everything")
    recovered = ProviderRecovered(role="stt", name="azure")
    for event in (CONNECTED, OPENED, recovered, GONE):
        bus.publish(event)
    assert presence == [CONNECTED, GONE]
    assert devices == [CONNECTED, OPENED, GONE]
    assert everything == [CONNECTED, OPENED, recovered, GONE]


def test_an_observer_that_raises_is_counted_and_harms_nobody() -> None:
    bus = EventBus()
    before = _failures("broken")
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("broken")

    bus.subscribe(broken, name="broken")
    bus.subscribe(heard.append, name="sound")
    for _ in range(3):
        bus.publish(CONNECTED)
    assert heard == [CONNECTED] * 3
    assert _failures("broken") - before == 3


def test_a_failing_observer_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    bus = EventBus(clock)

    def broken(event: Event) -> None:
        raise RuntimeError("broken")

    bus.subscribe(broken, name="logged")
    with caplog.at_level(logging.ERROR):
        for _ in range(10):
            bus.publish(CONNECTED)
        assert len(caplog.records) == 1
        clock.now += LOGGED_AGAIN_S
        bus.publish(CONNECTED)
    assert len(caplog.records) == 2


def test_an_observer_that_holds_the_publisher_up_is_counted() -> None:
    clock = FakeClock()
    bus = EventBus(clock)

    def slow(event: Event) -> None:
        clock.now += 2 * SLOW_S

    def count() -> float:
        return REGISTRY.get_sample_value("mimi_event_observer_slow_total", {"observer": "slow"}) or 0.0

    bus.subscribe(slow, name="slow")
    before = count()
    bus.publish(CONNECTED)
    assert count() - before == 1


def test_a_closed_subscription_gets_nothing_more() -> None:
    bus = EventBus()
    heard: list[Event] = []
    subscription = bus.subscribe(heard.append, name="leaver")
    bus.publish(CONNECTED)
    subscription.close()
    subscription.close()
    bus.publish(GONE)
    assert heard == [CONNECTED]
    assert len(bus) == 0


def test_observers_may_close_each_other_while_an_event_is_delivered() -> None:
    bus = EventBus()
    heard: list[str] = []

    def first(event: Event) -> None:
        heard.append("first")
        second.close()

    bus.subscribe(first, name="first")
    second = bus.subscribe(lambda event: heard.append("second"), Event, name="second")
    bus.subscribe(lambda event: heard.append("third"), Event, name="third")
    bus.publish(CONNECTED)
    assert heard == ["first", "third"]


def test_an_observer_that_subscribes_another_does_not_disturb_the_delivery() -> None:
    bus = EventBus()
    late: list[Event] = []
    bus.subscribe(lambda event: _once(bus, late), DeviceConnected, name="inviter")
    bus.publish(CONNECTED)
    assert late == []
    bus.publish(GONE)
    assert late == [GONE]


def _once(bus: EventBus, late: list[Event]) -> None:
    bus.subscribe(late.append, name="late")


def test_observers_that_answer_each_other_come_to_an_end() -> None:
    bus = EventBus()
    heard: list[Event] = []

    def echo(event: Event) -> None:
        heard.append(event)
        bus.publish(CONNECTED)

    before = _failures("echo")
    bus.subscribe(echo, name="echo")
    bus.publish(CONNECTED)
    assert len(heard) == MAX_DEPTH
    assert _failures("echo") - before == 1
    heard.clear()
    bus.publish(CONNECTED)  # nothing is left of the depth
    assert len(heard) == MAX_DEPTH


def test_the_number_of_observers_is_bounded() -> None:
    bus = EventBus()
    subscriptions = [bus.subscribe(lambda event: None, Event, name="many") for _ in range(MAX_OBSERVERS)]
    with pytest.raises(TooManyObservers):
        bus.subscribe(lambda event: None, Event, name="one too many")
    subscriptions[0].close()
    bus.subscribe(lambda event: None, Event, name="many")


def test_what_nobody_observes_is_known_beforehand() -> None:
    bus = EventBus()
    assert not bus.wanted(DeviceConnected)
    subscription = bus.subscribe(lambda event: None, DeviceEvent, name="any")
    assert bus.wanted(DeviceConnected)
    assert not bus.wanted(ProviderRecovered)
    subscription.close()
    assert not bus.wanted(DeviceConnected)


@given(st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=60), st.integers(1, 8))
def test_a_queue_keeps_the_newest_and_counts_the_rest(steps: list[int | None], size: int) -> None:
    """None takes everything; a number publishes as many."""
    woken = 0

    def wake() -> None:
        nonlocal woken
        woken += 1

    queue: EventQueue[DeviceEvent] = EventQueue("test", max_events=size, wake=wake)
    bus = EventBus()
    bus.subscribe(queue, DeviceEvent, name="queue")
    waiting: list[DeviceEvent] = []
    published = taken = woken_for = 0
    for step in steps:
        if step is None:
            events_taken = queue.take()
            assert events_taken == waiting
            taken += len(events_taken)
            waiting = []
            continue
        for _ in range(step):
            woken_for += not waiting
            published += 1
            event = SessionOpened(device_id=DEVICE, session_id=str(published))
            bus.publish(event)
            waiting = [*waiting, event][-size:]
    assert len(queue) == len(waiting)
    assert queue.dropped == published - taken - len(waiting)
    if size > 1:
        assert woken == woken_for


def test_a_queue_can_be_taken_in_slices() -> None:
    queue: EventQueue[Event] = EventQueue("slices")
    for event in (CONNECTED, OPENED, GONE):
        queue(event)
    assert queue.take(2) == [CONNECTED, OPENED]
    assert queue.take(2) == [GONE]
    assert queue.take(2) == []


def test_a_queue_holds_something() -> None:
    with pytest.raises(ValueError, match="at least one"):
        EventQueue("none", max_events=0)


def _kinds() -> list[type[Event]]:
    return [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]


def test_every_event_is_frozen_slotted_and_has_a_time_in_utc() -> None:
    assert abs(CONNECTED.at - datetime.now(UTC)) < timedelta(hours=1)
    assert CONNECTED.at.utcoffset() == timedelta(0)
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert DeviceGone(at=moment, device_id=DEVICE).at == moment
    for kind in _kinds():
        assert dataclasses.is_dataclass(kind)
        assert "__slots__" in vars(kind), kind
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]  # not in typeshed
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONNECTED.device_id = "x"  # type: ignore[misc]  # that is the point


def test_no_event_has_a_field_for_speech_or_secrets() -> None:
    names = {field.name for kind in _kinds() for field in dataclasses.fields(kind)}
    assert not names & {
        "text",
        "heard",
        "reply",
        "password",
        "key",
        "token",
        "arguments",
        "result",
        "payload",
    }
    assert {"device_id", "session_id", "outcome"} <= names


def test_events_on_request_go_to_those_who_name_them() -> None:
    bus = EventBus()
    told: list[Event] = []
    bus.subscribe(told.append, name="all")
    bus.subscribe(told.append, DeviceEvent, name="of devices")
    assert not bus.wanted(TurnStage)
    bus.subscribe(told.append, TurnStage, name="stages")
    bus.publish(TurnStage(device_id="d", session_id="s", number=1, stage="endpoint", ms=600.0))
    assert len(told) == 1
