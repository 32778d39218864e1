"""The device's microphone, before and while somebody listens."""

from mimi_mqtt.voice.hearing.pool import HeardFrame
from mimi_mqtt.voice.hearing.stream import Uplink
from tests.fakes.voice import SPEECH, UPLINK, FakeHearing


def uplink(hearing: FakeHearing) -> tuple[Uplink, list[HeardFrame]]:
    heard: list[HeardFrame] = []
    return Uplink(hearing, UPLINK, 120, heard.append), heard


def test_what_came_a_moment_before_somebody_listens_is_heard_first() -> None:
    hearing = FakeHearing()
    ear, heard = uplink(hearing)
    ear.packet(SPEECH, 1, 0, 8.0, listening=False)
    ear.packet(SPEECH, 2, 0, 9.5, listening=False)
    assert heard == []
    ear.begin(10.0)
    ear.packet(SPEECH, 3, 0, 10.0, listening=True)
    assert hearing.ears[0].sequences == [2, 3]
    assert hearing.ears[0].resets == 1


def test_what_belonged_to_something_else_is_not_heard() -> None:
    hearing = FakeHearing()
    ear, heard = uplink(hearing)
    ear.packet(SPEECH, 1, 0, 9.9, listening=False)
    ear.forget()
    ear.begin(10.0)
    assert heard == []


def test_a_device_whose_echo_nobody_cancels_is_deaf() -> None:
    for cancels, deaf in ((True, False), (False, True)):
        ear, _ = uplink(FakeHearing(cancels_echo=cancels))
        ear.packet(SPEECH, 1, 0, 1.0, listening=True)
        assert not ear.deaf
        ear.packet(SPEECH, 2, 60, 1.0, listening=True)
        assert ear.deaf == deaf
