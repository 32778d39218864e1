"""The manner in which an agent speaks a language: voice, gender and speed."""

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.providers.catalog.model_voices import wish_of
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.voice.language.languages import voice_for


def manner(agent: AgentSettings, language: str) -> VoiceOptions:
    """The options with which text to speech is asked for `language`, a tag such as `zh-CN`.

    A voice whose name says that it is another language's is left out.
    """
    return wish_of(language, voice_for(agent.voice_for(language), language), agent.speed_for(language))
