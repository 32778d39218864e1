"""Text to speech by espeak-ng from the wheel espeakng-loader: no key, no internet, 1 ms a sentence."""

import re
from collections.abc import AsyncGenerator, Iterator
from functools import partial

import numpy as np
from pydantic import Field

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer, ProviderNotConfigured
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.languages import normalized, primary, primary_subtag
from mimi_mqtt.providers.runtime.local_model import LocalModel
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.offline.espeak_engine import (
    MAX_WORDS_PER_MINUTE,
    MIN_WORDS_PER_MINUTE,
    Engine,
    EspeakFailure,
    Speech,
    shared_engine,
)
from mimi_mqtt.providers.vendors.offline.espeak_text import pieces, readable, reading_language, runs
from mimi_mqtt.providers.vendors.offline.espeak_words import in_words
from mimi_mqtt.providers.vendors.offline.japanese import JapaneseReader

_CHUNK_MS = 200
_PEAK = 23_197  # -3 dBFS
_MOST_GAIN = 8.0
_AUDIBLE = 0.01  # of the peak
_LEAD_MS, _TAIL_MS = 15, 80

# The language tags for which the library's own tag is another.
_TAGS = {
    "zh": "cmn",
    "zh-cn": "cmn",
    "zh-tw": "cmn",
    "zh-hk": "yue",
    "no": "nb",
    "en": "en-gb",
    "fr": "fr-fr",
}

# Primary subtags of the wheel's voices, those of constructed and ancient languages left out.
_LANGUAGES = """
    af am an ar as az ba be bg bn bs ca cmn cs cv cy da de el en eo es et eu fa fi fo fr ga gd gn gu hak
    haw he hi hr ht hu hy id is it ja ka kk kl kn ko kok ku ky lb lt lv mi mk ml mr ms mt my nb ne nl no
    om or pa pap pl pt ro ru sd si sk sl sq sr sv sw ta te th ti tk tn tr tt ug uk ur uz vi yue zh
"""

_KNOWN = frozenset(_LANGUAGES.split())

_VOICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}(\+[A-Za-z0-9_-]{1,20})?")


class EspeakOptions(ProviderOptions):
    """Options of `providers.options.offline` for speaking."""

    tts_words_per_minute: int = Field(165, ge=MIN_WORDS_PER_MINUTE, le=MAX_WORDS_PER_MINUTE)
    """Words per minute at assistant.speed 1."""

    tts_pitch: int = Field(50, ge=0, le=99)
    """Pitch of the voice, 0 to 99."""


class Espeak(TextToSpeech):
    """espeak-ng in a thread of its own; every sentence is made whole and passed on in chunks of 200 ms."""

    Options = EspeakOptions
    packages = ("espeakng_loader",)
    extra = "offline"
    last_resort = True
    capabilities = TtsCapabilities(
        streaming=False,
        languages=_KNOWN,
    )

    def __init__(self, name: str, options: EspeakOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._model = LocalModel(name, self._load)
        self._japanese = JapaneseReader(name, self.extra)

    def has_voice(self, wish: VoiceOptions) -> bool:
        """True for a name such as `en-gb+f3` of a language of the library, and where none is named."""
        if not wish.voice:
            return not wish.gender
        language = wish.voice.partition("+")[0].lower()
        known = _VOICE_NAME.fullmatch(wish.voice) is not None and primary_subtag(language) in _KNOWN
        return known and primary(language) == primary(wish.language)

    async def start(self) -> None:
        """Loads the library. Raises ProviderNotConfigured."""
        await self._model.get()

    async def aclose(self) -> None:
        """Ends the thread; the library stays, as it can't be loaded twice."""
        self._model.close()

    def _load(self) -> Engine:
        try:
            return shared_engine(load_package("espeakng_loader", self.name, self.extra))
        except EspeakFailure as error:
            raise ProviderNotConfigured(
                self.name, f"{error}: reinstall it with pip install --force-reinstall espeakng-loader"
            ) from None

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        clean = readable(text)
        if not clean:
            return
        main = reading_language(clean, normalized(voice.language))
        loaded = await self._model.get()
        engine = loaded.model
        for language, run in runs(in_words(clean, main), main):
            for piece in pieces(run):
                pcm = await loaded.run(partial(self._speak, engine, piece, language, voice))
                for chunk in _chunks(pcm, engine.sample_rate):
                    yield SpeechChunk(chunk, engine.sample_rate)

    def _speak(self, engine: Engine, text: str, language: str, voice: VoiceOptions) -> Pcm:
        rate = round(self._options.tts_words_per_minute * voice.speed)
        rate = min(max(rate, MIN_WORDS_PER_MINUTE), MAX_WORDS_PER_MINUTE)
        spoken = language == normalized(voice.language)
        default = _voice_for(engine, language)
        text = in_words(text, language)
        if primary(language) == "ja":
            text = self._japanese.reading(text)
        # A voice name goes into a file name inside the library, hence the narrow pattern.
        if voice.voice and spoken and _VOICE_NAME.fullmatch(voice.voice):
            wished = engine.voices.get(voice.voice.lower(), voice.voice)
            try:
                return levelled(engine.speak(text, Speech(wished, rate, self._options.tts_pitch)), engine)
            except EspeakFailure:
                pass  # the name belongs to another provider of the chain
        try:
            return levelled(engine.speak(text, Speech(default, rate, self._options.tts_pitch)), engine)
        except EspeakFailure as error:
            raise ProviderBadAnswer(self.name, str(error)) from None


def _voice_for(engine: Engine, language: str) -> str:
    """The voice for a language tag: its own, its primary language's, else English."""
    for tag in (language, primary_subtag(language)):
        tag = _TAGS.get(tag, tag)
        if tag in engine.voices:
            return engine.voices[tag]
    return engine.voices["en-gb"]


def levelled(pcm: Pcm, engine: Engine) -> Pcm:
    """`pcm` without the silence around it (15 ms before and 80 ms after are left), its peak at -3 dBFS."""
    loudness = np.abs(pcm.astype(np.float32))
    peak = float(loudness.max(initial=0.0))
    if peak < 1.0:
        return np.zeros(0, np.int16)
    audible = np.flatnonzero(loudness > peak * _AUDIBLE)
    start = max(0, int(audible[0]) - engine.sample_rate * _LEAD_MS // 1000)
    end = int(audible[-1]) + 1 + engine.sample_rate * _TAIL_MS // 1000
    spoken = pcm[start:end].astype(np.float32) * min(_PEAK / peak, _MOST_GAIN)
    missing = max(0, end - pcm.size)  # what the library cut off of the tail
    return np.concatenate([np.round(spoken).astype(np.int16), np.zeros(missing, np.int16)])


def _chunks(pcm: Pcm, sample_rate: int) -> Iterator[Pcm]:
    size = sample_rate * _CHUNK_MS // 1000
    for start in range(0, pcm.size, size):
        yield pcm[start : start + size]
