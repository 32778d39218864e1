"""When an utterance begins and ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.voice.utterance.endpointing import (
    End,
    Endpointer,
    EndpointEvent,
    Endpointing,
    EndpointSettings,
    SpeechBegan,
    SpeechPaused,
    SpeechWent,
    SpeechWentOn,
    Spoken,
    UtteranceEnded,
    endpointing,
)
from mimi_mqtt.voice.utterance.endpointing.adaptive import AdaptiveSilence, Pauses
from mimi_mqtt.voice.utterance.endpointing.clauses import Clause, clause
from mimi_mqtt.voice.utterance.endpointing.fixed import FixedSilence
from mimi_mqtt.voice.utterance.endpointing.transcript import TranscriptSilence
from mimi_mqtt.voice.utterance.endpointing.vendor import VendorEndpoint

FRAME_MS = 60.0
SETTINGS = EndpointSettings(max_utterance_s=5, no_speech_timeout_s=3)


class Speaker:
    """Feeds an endpointer with numbered frames; `silence` and `speech` in frames."""

    def __init__(self, settings: EndpointSettings = SETTINGS, pauses: Pauses | None = None) -> None:
        self.now = 100.0
        self.endpointer = Endpointer(settings, AdaptiveSilence(pauses or Pauses(700)), self.now)
        self.events: list[EndpointEvent] = []
        self.number = 0

    def frames(self, count: int, probability: float) -> "Speaker":
        for _ in range(count):
            self.now += FRAME_MS / 1000
            pcm: Pcm = np.full(3, self.number, np.int16)
            self.number += 1
            self.events += self.endpointer.frame(pcm, FRAME_MS, probability, self.now)
        return self

    def speech(self, count: int) -> "Speaker":
        return self.frames(count, 0.9)

    def silence(self, count: int) -> "Speaker":
        return self.frames(count, 0.02)

    @property
    def heard(self) -> list[int]:
        """The numbers of the frames that belong to the utterance."""
        numbers: list[int] = []
        for event in self.events:
            if isinstance(event, SpeechBegan):
                numbers += [int(pcm[0]) for pcm in event.audio]
            elif isinstance(event, SpeechWent):
                numbers.append(int(event.audio[0]))
        return numbers

    @property
    def end(self) -> UtteranceEnded | None:
        return next((event for event in self.events if isinstance(event, UtteranceEnded)), None)


def rounded(events: list[EndpointEvent]) -> list[EndpointEvent]:
    """The events with their silence in whole ms."""
    return [
        UtteranceEnded(event.reason, round(event.silence_ms)) if isinstance(event, UtteranceEnded) else event
        for event in events
    ]


def test_an_utterance_begins_with_its_pre_roll_and_ends_in_silence() -> None:
    speaker = Speaker().silence(20).speech(10).silence(12)
    assert speaker.end == UtteranceEnded(End.SILENCE, 720)
    assert speaker.heard == list(range(15, 42))  # 5 frames, 300 ms, before the first speech


def test_speech_begins_only_after_enough_of_it() -> None:
    assert not Speaker().speech(2).silence(5).speech(2).endpointer.began
    assert Speaker().speech(3).endpointer.began


def test_a_stop_consonant_does_not_restart_the_beginning() -> None:
    assert Speaker().silence(4).speech(2).silence(2).speech(1).endpointer.began


def test_the_pre_roll_is_bounded_and_nothing_of_a_slow_beginning_is_lost() -> None:
    speaker = Speaker().silence(40).speech(1).silence(2).speech(1).silence(2).speech(1)
    assert speaker.heard[-7:] == list(range(40, 47))
    assert 5 <= len(speaker.heard) - 7 <= 8


def test_quiet_speech_goes_on_once_begun() -> None:
    speaker = Speaker().speech(5).frames(20, 0.35)
    assert speaker.end is None
    assert not Speaker().frames(20, 0.35).endpointer.began


def test_nobody_spoke() -> None:
    speaker = Speaker().silence(50)
    assert speaker.end == UtteranceEnded(End.NO_SPEECH, 3000)
    assert speaker.heard == []


def test_a_late_speaker_is_not_cut_off_by_the_no_speech_bound() -> None:
    speaker = Speaker().silence(49).speech(10)
    assert speaker.end is None
    assert speaker.endpointer.began


def test_an_utterance_is_bounded() -> None:
    speaker = Speaker().speech(200)
    assert speaker.end == UtteranceEnded(End.TOO_LONG, 0)
    assert len(speaker.heard) == 84  # 5 s of 60 ms, rounded up


def test_nothing_comes_after_the_end() -> None:
    speaker = Speaker().speech(5).silence(50)
    assert sum(isinstance(event, UtteranceEnded) for event in speaker.events) == 1
    assert speaker.endpointer.frame(np.zeros(3, np.int16), FRAME_MS, 0.9, 0) == []
    assert speaker.endpointer.tick(1e6) == []


def test_time_is_counted_in_audio_not_in_arrival() -> None:
    speaker = Speaker().speech(10)
    speaker.now += 1.0  # a hiccup of the network, then everything at once
    assert speaker.endpointer.tick(speaker.now) == []
    speaker.silence(11)
    assert speaker.end is None
    speaker.silence(1)
    assert speaker.end is not None


def test_an_uplink_that_stops_ends_the_utterance() -> None:
    speaker = Speaker().speech(10)
    assert speaker.endpointer.tick(speaker.now + 1.4) == []
    assert rounded(speaker.endpointer.tick(speaker.now + 1.5)) == [UtteranceEnded(End.STALLED, 1500)]


def test_an_uplink_that_never_comes_ends_listening() -> None:
    speaker = Speaker()
    assert speaker.endpointer.tick(speaker.now + 2.9) == []
    assert rounded(speaker.endpointer.tick(speaker.now + 3.0)) == [UtteranceEnded(End.NO_SPEECH, 3000)]


def test_in_manual_mode_silence_ends_nothing() -> None:
    speaker = Speaker(EndpointSettings(manual=True, max_utterance_s=5)).silence(40).speech(5).silence(30)
    assert speaker.end is None
    assert speaker.heard == list(range(75))
    assert speaker.silence(10).end == UtteranceEnded(End.TOO_LONG, 0)


def test_in_manual_mode_a_lost_stop_is_made_up_for() -> None:
    speaker = Speaker(EndpointSettings(manual=True)).speech(5)
    assert speaker.endpointer.tick(speaker.now + 9) == []
    assert rounded(speaker.endpointer.tick(speaker.now + 10)) == [UtteranceEnded(End.STALLED, 10_000)]


def test_a_fluent_speaker_is_answered_sooner_and_a_hesitant_one_later() -> None:
    fluent, hesitant = Pauses(700), Pauses(700)
    for _ in range(20):
        fluent.add(150)
        hesitant.add(600)
    assert fluent.end_silence_ms < 500
    assert hesitant.end_silence_ms > 720


def test_two_pauses_prove_nothing_and_consonants_are_no_pauses() -> None:
    pauses = Pauses(700)
    for _ in range(50):
        pauses.add(60)
    pauses.add(150)
    pauses.add(150)
    assert pauses.end_silence_ms == 700


def test_pauses_are_learned_from_utterances() -> None:
    pauses = Pauses(700)
    Speaker(EndpointSettings(), pauses).speech(5).silence(9).speech(5).silence(9).speech(5).silence(9).speech(
        5
    )
    assert pauses.end_silence_ms > 700


@given(st.lists(st.floats(0, 60_000)), st.floats(200, 5_000))
def test_the_end_silence_stays_within_its_bounds(pauses_ms: list[float], normal: float) -> None:
    pauses = Pauses(normal)
    for pause in pauses_ms:
        pauses.add(pause)
    assert 0.5 * normal <= pauses.end_silence_ms <= 1.5 * normal


@given(
    st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1)), max_size=30), st.sampled_from([20.0, 40.0, 60.0])
)
def test_an_utterance_is_one_stretch_of_audio_within_its_bounds(
    stretches: list[tuple[int, float]], frame_ms: float
) -> None:
    endpointer = Endpointer(SETTINGS, AdaptiveSilence(Pauses(700)), 0.0)
    heard: list[int] = []
    number = 0
    ends = 0
    for count, probability in stretches:
        for _ in range(count):
            for event in endpointer.frame(np.full(1, number, np.int16), frame_ms, probability, number / 10):
                match event:
                    case SpeechBegan(audio):
                        assert not heard
                        heard += [int(pcm[0]) for pcm in audio]
                    case SpeechWent(pcm):
                        heard.append(int(pcm[0]))
                    case UtteranceEnded():
                        ends += 1
            number += 1
    assert ends <= 1
    assert heard == list(range(heard[0], heard[0] + len(heard))) if heard else True
    assert len(heard) * frame_ms <= SETTINGS.max_utterance_s * 1000 + frame_ms


# ── strategies ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("turn on the light in the", "en", Clause.UNFINISHED),
        ("turn on the light in the.", "en", Clause.UNFINISHED),
        ("turn on the light", "en", Clause.COMPLETE),
        ("what time is the film", "en-GB", Clause.QUESTION),
        ("What time is it?", "en-GB", Clause.FINAL),
        ("thank you", "en", Clause.FINAL),
        ("thank you for", "en", Clause.UNFINISHED),
        ("Well,", "en", Clause.UNFINISHED),
        ("yes", "en", Clause.OPEN),
        ("Yes.", "en", Clause.COMPLETE),
        ("", "en", Clause.OPEN),
        ("bật đèn ở", "vi", Clause.UNFINISHED),
        ("cửa hàng mở cửa lúc mấy giờ", "vi", Clause.QUESTION),
        ("bây giờ là mấy giờ", "vi", Clause.FINAL),
        ("включи свет на", "ru", Clause.UNFINISHED),
        ("какая завтра погода", "ru", Clause.QUESTION),
        ("今天天气怎么样", "zh-CN", Clause.QUESTION),
        ("我想听一首歌因为", "zh", Clause.UNFINISHED),
        ("電気をつけてください", "ja", Clause.COMPLETE),
        ("明日の天気は", "ja", Clause.UNFINISHED),
        ("불을 켜 주세요", "ko", Clause.COMPLETE),
        ("거실에", "ko", Clause.UNFINISHED),
        ("enciende la luz de la", "es", Clause.UNFINISHED),
        ("quelle est la météo", "fr", Clause.QUESTION),
        ("quelle heure est-il", "fr", Clause.FINAL),
        ("现在几点了？", "zh-CN", Clause.FINAL),
        ("지금 몇 시야", "ko", Clause.FINAL),
        ("今何時ですか", "ja", Clause.FINAL),
        ("mach das licht an", "de", Clause.COMPLETE),
        ("stell einen wecker für", "de", Clause.UNFINISHED),
        ("acenda a luz da", "pt", Clause.UNFINISHED),
        ("is this a question?", "xx", Clause.QUESTION),
        ("who knows", "xx", Clause.OPEN),
    ],
)
def test_words_say_whether_more_will_follow(text: str, language: str, said: Clause) -> None:
    assert clause(text, language) is said


@pytest.mark.parametrize(
    "text",
    [
        "What is the weather like?", "Where are you from?", "What is this for?", "Who are they?",
        "What do you want?", "Who was she with?", "How old is he?",
    ],
)  # fmt: skip
def test_a_question_may_end_in_a_word_that_nothing_else_ends_in(text: str) -> None:
    assert clause(text, "en") is Clause.QUESTION


@pytest.mark.parametrize(
    "text",
    [
        "What is that?", "When does that?", "What should I?", "How many ounces are in?", "Did the?",
        "What's the capital of?", "How do you say?", "Is that a timer for", "Like?",
    ],
)  # fmt: skip
def test_the_question_mark_that_a_recogniser_puts_after_half_a_question_says_nothing(text: str) -> None:
    assert clause(text, "en") is Clause.UNFINISHED


@given(st.text(), st.sampled_from(["en", "vi", "ru", "ja", "zh", "ko", "es", "fr", "de", "pt", "", "x-y"]))
def test_any_text_in_any_language_is_judged(text: str, language: str) -> None:
    assert isinstance(clause(text, language), Clause)


def silence_after(strategy: Endpointing, text: str, *, endpoint: bool = False) -> float:
    return strategy.end_silence_ms(Spoken(text, endpoint), 180)


def test_an_unfinished_clause_is_waited_for_and_a_question_answered_sooner() -> None:
    strategy = TranscriptSilence(Pauses(700), lambda: "en")
    unknown = silence_after(strategy, "")
    known = [silence_after(strategy, text) for text in ("thank you", "where is it", "turn on the light")]
    assert sorted(known) == known
    assert known[-1] < unknown
    assert silence_after(strategy, "turn on the light in the") > unknown
    for _ in range(5):
        strategy.paused(900)
    assert silence_after(strategy, "") > unknown


def test_a_recogniser_that_judges_is_believed_when_the_detector_hears_silence_too() -> None:
    strategy = VendorEndpoint(Pauses(700))
    assert silence_after(strategy, "turn on the light") == 700
    assert 60 <= silence_after(strategy, "turn on the light", endpoint=True) <= 200


def test_fixed_silence_learns_nothing() -> None:
    strategy = FixedSilence(700)
    for _ in range(5):
        strategy.paused(100)
    assert silence_after(strategy, "what time is it") == 700


@pytest.mark.parametrize("name", ["auto", "adaptive", "fixed", "transcript", "vendor"])
def test_every_strategy_of_the_configuration_is_known(name: str) -> None:
    voice = VoiceSettings.model_validate({"endpointing": name})
    assert endpointing(voice, lambda: "en").end_silence_ms(Spoken(), 180) == pytest.approx(
        voice.end_silence_ms
    )


def test_a_first_silence_is_told_once_and_taken_back_when_the_speaker_goes_on() -> None:
    settings = EndpointSettings(preemptive_silence_ms=180)
    speaker = Speaker(settings).speech(5).silence(2)
    assert SpeechPaused() not in speaker.events
    speaker.silence(5)
    assert speaker.events.count(SpeechPaused()) == 1
    assert speaker.speech(1).events[-1] == SpeechWentOn()
    assert speaker.silence(4).events.count(SpeechPaused()) == 2


def test_without_eager_turns_no_silence_is_told() -> None:
    speaker = Speaker(EndpointSettings()).speech(5).silence(9)
    assert SpeechPaused() not in speaker.events
