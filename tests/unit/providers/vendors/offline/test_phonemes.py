"""Phonemes by the real library, with the punctuation of the text."""

import re

import espeakng_loader
import pytest

from mimi_mqtt.providers.vendors.offline.espeak_engine import Engine, Speech, shared_engine
from mimi_mqtt.providers.vendors.offline.phonemes import phonemes


@pytest.fixture
def engine() -> Engine:
    return shared_engine(espeakng_loader)


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("Hello, world!", "en-us", "həlˈoʊ, wˈɜːld!"),
        ("half past seven; isn't it?", "en-us", "hˈæf pˈæst sˈɛvən; ˈɪzənt ɪt?"),
        ("12.5 of them", "en-us", "twˈɛlv pɔɪnt fˈaɪv ʌv ðˌɛm"),
        ("mấy giờ rồi?", "vi", "mˈəɪɜ zˈəː2 zˈo2j?"),
        ("Wait… what?", "en-us", "wˈeɪt. wˈʌt?"),
        ("吗？", "zh-CN", "mˈɑ1?"),
        ("Hello", "xx", "həlˈoʊ"),
        ("", "en", ""),
        ("...", "en", ""),
    ],
)
def test_texts(engine: Engine, text: str, language: str, said: str) -> None:
    # How a word is stressed depends on what the library said before.
    assert re.sub("[ˈˌ]", "", phonemes(engine, text, language)) == re.sub("[ˈˌ]", "", said)


def test_words_of_another_language_are_said_without_a_note(engine: Engine) -> None:
    said = phonemes(engine, "Это Android", "ru")
    assert "(" not in said
    assert len(said.split()) == 2


def test_sounds_of_two_letters_are_tied(engine: Engine) -> None:
    assert phonemes(engine, "chair", "en-us", "^").startswith("t^ʃ")


def test_the_voice_that_speaks_is_chosen_again_afterwards(engine: Engine) -> None:
    speech = Speech(engine.voices["en-us"], 165, 50)
    before = engine.speak("hello", speech).size
    phonemes(engine, "Привет", "ru")
    assert abs(engine.speak("hello", speech).size - before) < before / 4


def test_words_of_another_language_are_said_without_a_note_of_it() -> None:
    engine = shared_engine(espeakng_loader)
    for tie in ("", "^"):
        said = phonemes(engine, "Le football et le parking, c'est cool.", "fr", tie)
        assert "(" not in said


@pytest.mark.parametrize("tie", ["", "^"])
def test_nothing_of_a_long_row_of_digits_is_lost(tie: str) -> None:
    engine = shared_engine(espeakng_loader)
    short, long = (phonemes(engine, "The number is " + "7777 " * count, "en-us", tie) for count in (10, 70))
    assert long.count("ˈ") > 6 * short.count("ˈ")
