"""Voices by language, speed in Microsoft's words, and SSML that says what it is given."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.azure.tts import ssml
from mimi_mqtt.providers.vendors.azure.voices import LANGUAGES, rate_for, voice_for

VOICE = "de-DE-KatjaNeural"


@pytest.mark.parametrize(
    ("language", "voice"),
    [
        ("vi", "vi-VN-HoaiMyNeural"),
        ("pt", "pt-BR-FranciscaNeural"),
        ("pt_PT", "pt-PT-RaquelNeural"),
        ("EN-gb", "en-GB-SoniaNeural"),
        ("en-NZ", "en-US-AvaMultilingualNeural"),
        ("no", "nb-NO-PernilleNeural"),
        ("tlh", "en-US-AvaMultilingualNeural"),
    ],
)
def test_a_language_has_a_voice(language: str, voice: str) -> None:
    assert voice_for(language) == voice


def test_the_languages_of_the_assistant_are_all_spoken() -> None:
    assert {"en", "vi", "ru", "ja", "zh", "ko", "es", "fr", "de", "pt", "it"} <= LANGUAGES


@pytest.mark.parametrize(("speed", "rate"), [(1.0, "+0%"), (1.25, "+25%"), (0.5, "-50%"), (2.0, "+100%")])
def test_speed_is_relative(speed: float, rate: str) -> None:
    assert rate_for(speed) == rate


def test_markup_in_a_text_is_spoken_not_obeyed() -> None:
    text = '</voice><voice name="x">5 < 6 & "so on" ]]> <break time="9s"/>'
    root = ElementTree.fromstring(ssml(text, VOICE, 1.2, "cheerful"))
    assert "".join(root.itertext()) == text
    assert len(list(root.iter("{http://www.w3.org/2001/10/synthesis}voice"))) == 1


@given(text=st.text(), voice=st.text(), speed=st.floats(0.5, 2.0), style=st.none() | st.text(min_size=1))
def test_any_text_makes_a_document(text: str, voice: str, speed: float, style: str | None) -> None:
    printable = "".join(char for char in voice if char.isprintable())
    style = style and "".join(char for char in style if char.isprintable())
    root = ElementTree.fromstring(ssml(text, printable, speed, style).encode())
    said = "".join(root.itertext())
    assert [char for char in said if char.isalnum()] == [char for char in text if char.isalnum()]
