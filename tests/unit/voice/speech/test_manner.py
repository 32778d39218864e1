"""The options with which an agent's text to speech is asked."""

import pytest

from mimi_mqtt.config import AgentSettings
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.voice.speech.manner import manner


@pytest.mark.parametrize(
    ("agent", "language", "expected"),
    [
        ({}, "en", VoiceOptions("en")),
        ({"voice": "am_fenrir", "speed": 1.2}, "en-US", VoiceOptions("en-US", "am_fenrir", 1.2)),
        ({"voice": "male"}, "ja", VoiceOptions("ja", None, 1.0, "male")),
        ({"voice": {"en": "female", "ja": "jm_kumo"}}, "en", VoiceOptions("en", None, 1.0, "female")),
        ({"voice": {"en": "female", "ja": "jm_kumo"}}, "ja", VoiceOptions("ja", "jm_kumo")),
        ({"voice": {"en": "female"}, "speed": {"ja": 0.9}}, "ja", VoiceOptions("ja", None, 0.9)),
        # A name that tells its language is no voice for another.
        ({"voice": "de-DE-KatjaNeural"}, "en", VoiceOptions("en")),
    ],
)
def test_voice_gender_and_speed_are_the_agents_for_the_language(
    agent: dict[str, object], language: str, expected: VoiceOptions
) -> None:
    assert manner(AgentSettings.model_validate(agent), language) == expected
