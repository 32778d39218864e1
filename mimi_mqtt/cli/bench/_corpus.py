"""Speech for the bench of turn-taking, made from the offline voice: pauses, noise, echo. Seeded, never kept.

Where speech begins and ends is known to the sample, since every clause is trimmed to what is audible before
the silences are put in. All audio is mono int16 at 16 kHz.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.providers.base import TextToSpeech, VoiceOptions

RATE: Final = 16_000
LEAD_S: Final = 0.6
"""Before the speech; the detector needs to hear the room first."""
TAIL_S: Final = 2.4
"""After it: longer than any strategy waits."""
SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS = 200, 900
_AUDIBLE: Final = 0.02  # of the peak
_LEVEL: Final = 3_000.0  # root mean square of speech

# A bar is where the speaker may hesitate. In the last group the words before it could be all.
_SENTENCES: Final = {
    "en": (
        "what is the | weather like tomorrow", "turn on the light in the | kitchen",
        "set a timer for | ten minutes", "could you tell me the | distance to the moon",
        "i would like to | hear some quiet music", "remind me to | call my mother this evening",
        "how do you say | good morning in japanese", "play the news and | then turn off the radio",
        "is there | anything in my calendar today", "what time is it", "stop the music",
        "who wrote the first computer program", "that is all for today",
        "read me the | latest news about | space",
        "why is the sky | blue", "add milk and | bread to my shopping list",
        "tell me a story | about a small dragon", "set an alarm for seven | and another one for eight",
    ),
    "de": (
        "wie wird das | wetter morgen", "mach das licht in der | küche an",
        "stell einen wecker auf | sieben uhr",
        "wie spät ist es", "erzähl mir eine geschichte | von einem drachen",
    ),
    "es": (
        "qué tiempo hará | mañana", "enciende la luz de la | cocina", "pon una alarma a las | siete",
        "qué hora es", "cuéntame un cuento | de dragones",
    ),
    "fr": (
        "quel temps fera-t-il | demain", "allume la lumière dans la | cuisine",
        "mets un réveil à | sept heures",
        "quelle heure est-il", "raconte-moi une histoire | de dragon",
    ),
    "ru": (
        "какая завтра будет | погода", "включи свет на | кухне", "поставь будильник на | семь часов",
        "который сейчас час", "расскажи мне сказку | про дракона",
    ),
    "vi": (
        "thời tiết ngày mai | thế nào", "bật đèn ở | trong bếp", "đặt báo thức lúc | bảy giờ",
        "bây giờ là mấy giờ",
        "kể cho tôi nghe một câu chuyện | về con rồng",
    ),
    "pt": (
        "como vai estar o | tempo amanhã", "acenda a luz da | cozinha", "que horas são",
        "conte uma história | de dragões",
    ),
}  # fmt: skip
_VARIANTS: Final = ("m1", "m2", "m3", "m4", "m7", "f1", "f2", "f3", "f4", "f5")
_REPLIES: Final = (
    "The weather tomorrow will be mostly sunny, with a light wind from the west and about twenty degrees in "
    "the afternoon. In the evening there may be a little rain, so take an umbrella with you when you go out.",
    "Once upon a time there was a small dragon who was afraid of fire. Every evening the other dragons "
    "laughed, but one day a great storm came over the mountains, and only he knew the way home.",
)
_INTERRUPTIONS: Final = (
    "stop please", "wait a moment", "no i mean the day after tomorrow", "that is enough thank you",
    "what about the weekend", "turn it off",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose typical pause is known."""

    language: str
    voice: str
    speed: float
    pause_ms: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance in a room. `words` are (second at which it has been said, text so far)."""

    speaker: int
    language: str
    pcm: Pcm
    speech_end_s: float
    longest_pause_ms: float
    words: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Duplex:
    """The assistant speaks, and perhaps somebody else. `played` is what the device was sent; `heard` what
    its microphone recorded. `spoken_at_s` None: nobody else speaks. `noise_at_s`: something falls down."""

    played: Pcm
    heard: Pcm
    delay_ms: float
    spoken_at_s: float | None
    noise_at_s: float | None


class Corpus:
    """Makes the corpus with a started `tts`; the same `seed` makes the same sentences, pauses and rooms."""

    def __init__(self, tts: TextToSpeech, seed: int) -> None:
        self._tts = tts
        self._seed = seed
        self._random = np.random.default_rng(seed)
        self._made: dict[tuple[str, str, str, float], Pcm] = {}

    def speakers(self, count: int) -> list[Speaker]:
        """Half of them English; their typical pauses are spread from short to long."""
        others = [language for language in _SENTENCES if language != "en"]
        made = []
        for number in range(count):
            language = "en" if number % 2 == 0 else others[number // 2 % len(others)]
            variant = _VARIANTS[number % len(_VARIANTS)]
            speed = float(self._random.uniform(0.85, 1.25))
            made.append(
                Speaker(language, f"{language}+{variant}", round(speed, 2), 250 + 450 * number / count)
            )
        return made

    async def utterances(self, speakers: Sequence[Speaker], each: int) -> list[Utterance]:
        """`each` utterances of every speaker, in the order spoken; rooms from quiet to 10 dB of noise."""
        made = []
        for index, speaker in enumerate(speakers):
            sentences = _SENTENCES[speaker.language]
            snr_db = (None, 20.0, 10.0)[index % 3]
            for number in range(each):
                # Each its own, for espeak-ng is not deterministic: another length must not change the rest.
                self._random = np.random.default_rng((self._seed, index, number))
                sentence = sentences[int(self._random.integers(len(sentences))) if number else 0]
                made.append(await self._utterance(index, speaker, sentence, snr_db))
        return made

    async def duplexes(self, count: int) -> list[Duplex]:
        """A third each: the assistant alone, somebody over it, something falling down."""
        made = []
        for number in range(count):
            self._random = np.random.default_rng((self._seed, number))
            reply = await self._say(_REPLIES[number % len(_REPLIES)], "en", "en+f2", 1.0)
            played = _at_level(np.concatenate([np.zeros(RATE // 10), reply]), _LEVEL)
            delay_ms = float(self._random.uniform(-30, 150))
            echo_db = float(self._random.choice([-6.0, 0.0, 6.0]))  # over the speaker
            heard = self._room(played, delay_ms, _LEVEL * 0.5 * 10 ** (echo_db / 20))
            spoken_at = noise_at = None
            if number % 3 == 1:
                voice = f"en+{_VARIANTS[number // 3 % 5]}"
                said = await self._say(_INTERRUPTIONS[number // 3 % len(_INTERRUPTIONS)], "en", voice, 1.0)
                spoken_at = float(self._random.uniform(2.0, 5.0))
                _add(heard, _at_level(said, _LEVEL * 0.5), spoken_at)
            elif number % 3 == 2:
                noise_at = float(self._random.uniform(2.0, 5.0))
                decay = np.exp(-np.arange(RATE // 2) / (RATE * 0.06))
                _add(heard, self._random.normal(0, 6_000, RATE // 2) * decay, noise_at)
            heard += self._noise(len(heard), _LEVEL * 0.5 / 10 ** (30 / 20))
            made.append(Duplex(_pcm(played), _pcm(heard), delay_ms, spoken_at, noise_at))
        return made

    async def _utterance(
        self, index: int, speaker: Speaker, sentence: str, snr_db: float | None
    ) -> Utterance:
        parts: list[NDArray[np.float64]] = [np.zeros(int(LEAD_S * RATE))]
        at = LEAD_S
        longest = 0.0
        words: list[tuple[float, str]] = []
        text = ""
        for number, clause in enumerate(part.strip() for part in sentence.split("|")):
            if number:
                pause_ms = float(speaker.pause_ms * self._random.lognormal(0, 0.25))
                pause_ms = min(max(pause_ms, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS)
                longest = max(longest, pause_ms)
                parts.append(np.zeros(int(pause_ms * RATE / 1000)))
                at += pause_ms / 1000
            said = await self._say(clause, speaker.language, speaker.voice, speaker.speed)
            length = len(said) / RATE
            spoken = 0
            for word in clause.split():
                spoken += len(word) + 1
                text = f"{text} {word}".strip()
                words.append((at + length * spoken / (len(clause) + 1), text))
            parts.append(said)
            at += length
        parts.append(np.zeros(int(TAIL_S * RATE)))
        speech = _at_level(np.concatenate(parts), _LEVEL)
        noise_level = 5.0 if snr_db is None else _LEVEL / 10 ** (snr_db / 20)
        pcm = _pcm(speech + self._noise(len(speech), noise_level))
        return Utterance(index, speaker.language, pcm, at, longest, tuple(words))

    async def _say(self, text: str, language: str, voice: str, speed: float) -> NDArray[np.float64]:
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

    def _noise(self, samples: int, level: float) -> NDArray[np.float64]:
        """A room's: less of it the higher the frequency."""
        spectrum = np.fft.rfft(self._random.normal(0, 1, samples))
        spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 50.0))
        noise: NDArray[np.float64] = np.fft.irfft(spectrum, samples)
        noise *= level / np.sqrt(np.mean(noise**2))
        return noise

    def _room(self, played: NDArray[np.float64], delay_ms: float, level: float) -> NDArray[np.float64]:
        """What comes back from a small loudspeaker, driven a little too hard, in a living room."""
        driven = np.tanh(played / 16_000) * 16_000
        taps = np.zeros(RATE // 4)
        taps[16] = 1.0
        tail = np.arange(len(taps) - 80)
        taps[80:] = self._random.normal(0, 0.06, len(tail)) * np.exp(-tail / (RATE * 0.05))
        size = 1 << (len(driven) + len(taps)).bit_length()
        echo = np.fft.irfft(np.fft.rfft(driven, size) * np.fft.rfft(taps, size), size)[: len(driven)]
        shifted = np.zeros(len(driven))
        shift = int(delay_ms * RATE / 1000)
        if shift >= 0:
            shifted[shift:] = echo[: len(echo) - shift]
        else:
            shifted[:shift] = echo[-shift:]
        return _at_level(shifted, level)


def _at_level(speech: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """`speech` with a root mean square of `level` where there is sound."""
    loud = speech[np.abs(speech) > _AUDIBLE * np.abs(speech).max()]
    levelled: NDArray[np.float64] = speech * (level / np.sqrt(np.mean(loud**2)))
    return levelled


def _add(room: NDArray[np.float64], sound: NDArray[np.float64], at_s: float) -> None:
    begin = int(at_s * RATE)
    fitting = sound[: len(room) - begin]
    room[begin : begin + len(fitting)] += fitting


def _pcm(samples: NDArray[np.float64]) -> Pcm:
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)
