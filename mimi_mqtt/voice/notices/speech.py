"""Speech of notices: one synthesis for a text, voice and language, however many devices are to hear it."""

import asyncio
import itertools
import json
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Final
from weakref import WeakKeyDictionary

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.provider import speaks
from mimi_mqtt.providers.contract.tts import TextToSpeech
from mimi_mqtt.providers.runtime.fair_queue import bind_holder
from mimi_mqtt.providers.runtime.lru import Lru
from mimi_mqtt.voice.language.languages import of_sentence
from mimi_mqtt.voice.notices.recording import Recording
from mimi_mqtt.voice.pool import VoicePool
from mimi_mqtt.voice.ports import AudioFormat
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.speech.sentences import Sentence, SentenceCutter, prepare
from mimi_mqtt.wire.ogg import GRANULE_RATE, OpusPacket

FRAME_MS: Final = 60
"""Length of a packet, in ms."""
COMPLETED_WITHIN_S: Final = 2.0
"""Time in seconds that the sentences after the first one have to be made before the device is told: within it
all subtitles have their exact times. A longer text is heard sooner instead, and the times of the rest follow
from the voice's pace so far."""
MAX_CACHE_BYTES: Final = 16 << 20
"""Bytes of finished recordings that are kept: an hour and a half at 24 kb/s. The longest unused go first."""

_HOLDER: Final = "notices"


class NoticeSpeech:
    """Recordings of texts, by the voices of `pool`, at `sample_rate` (Hz) of the downlink."""

    def __init__(self, pool: VoicePool, sample_rate: int, cache_bytes: int = MAX_CACHE_BYTES) -> None:
        self._pool = pool
        self._format = AudioFormat(sample_rate, FRAME_MS)
        self._kept: Lru[Recording] = Lru(cache_bytes, lambda recording: recording.size)
        self._running: dict[str, Recording] = {}
        self._providers: WeakKeyDictionary[TextToSpeech, int] = WeakKeyDictionary()
        self._numbers = itertools.count()

    async def speak(self, text: str, agent: str, language: str) -> Recording:
        """The recording of `text` by the agent with the key `agent`, held for the caller: `release` it.

        Returns when the first sentence is made, which is what the device hears first; for a short text, when
        all is. Raises ProviderError where no sentence can be spoken.
        """
        recording = self._recording(text, agent, language)
        recording.hold()
        try:
            await recording.begun()
            if not recording.over:
                try:
                    async with asyncio.timeout(COMPLETED_WITHIN_S):
                        await recording.ended()
                except TimeoutError:
                    pass
            if recording.failure is not None and not recording.duration_ms:
                raise recording.failure
        except BaseException:
            recording.release()
            raise
        return recording

    def _recording(self, text: str, agent: str, language: str) -> Recording:
        lease = self._pool.lease(agent)
        services = lease.current()
        sentences = _sentences(text, language, services)
        key = self._key(services, sentences)
        recording = self._kept.get(key) or self._running.get(key)
        if recording is not None and recording.usable:
            lease.release()
            return recording
        recording = self._running[key] = Recording()
        recording.plan([sentence.text.strip() for sentence in sentences])

        def over() -> None:
            lease.release()
            if self._running.get(key) is recording:
                del self._running[key]
            if recording.whole:
                self._kept.keep(key, recording)

        recording.on_over = over
        recording.make(self._make(recording, sentences, services), "speech of a notice")
        return recording

    def _key(self, services: VoiceServices, sentences: list[Sentence]) -> str:
        """All that the sound depends on. A provider that takes another's place is another one."""
        number = self._providers.setdefault(services.tts, next(self._numbers))
        manners = {sentence.language: services.manner(sentence.language) for sentence in sentences}
        sound = [
            number,
            [repr(manners[language]) for language in sorted(manners)],
            [(sentence.language, sentence.piece) for sentence in sentences],
        ]
        return json.dumps(sound)

    async def _make(self, recording: Recording, sentences: list[Sentence], services: VoiceServices) -> None:
        bind_holder(_HOLDER)
        if not sentences:
            raise ProviderBadAnswer(services.tts.name, "there is nothing to say in the text")
        samples = self._format.frame_ms * GRANULE_RATE // 1000
        recording.begin(input_rate=self._format.sample_rate)
        with closing(services.encoders.open(self._format)) as encoder:
            for index, sentence in enumerate(sentences):
                recording.sentence(index)
                voice = services.manner(sentence.language)
                async with (
                    aclosing(services.tts.speak(sentence.speech, voice)) as chunks,
                    aclosing(encoder.sentence(chunks)) as frames,
                ):
                    async for frame in frames:
                        recording.add([OpusPacket(frame, samples)])
            recording.add([OpusPacket(frame, samples) for frame in await encoder.end()])


def _sentences(text: str, language: str, services: VoiceServices) -> list[Sentence]:
    cutter = SentenceCutter()
    found = []
    for piece in (*cutter.feed(text), *cutter.flush()):
        sentence = prepare(piece)
        if sentence.speech:
            spoken = of_sentence(sentence.speech, language)
            known = speaks(services.tts.capabilities.languages, spoken)
            found.append(replace(sentence, language=spoken if known else language))
    return found
