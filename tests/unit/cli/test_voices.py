"""`mimi-mqtt voices`: what is listed, and who is asked to say a text."""

import json
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.models.catalog import catalog
from mimi_mqtt.models.folder import MANIFEST
from mimi_mqtt.providers.catalog import voice_list
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.vendors.hibari.tts import Hibari
from mimi_mqtt.providers.vendors.piper.tts import Piper

Asked = list[tuple[str, str, VoiceOptions]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models, and no settings but what a test writes."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "models"
    monkeypatch.setenv("MIMI_PROVIDERS__MODELS_DIR", str(place))
    monkeypatch.setattr(voice_list, "engine_installed", lambda model: True)
    return place


def install(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / MANIFEST).write_text("{}")


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(["voices", "--json", *arguments]) == 0
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_every_voice_is_listed_with_how_to_get_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(folder, "kokoro-ja")
    rows = {(row["name"], row["model"]): row for row in listed(capsys)}
    assert len(rows) == sum(len(model.voices) for model in catalog().values())
    assert rows["jf_alpha", "kokoro-ja"]["cure"] == ""
    assert rows["irina", "piper-ru-irina"]["cure"] == "mimi-mqtt models install piper-ru-irina"
    assert main(["voices"]) == 0
    shown = capsys.readouterr().out
    assert "jf_alpha             ja           female  kokoro-ja          ready" in shown
    assert "mimi-mqtt models install piper-ru-irina" in shown


def test_a_voice_whose_engine_is_missing_tells_what_to_install(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder, "kokoro-ja")
    monkeypatch.setattr(voice_list, "engine_installed", lambda model: model.engine != "kokoro")
    assert {row["cure"] for row in listed(capsys, "--language", "ja", "--gender", "male")} == {
        "pip install 'mimi-mqtt[offline]'", "mimi-mqtt models install supertonic-3",
    }  # fmt: skip


def test_the_list_is_of_a_language_a_gender_and_what_is_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(folder, "kokoro-ja")
    japanese = listed(capsys, "--language", "ja-JP", "--gender", "male")
    assert {row["model"] for row in japanese} == {"kokoro-ja", "supertonic-3"}
    assert {row["gender"] for row in japanese} == {"male"}
    assert [row["name"] for row in listed(capsys, "--language", "ja", "--gender", "male", "--installed")] == [
        "jm_kumo"
    ]
    assert listed(capsys, "--language", "xx") == []
    assert main(["voices", "--language", "xx"]) == 0
    assert "no such voice" in capsys.readouterr().err


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Providers that only note what they are asked to say."""
    requests: Asked = []

    def synthesizer(name: str) -> Callable[..., AsyncIterator[SpeechChunk]]:
        async def synthesize(
            self: TextToSpeech, text: str, voice: VoiceOptions
        ) -> AsyncIterator[SpeechChunk]:
            requests.append((self.name, text, voice))
            yield SpeechChunk(np.full(2_400, 1_000, np.int16), 24_000)

        return synthesize

    async def start(self: TextToSpeech) -> None:
        self.capabilities = TtsCapabilities(True, self.capabilities.languages)

    for provider in (Hibari, Piper):
        monkeypatch.setattr(provider, "start", start)
        monkeypatch.setattr(provider, "_synthesize", synthesizer(provider.__name__))
    return requests


def say(tmp_path: Path, *arguments: str) -> int:
    return main(["voices", "--say", "hello", "--save", str(tmp_path / "hello.wav"), *arguments])


@pytest.mark.usefixtures("folder")
def test_a_text_is_saved_as_the_server_would_say_it(
    tmp_path: Path, asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broker.yaml").write_text("assistant: {speed: 1.2}\nproviders: {tts: hibari}\n")
    assert say(tmp_path) == 0
    assert asked == [("hibari", "hello", VoiceOptions("en", None, 1.2))]
    with wave.open(str(tmp_path / "hello.wav")) as saved:
        assert (saved.getframerate(), saved.getnframes(), saved.getnchannels()) == (24_000, 2_400, 1)
    assert "0.1 s at 24000 Hz, by hibari" in capsys.readouterr().out


def test_a_named_voice_is_its_models(tmp_path: Path, folder: Path, asked: Asked) -> None:
    install(folder, "piper-en-joe")
    assert say(tmp_path, "--voice", "joe", "--speed", "0.8") == 0
    assert say(tmp_path, "--gender", "male") == 0
    assert asked == [
        ("piper:piper-en-joe", "hello", VoiceOptions("en-US", "joe", 0.8)),
        ("piper:piper-en-joe", "hello", VoiceOptions("en", gender="male")),
    ]


@pytest.mark.usefixtures("folder", "asked")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--voice", "irina"), "--voice irina: mimi-mqtt models install piper-ru-irina"),
        (("--voice", "nobody"), "has no voice nobody for en: see mimi-mqtt voices --language en"),
        (("--voice", "joe", "--gender", "male"), "--gender: not with --voice"),
        (("--voice", "piper-en-joe"), "piper-en-joe is a model; its voices: joe"),
    ],
)
def test_a_voice_that_is_not_there_is_told_with_the_cure(
    tmp_path: Path, arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(tmp_path, *arguments) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "hello.wav").exists()


@pytest.mark.usefixtures("folder", "asked")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--save", "x.wav"), "--save: only with --say TEXT"),
        (("--voice", "joe", "--speed", "1"), "--voice and --speed: only with --say TEXT"),
        (("--say", "hello", "--installed"), "--installed: only for the list"),
        (("--say", "...", "--save", "x.wav"), "there is nothing to say in '...'"),
        (("--say", "hello", "--save", "/nowhere/x.wav"), "--save: /nowhere/x.wav can't be written"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["voices", *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("given", [("--speed", "3"), ("--speed", "fast"), ("--language", "no tag")])
def test_values_out_of_range_are_refused(given: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["voices", "--say", "hello", *given])
    assert given[1] in capsys.readouterr().err
