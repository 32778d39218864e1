"""Where sentences begin in the sound of an answer."""

from mimi_mqtt.voice.answer.realtime.alignment import USUAL_PACE_MS, SentenceTrack
from mimi_mqtt.voice.speech.sentences import prepare

FIRST, SECOND, THIRD = (
    prepare("One two three four five."),
    prepare(" Six seven eight."),
    prepare(" Nine ten."),
)


def made(track: SentenceTrack, frames: int) -> None:
    for _ in range(frames):
        track.made()


def begins(track: SentenceTrack, frames: int) -> list[tuple[str, int]]:
    return [(sentence.text, at) for at in range(frames) for sentence, _ in track.take(at)]


def test_while_it_is_said_a_sentence_begins_when_the_words_before_it_can_have_been_said() -> None:
    track = SentenceTrack(60)
    track.add(FIRST)
    track.add(SECOND)
    made(track, 5)
    expected = round(len(FIRST.speech) * USUAL_PACE_MS / 60)
    assert begins(track, 40) == [(FIRST.text, 0), (SECOND.text, expected)]
    assert not track.expects


def test_once_all_is_there_a_sentence_begins_at_its_share() -> None:
    track = SentenceTrack(60)
    track.add(FIRST)
    track.add(SECOND)
    weight = len(FIRST.speech) + len(SECOND.speech)
    made(track, weight * 2)
    track.settle(whole=True)
    assert begins(track, weight * 2) == [(FIRST.text, 0), (SECOND.text, len(FIRST.speech) * 2)]
    assert track.pace_ms == 120


def test_a_short_answer_or_half_a_one_teaches_nothing_about_the_speaker() -> None:
    short = SentenceTrack(60)
    short.add(THIRD)
    made(short, 100)
    short.settle(whole=True)
    half = SentenceTrack(60)
    half.add(FIRST)
    half.add(SECOND)
    made(half, 3)
    half.settle(whole=False)
    assert short.pace_ms == half.pace_ms == USUAL_PACE_MS
    assert begins(half, 40)[1][1] > 3


def test_words_that_come_late_begin_where_they_should_have() -> None:
    track = SentenceTrack(60)
    made(track, 30)
    assert track.take(20) == []
    track.add(FIRST)
    track.add(SECOND)
    assert [begin for _, begin in track.take(29)] == [0, round(len(FIRST.speech) * USUAL_PACE_MS / 60)]


def test_what_follows_a_tool_begins_with_its_own_sound() -> None:
    track = SentenceTrack(60)
    track.add(FIRST)
    made(track, 50)
    track.settle(whole=True)
    settled = [track.settled]
    track.add(SECOND)
    settled.append(track.settled)
    assert settled == [True, False]
    made(track, 20)
    track.settle(whole=True)
    assert begins(track, 70) == [(FIRST.text, 0), (SECOND.text, 50)]


def test_words_without_sound_are_left_over() -> None:
    track = SentenceTrack(60)
    track.add(FIRST)
    track.add(SECOND)
    assert [sentence for sentence, _ in track.take(0)] == [FIRST]
    assert track.take_rest() == [SECOND]
    assert track.take_rest() == []


def test_what_is_too_much_is_over_where_it_begins() -> None:
    track = SentenceTrack(60)
    assert not track.over(10_000)
    track.add(FIRST)
    track.end()
    track.add(SECOND)
    track.end()
    last = round(len(FIRST.speech) * USUAL_PACE_MS / 60)
    assert not track.over(last - 1)
    assert track.over(last)
