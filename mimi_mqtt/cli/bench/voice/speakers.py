"""The voices that speak to the recognisers: none of them is the default voice of a server.

`neural` voices come from models, `recorded` ones join recorded pieces of a person, `formant` ones are made by
rule (espeak-ng). The last speak only where there is no other, since recognisers understand them badly for
reasons of their own.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.bench._corpus import RATE
from mimi_mqtt.cli.bench.voice.providers import Providers, spoken
from mimi_mqtt.cli.bench.voice.sentences import sentences
from mimi_mqtt.cli.device.speech import read_wav
from mimi_mqtt.errors import MimiError, ProviderNotConfigured
from mimi_mqtt.providers.contract.tts import VoiceOptions

Kind = Literal["neural", "recorded", "formant"]

_AUDIBLE: Final = 0.02  # of the peak
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice for one language: by a provider (`name` as in the settings) or by a command of the system.

    `command` is called with `{text}` (a file) and `{wav}` replaced.
    """

    name: str
    language: str
    kind: Kind
    voice: str | None = None
    command: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The name in the results."""
        return f"{self.name} {self.voice}" if self.voice else self.name


def _flite(voice: str) -> Speaker:
    return Speaker(
        "flite", "en", "recorded", voice, ("flite", "-voice", voice, "-f", "{text}", "-o", "{wav}")
    )


SPEAKERS: Final = (
    Speaker("piper:piper-en-joe", "en", "neural"),
    _flite("slt"),
    _flite("rms"),
    Speaker("kokoro:kokoro-ja", "ja", "neural", "jm_kumo"),
    Speaker("kokoro:kokoro-ja", "ja", "neural", "jf_nezumi"),
    Speaker(
        "festival", "ru", "recorded", "msu_ru_nsh_clunits",
        ("text2wave", "-eval", "(voice_msu_ru_nsh_clunits)", "-o", "{wav}", "{text}"),
    ),
    *(Speaker("offline", language, "formant") for language in ("en", "de", "es", "fr", "pt", "ru", "vi", "zh",
                                                              "ja", "ko")),
)  # fmt: skip


class Recordings:
    """Speech of SPEAKERS, made once in a run and kept in a temporary folder by the caller."""

    def __init__(self, providers: Providers, folder: Path) -> None:
        self._providers = providers
        self._folder = folder
        self._made: dict[tuple[Speaker, str], Path] = {}

    async def of(self, speaker: Speaker, texts: Sequence[str]) -> list[NDArray[np.float64]]:
        """Each of `texts` as `speaker` says it, from the first to the last that is audible, at 16 kHz.

        Raises MimiError for a voice that is not installed, or that fails.
        """
        missing = [text for text in dict.fromkeys(texts) if (speaker, text) not in self._made]
        if missing and speaker.command:
            for text in missing:
                self._keep(speaker, text, await _by_command(speaker, text))
        elif missing:
            async with self._providers.voice(speaker.name) as tts:
                for text in missing:
                    options = VoiceOptions(speaker.language, speaker.voice)
                    self._keep(speaker, text, await spoken(tts, text, options))
        return [np.load(self._made[speaker, text]).astype(np.float64) for text in texts]

    def _keep(self, speaker: Speaker, text: str, pcm: Pcm) -> None:
        path = self._folder / f"{len(self._made)}.npy"
        np.save(path, trimmed(pcm))
        self._made[speaker, text] = path


async def present(
    providers: Providers, folder: Path, language: str
) -> tuple[Recordings, list[Speaker], list[str]]:
    """The recordings, the speakers of a language that work here, and what is not measured for want of one."""
    recordings = Recordings(providers, folder)
    found: list[Speaker] = []
    lacking: list[str] = []
    for speaker in SPEAKERS:
        if speaker.language != language or (speaker.kind == "formant" and found):
            continue
        try:
            await recordings.of(speaker, [sentences(language, 1)[0].spoken])
        except MimiError as error:
            lacking.append(f"{language} spoken by {speaker.label}: {error}")
        else:
            found.append(speaker)
    return recordings, found, lacking


def trimmed(pcm: Pcm) -> Pcm:
    """`pcm` from the first to the last that is audible. Raises ProviderNotConfigured when nothing is."""
    audible = np.flatnonzero(np.abs(pcm) > _AUDIBLE * np.abs(pcm).max(initial=0))
    if not audible.size:
        raise ProviderNotConfigured("speaker", "made no sound")
    return pcm[audible[0] : audible[-1] + 1]


async def _by_command(speaker: Speaker, text: str) -> Pcm:
    program = speaker.command[0]
    if shutil.which(program) is None:
        raise ProviderNotConfigured(speaker.name, f"the program {program} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        written, wav = Path(folder) / "text", Path(folder) / "speech.wav"
        await asyncio.to_thread(written.write_text, text, encoding="utf-8")
        places = {"{text}": str(written), "{wav}": str(wav)}
        process = await asyncio.create_subprocess_exec(
            *(places.get(part, part) for part in speaker.command),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                _, told = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            reason = " ".join(told.decode(errors="replace").split())[:200]
            raise ProviderNotConfigured(speaker.name, f"{program} failed: {reason}")
        return read_wav(wav, RATE)
