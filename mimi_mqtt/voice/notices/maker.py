"""Recordings of texts and of sounds, for `commands`."""

from mimi_mqtt.voice.notices.recording import Recording
from mimi_mqtt.voice.notices.sound import NoticeSounds, Sound
from mimi_mqtt.voice.notices.speech import NoticeSpeech
from mimi_mqtt.voice.pool import VoicePool


class RecordingMaker:
    """Implements `commands.ports.NoticeVoice`, with the voices of `pool`, at `sample_rate` (Hz)."""

    def __init__(self, pool: VoicePool, sample_rate: int) -> None:
        self._speech = NoticeSpeech(pool, sample_rate)
        self._sounds = NoticeSounds(sample_rate)

    def close(self) -> None:
        """Ends its threads. Safe to call twice."""
        self._sounds.close()

    async def speak(self, text: str, agent: str, language: str) -> Recording:
        """See `NoticeSpeech`."""
        return await self._speech.speak(text, agent, language)

    async def record(self, sound: Sound) -> Recording:
        """See `NoticeSounds`."""
        return await self._sounds.record(sound)
