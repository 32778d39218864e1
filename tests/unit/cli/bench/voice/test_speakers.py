"""The voices that speak to recognisers."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mimi_mqtt.cli.bench.voice.providers import Providers
from mimi_mqtt.cli.bench.voice.sentences import LANGUAGES
from mimi_mqtt.cli.bench.voice.speakers import SPEAKERS, Recordings, Speaker, trimmed
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.models.catalog import small_set

_WRITES_A_WAV = """
import sys, wave
text, path = open(sys.argv[1], encoding="utf-8").read(), sys.argv[2]
print(text, file=open(sys.argv[3], "a"))
with wave.open(path, "wb") as wav:
    wav.setnchannels(1), wav.setsampwidth(2), wav.setframerate(16000)
    wav.writeframes(bytes(3200) + b"\\x00\\x20" * len(text) * 100 + bytes(3200))
"""


@pytest.fixture(name="recordings")
def _recordings(tmp_path: Path) -> Recordings:
    return Recordings(Providers(tmp_path / "models"), tmp_path)


def _python(code: str, *more: str) -> Speaker:
    return Speaker("python", "en", "recorded", command=(sys.executable, "-c", code, "{text}", "{wav}", *more))


async def test_a_command_speaks_each_text_once(recordings: Recordings, tmp_path: Path) -> None:
    said = tmp_path / "said"
    speaker = _python(_WRITES_A_WAV, str(said))
    first = await recordings.of(speaker, ["hello", "hi", "hello"])
    assert [len(speech) for speech in first] == [500, 200, 500]
    assert (first[0] == 8192).all()
    again = await recordings.of(speaker, ["hi"])
    assert np.array_equal(again[0], first[1])
    assert said.read_text().split() == ["hello", "hi"]


@pytest.mark.parametrize(
    ("speaker", "told"),
    [
        (Speaker("none", "en", "recorded", command=("no-such-program-here",)), "is not installed"),
        (_python("import sys; sys.exit('no voice of that name')"), "no voice of that name"),
        (_python("import wave, sys; w = wave.open(sys.argv[2], 'wb'); w.setnchannels(1); w.setsampwidth(2);"
                 "w.setframerate(16000); w.writeframes(bytes(999)); w.close()"), "made no sound"),
    ],
)  # fmt: skip
async def test_a_voice_that_fails_is_told(recordings: Recordings, speaker: Speaker, told: str) -> None:
    with pytest.raises(ProviderNotConfigured, match=told):
        await recordings.of(speaker, ["hello"])


def test_silence_around_speech_is_cut_off() -> None:
    pcm = np.concatenate((np.zeros(100), [500, -9000, 0, 4000, 100, 0])).astype(np.int16)
    assert trimmed(pcm).tolist() == [500, -9000, 0, 4000]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_speaker_is_the_default_voice_of_a_server(language: str) -> None:
    of_language = [speaker for speaker in SPEAKERS if speaker.language == language]
    assert of_language[-1].kind == "formant"
    for model in small_set(language):
        default = model.voices[0].name if model.voices else None
        assert not [
            speaker
            for speaker in of_language
            if speaker.name == f"{model.engine}:{model.name}" and speaker.voice in (None, default)
        ]
