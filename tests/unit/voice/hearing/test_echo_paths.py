"""What is known of a room belongs to one ear at a time, and is bounded."""

from mimi_mqtt.audio.echo_path import EchoPath
from mimi_mqtt.voice.hearing.echo_paths import MAX_ROOMS, Rooms


def test_a_room_is_remembered_for_the_next_session_of_its_device() -> None:
    rooms = Rooms()
    path = rooms.take("kitchen")
    assert rooms.take("kitchen") is not path  # in use
    rooms.keep("kitchen", path)
    assert rooms.take("study") is not path
    assert rooms.take("kitchen") is path


def test_a_device_without_a_name_is_forgotten() -> None:
    rooms = Rooms()
    path = rooms.take("")
    rooms.keep("", path)
    assert rooms.take("") is not path


def test_the_room_heard_longest_ago_is_forgotten() -> None:
    rooms, first, last = Rooms(), EchoPath(), EchoPath()
    rooms.keep("first", first)
    for number in range(MAX_ROOMS - 1):
        rooms.keep(str(number), last)
    rooms.keep("last", last)
    assert rooms.take("last") is last
    assert rooms.take("first") is not first
