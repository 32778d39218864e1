"""The uplink of a session, before and while somebody listens, on virtual time."""

import pytest

from mimi_mqtt.voice.hearing.stream import MAX_EARLY_PACKETS, UplinkStream
from mimi_mqtt.voice.ports import HeardFrame
from tests.fakes.voice import SPEECH, UPLINK, FakeHearing

pytestmark = pytest.mark.virtual_time


def uplink(hearing: FakeHearing) -> tuple[UplinkStream, list[HeardFrame]]:
    heard: list[HeardFrame] = []
    return hearing.open(UPLINK, 120, heard.append), heard


async def test_what_came_a_moment_before_somebody_listens_is_heard_first() -> None:
    hearing = FakeHearing()
    ear, heard = uplink(hearing)
    ear.packet(SPEECH, 1, 0, 8.0, listening=False)
    ear.packet(SPEECH, 2, 0, 9.5, listening=False)
    assert heard == []
    ear.begin(10.0)
    ear.packet(SPEECH, 3, 0, 10.0, listening=True)
    assert hearing.ears[0].sequences == [2, 3]
    assert hearing.ears[0].resets == 1


async def test_what_belonged_to_something_else_is_not_heard() -> None:
    hearing = FakeHearing()
    ear, heard = uplink(hearing)
    ear.packet(SPEECH, 1, 0, 9.9, listening=False)
    ear.forget()
    ear.begin(10.0)
    assert heard == []


async def test_what_comes_before_somebody_listens_is_bounded() -> None:
    hearing = FakeHearing()
    ear, _ = uplink(hearing)
    for sequence in range(200):
        ear.packet(SPEECH, sequence, 0, 10.0, listening=False)
    ear.begin(10.0)
    assert hearing.ears[0].sequences == list(range(200 - MAX_EARLY_PACKETS, 200))
    ear.begin(10.0)
    assert len(hearing.ears[0].sequences) == MAX_EARLY_PACKETS


async def test_a_device_that_can_not_name_what_it_plays_needs_a_canceller_from_the_start() -> None:
    for cancels, half_duplex in ((True, False), (False, True)):
        hearing = FakeHearing(cancels_echo=cancels)
        ear = hearing.open(UPLINK, 120, lambda frame: None, unlabelled_echo=True)
        assert ear.half_duplex == half_duplex


async def test_a_device_whose_echo_nobody_cancels_is_half_duplex() -> None:
    for cancels, half_duplex in ((True, False), (False, True)):
        ear, _ = uplink(FakeHearing(cancels_echo=cancels))
        ear.packet(SPEECH, 1, 0, 1.0, listening=True)
        assert not ear.half_duplex
        ear.packet(SPEECH, 2, 60, 1.0, listening=True)
        assert ear.half_duplex == half_duplex


async def test_what_came_before_somebody_listens_still_names_what_was_played() -> None:
    """Its echo was not cancelled."""
    ear, _ = uplink(FakeHearing(cancels_echo=True))
    told: list[int] = []
    ear.push = lambda opus, sequence, now, timestamp=0: told.append(timestamp)  # type: ignore[method-assign]
    ear.packet(SPEECH, 1, 60, 9.9, listening=False)
    ear.packet(SPEECH, 2, 120, 9.95, listening=False)
    ear.begin(10.0)
    assert told == [60, 120]
