"""Speech for the bench of turn-taking, made from the offline voice: pauses, noise, echo. Seeded, never kept.

Where speech begins and ends is known to the sample, since every clause is trimmed to what is audible before
the silences are put in. All audio is mono int16 at 16 kHz.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.cli.bench._sentences import UNSPACED, Material
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions

RATE: Final = 16_000
FRAME_MS: Final = 60
FRAME: Final = RATE * FRAME_MS // 1000
"""Samples a device sends at a time."""
LEAD_S: Final = 0.6
"""Before the speech; the detector needs to hear the room first."""
TAIL_S: Final = 2.4
"""After it: longer than any strategy waits."""
SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS = 200, 900
_BAR: Final = re.compile(r"[|/]")
_AUDIBLE: Final = 0.02  # of the peak
LEVEL: Final = 3_000.0
"""Root mean square of speech."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A simulated speaker with a typical pause."""

    language: str
    voice: str | None
    speed: float
    pause_ms: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance in a room. `words` are (second at which it has been said, text so far).
    `could_be_all`: there is a pause in it at which the words could be all."""

    speaker: int
    language: str
    pcm: Pcm
    speech_end_s: float
    could_be_all: bool
    words: tuple[tuple[float, str], ...]


class Corpus:
    """Makes the corpus with a started `tts`; the same `seed` makes the same sentences, pauses and rooms.

    Without `variants`, for a `tts` that is not the offline voice, all are English and have one voice.
    """

    def __init__(self, tts: TextToSpeech, material: Material, seed: int, *, variants: bool = True) -> None:
        self._tts = tts
        self._variants = variants
        self._material = material
        self._seed = seed
        self._random = np.random.default_rng(seed)
        self._made: dict[tuple[str, str, str | None, float], Pcm] = {}

    def speakers(self, count: int) -> list[Speaker]:
        """Half of them English; their typical pauses are spread from short to long."""
        others = [language for language in self._material.sentences if language != "en"]
        variants = self._material.variants
        made = []
        for number in range(count):
            english = number % 2 == 0 or not self._variants
            language = "en" if english else others[number // 2 % len(others)]
            voice = f"{language}+{variants[number % len(variants)]}" if self._variants else None
            speed = float(self._random.uniform(0.85, 1.25))
            made.append(Speaker(language, voice, round(speed, 2), 250 + 450 * number / count))
        return made

    async def utterances(self, speakers: Sequence[Speaker], each: int) -> list[Utterance]:
        """`each` utterances of every speaker, in the order spoken; rooms from quiet to 10 dB of noise."""
        made = []
        for index, speaker in enumerate(speakers):
            sentences = self._material.sentences[speaker.language]
            snr_db = (None, 20.0, 10.0)[index % 3]
            for number in range(each):
                # Each its own, for espeak-ng is not deterministic: another length must not change the rest.
                self._random = np.random.default_rng((self._seed, index, number))
                sentence = sentences[int(self._random.integers(len(sentences))) if number else 0]
                made.append(await self._utterance(index, speaker, sentence, snr_db))
        return made

    async def _utterance(
        self, index: int, speaker: Speaker, sentence: str, snr_db: float | None
    ) -> Utterance:
        parts: list[NDArray[np.float64]] = [np.zeros(int(LEAD_S * RATE))]
        at = LEAD_S
        words: list[tuple[float, str]] = []
        text = ""
        space = "" if speaker.language in UNSPACED else " "
        bars = _BAR.findall(sentence)
        for number, clause in enumerate(part.strip() for part in _BAR.split(sentence)):
            if number:
                pause_ms = float(speaker.pause_ms * self._random.lognormal(0, 0.25))
                pause_ms = min(max(pause_ms, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS)
                parts.append(np.zeros(int(pause_ms * RATE / 1000)))
                at += pause_ms / 1000
            # A voice that knows intonation must not let it fall where the speaker only hesitates.
            goes_on = not self._variants and number < len(bars) and bars[number] == "|"
            spoken_as = f"{clause}," if goes_on else clause
            said = await self.say(spoken_as, speaker.language, speaker.voice, speaker.speed)
            length = len(said) / RATE
            spoken = 0
            for word in clause.split():
                spoken += len(word) + 1
                text = f"{text}{space}{word}".strip()
                words.append((at + length * spoken / (len(clause) + 1), text))
            parts.append(said)
            at += length
        parts.append(np.zeros(int(TAIL_S * RATE)))
        speech = at_level(np.concatenate(parts), LEVEL)
        room = 5.0 if snr_db is None else LEVEL / 10 ** (snr_db / 20)
        pcm = to_pcm(speech + noise(self._random, len(speech), room))
        return Utterance(index, speaker.language, pcm, at, "/" in sentence, tuple(words))

    async def say(
        self, text: str, language: str, voice: str | None, speed: float = 1.0
    ) -> NDArray[np.float64]:
        """`text` as it is spoken, from the first to the last that is audible."""
        key = (text, language, voice, speed)
        if key not in self._made:
            chunks = []
            rate = RATE
            async for chunk in self._tts.speak(text, VoiceOptions(language, voice, speed)):
                chunks.append(chunk.pcm)
                rate = chunk.sample_rate
            pcm = Resampler(rate, RATE).process(np.concatenate(chunks), last=True)
            audible = np.flatnonzero(np.abs(pcm) > _AUDIBLE * np.abs(pcm).max())
            self._made[key] = pcm[audible[0] : audible[-1] + 1]
        return self._made[key].astype(np.float64)


def noise(random: np.random.Generator, samples: int, level: float) -> NDArray[np.float64]:
    """A room's: less of it the higher the frequency; `level` is its root mean square."""
    spectrum = np.fft.rfft(random.normal(0, 1, samples))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 50.0))
    made: NDArray[np.float64] = np.fft.irfft(spectrum, samples)
    made *= level / np.sqrt(np.mean(made**2))
    return made


def at_level(speech: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """`speech` with a root mean square of `level` where there is sound."""
    loud = speech[np.abs(speech) > _AUDIBLE * np.abs(speech).max()]
    levelled: NDArray[np.float64] = speech * (level / np.sqrt(np.mean(loud**2)))
    return levelled


def to_pcm(samples: NDArray[np.float64]) -> Pcm:
    """Rounded, clipped."""
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)
