"""Traces of control messages: bounded, and free for devices that nobody looks at."""

import pytest

from mimi_mqtt.errors import LimitReached
from mimi_mqtt.session import trace
from mimi_mqtt.session.trace import MAX_PER_CALLER, MAX_READERS, MAX_WAITING, ControlTraces

DEVICE, OTHER = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"


async def test_a_reader_gets_the_messages_of_its_device_alone() -> None:
    traces = ControlTraces()
    traces.note(DEVICE, "up", b"before")
    with traces.watch(DEVICE, "ada") as reader:
        traces.note(DEVICE, "up", b"one")
        traces.note(OTHER, "up", b"other")
        traces.note(DEVICE, "down", b"two")
        taken = [(each.direction, each.payload) for each in reader.take()]
        assert taken == [("up", b"one"), ("down", b"two")]
        assert reader.take() == []
    assert len(traces) == 0
    assert traces._readers == {}, "a device that nobody looks at leaves nothing"


async def test_a_slow_reader_is_ended_and_holds_nothing() -> None:
    traces = ControlTraces()
    with traces.watch(DEVICE, "ada") as reader, traces.watch(DEVICE, "bob") as quick:
        for number in range(MAX_WAITING + 1):
            traces.note(DEVICE, "up", b"%d" % number)
            quick.take()
        traces.note(DEVICE, "up", b"more")
        assert (reader.ended, reader.take()) == ("slow", [])
        assert (quick.ended, [each.payload for each in quick.take()]) == ("", [b"more"])


async def test_a_reader_holds_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_WAITING_BYTES", 1_000)
    traces = ControlTraces()
    with traces.watch(DEVICE, "ada") as reader:
        for _ in range(3):
            traces.note(DEVICE, "up", bytes(400))
        assert reader.ended == "slow"


async def test_readers_are_few_and_few_of_one_caller() -> None:
    traces = ControlTraces()
    held = [traces.watch(DEVICE, "ada") for _ in range(MAX_PER_CALLER)]
    for each in held:
        each.__enter__()
    with pytest.raises(LimitReached), traces.watch(OTHER, "ada"):
        pass
    for number in range(MAX_READERS - MAX_PER_CALLER):
        held.append(traces.watch(OTHER, f"caller {number}"))
        held[-1].__enter__()
    with pytest.raises(LimitReached), traces.watch(DEVICE, "bob"):
        pass
    for each in held:
        each.__exit__(None, None, None)
    with traces.watch(DEVICE, "ada"):
        assert len(traces) == 1


async def test_a_stop_ends_all_and_lets_nobody_begin() -> None:
    traces = ControlTraces()
    with traces.watch(DEVICE, "ada") as reader:
        traces.close()
        assert reader.ended == "stop"
    with pytest.raises(LimitReached), traces.watch(DEVICE, "ada"):
        pass
