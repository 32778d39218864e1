"""The decoder itself, in this process: its dictionary, its grammar, and the choice between two hypotheses."""

import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.providers.vendors.offline.sphinx.decoder import Choice, Decoder, Hypothesis
from mimi_mqtt.providers.vendors.offline.sphinx.grammar import GRAMMAR
from mimi_mqtt.providers.vendors.offline.sphinx.messages import Heard
from tests.unit.providers.vendors.offline.assistant.dialogue import ask
from tests.unit.providers.vendors.offline.sphinx.sentences import Sentences
from tests.unit.providers.vendors.offline.spoken import noise, silence, through_opus, utterance, with_noise


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


def heard(decoder: Decoder, pcm: Pcm) -> Heard:
    return decoder.decode(pcm.tobytes(), commands=True)


def test_every_word_of_the_grammar_is_in_the_dictionary(decoder: Decoder) -> None:
    assert not [word for word in sorted(Sentences(GRAMMAR).words) if not decoder.knows(word)]


async def test_every_sentence_of_the_grammar_is_one_the_assistant_answers() -> None:
    sentences = Sentences(GRAMMAR)
    for sentence in sorted({sentences.say() for _ in range(600)}):
        answer = await ask(sentence)
        assert answer.calls or not answer.text.startswith("🤷"), sentence


@pytest.mark.parametrize(
    "sentence",
    [
        "what time is it",
        "set the volume to forty",
        "set a timer for thirty seconds",
        "tell me a joke",
    ],
)
def test_commands_are_understood(decoder: Decoder, sentence: str) -> None:
    answer = heard(decoder, through_opus(utterance(sentence)))
    assert answer.text == sentence
    assert answer.command
    assert answer.confidence is not None
    assert answer.confidence > 0.5


@pytest.mark.parametrize("sentence", ["what time is it", "set the volume to forty"])
def test_commands_are_understood_in_noise(decoder: Decoder, sentence: str) -> None:
    assert heard(decoder, through_opus(with_noise(utterance(sentence), 20))).text == sentence


@pytest.mark.parametrize(
    ("sentence", "voice"),
    [
        ("i went to the market yesterday and bought some apples", "gmw/en"),
        ("he set the table for four people", "gmw/en"),
        ("turn on the lights in the kitchen", "gmw/en-US"),
        ("please read me the news", "gmw/en"),
        ("my brother has a very old car", "gmw/en-US"),
        ("what is the weather like in london", "gmw/en-US"),
    ],
)
def test_other_speech_is_not_forced_into_a_command(decoder: Decoder, sentence: str, voice: str) -> None:
    answer = heard(decoder, through_opus(utterance(sentence, voice=voice)))
    assert not answer.command
    assert answer.text


@pytest.mark.parametrize("pcm", [silence(0), silence(40), silence(1000), noise(1000, 800)])
def test_what_is_no_speech_is_no_command(decoder: Decoder, pcm: Pcm) -> None:
    assert not heard(decoder, pcm).command


def test_the_same_audio_is_understood_the_same_whatever_came_before(decoder: Decoder) -> None:
    pcm = through_opus(utterance("what time is it"))
    first = heard(decoder, pcm)
    heard(decoder, noise(1000, 8000))
    heard(decoder, through_opus(utterance("my brother has a very old car")))
    again = heard(decoder, pcm)
    assert again[:2] == first[:2]
    assert again.confidence == pytest.approx(first.confidence, abs=0.05)


def test_what_is_longer_than_any_command_is_left_to_the_general_model(decoder: Decoder) -> None:
    answer = heard(decoder, utterance("what time is it", lead_ms=4500, tail_ms=4000))
    assert not answer.command


def choice(command: str, score: float, general: str, general_score: float, frames: int = 150) -> Choice:
    """Both over 100 frames of words, where free phones score -4000."""
    return Choice(
        Hypothesis(command, score, 100 if command else 0),
        Hypothesis("", -4000, 100),
        Hypothesis(general, general_score, 100),
        frames,
    )


def test_a_command_that_fits_about_as_well_as_free_phones_is_believed() -> None:
    text, command, confidence = choice("what time is it", -6000, "what i eat", -8000).heard()
    assert (text, command) == ("what time is it", True)
    assert confidence is not None
    assert confidence > 0.9


def test_a_command_that_fits_badly_is_not_believed() -> None:
    assert choice("quieter please", -14_000, "why is the sky blue", -9000).heard() == Heard(
        "why is the sky blue", False, None
    )


def test_a_command_in_little_of_the_speech_is_not_believed() -> None:
    near = choice("quieter please", -8000, "why is it", -8000, frames=110)
    assert choice("quieter please", -8000, "why is it", -8000, frames=400).score < near.score - 3


def test_what_changes_something_has_to_be_surer() -> None:
    assert choice("what time is it", 0, "", 0).threshold < choice("turn it up", 0, "", 0).threshold
    for command in ("set the volume to forty", "cancel the timer", "louder", "mute"):
        assert choice(command, 0, "", 0).threshold == choice("turn it up", 0, "", 0).threshold


def test_both_models_agreeing_is_enough() -> None:
    assert choice("hello", -30_000, "hello", -30_000).heard().command


def test_no_sentence_of_the_grammar_leaves_the_general_model() -> None:
    assert choice("", 0, "why", -4000).heard() == Heard("why", False, None)


def test_nothing_at_all_is_nothing() -> None:
    assert choice("", 0, "", 0, frames=0).heard() == Heard("", False, None)
