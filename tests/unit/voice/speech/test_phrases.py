"""Greetings in the language of the conversation."""

import pytest

from mimi_mqtt.config import AgentSettings
from mimi_mqtt.voice.language.languages import of_sentence
from mimi_mqtt.voice.speech.phrases import fixed_phrases, greeting, greetings
from tests.fakes.scene import scene
from tests.fakes.voice import ToneTts, services


@pytest.mark.parametrize("language", ["de", "es", "fr", "it", "pt-BR", "ru", "vi", "zh_CN", "ja", "ko"])
def test_the_default_greeting_is_said_in_the_devices_language(language: str) -> None:
    said = greeting(AgentSettings(), language)
    assert said != AgentSettings().greeting
    assert said in greetings([AgentSettings()])
    assert of_sentence(said, language) == language


@pytest.mark.parametrize("language", ["en", "sv"])
def test_other_languages_are_greeted_in_english(language: str) -> None:
    assert greeting(AgentSettings(), language) == AgentSettings().greeting


def test_an_agents_own_greeting_is_said_as_it_is() -> None:
    own = AgentSettings(greeting="Moin!")
    assert greeting(own, "vi") == "Moin!"
    assert greetings([own]) == ("Moin!",)


@pytest.mark.virtual_time
async def test_a_vietnamese_device_is_greeted_in_vietnamese() -> None:
    tts = ToneTts()
    async with scene(services(tts=tts), language="vi-VN") as s:
        s.conversation.wake_word("MiMi")
        await s.device.until("stop")
        assert " ".join(tts.texts) == greeting(AgentSettings(), "vi")
        assert {*tts.voices} == {("vi-VN", None)}


@pytest.mark.virtual_time
@pytest.mark.parametrize("language", ["en", "de", "ja", "zh"])
async def test_a_greeting_is_fixed_for_the_speech_cache_as_it_is_asked_for(language: str) -> None:
    tts = ToneTts()
    async with scene(services(tts=tts), language=language) as s:
        s.conversation.wake_word("MiMi")
        await s.device.until("stop")
    assert tts.texts
    assert {*tts.texts} <= fixed_phrases([AgentSettings()])
