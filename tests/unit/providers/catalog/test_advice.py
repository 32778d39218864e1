"""Advice that would make a server hear, speak or answer better."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mimi_mqtt.config import AgentSettings, ProviderSettings, Settings
from mimi_mqtt.models.folder import MANIFEST
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.advice import MODEL_COMMANDS, better_model, better_speech, missing_voices
from mimi_mqtt.providers.catalog.selection import select_providers


def install(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir()
        (folder / name / MANIFEST).write_text("{}")


def advice(folder: Path, environ: Mapping[str, str] | None = None, **sections: object) -> str:
    settings = Settings.model_validate(sections)
    settings = settings.model_copy(
        update={"providers": settings.providers.model_copy(update={"models_dir": folder})}
    )
    return better_speech(settings, select_providers(settings, environ or {}))


@pytest.fixture
def _every_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "engine_installed", lambda model: True)


@pytest.mark.usefixtures("_every_engine")
def test_without_models_the_set_of_the_language_is_named_with_its_size(tmp_path: Path) -> None:
    english = "mimi-mqtt models install --language en  (150 MB: ordinary sentences are heard)"
    assert advice(tmp_path) == english
    japanese = "mimi-mqtt models install --language ja  (216 MB: ordinary sentences are heard, a human voice)"
    assert advice(tmp_path, server={"language": "ja-JP"}) == japanese


@pytest.mark.usefixtures("_every_engine")
def test_models_of_another_language_are_not_enough(tmp_path: Path) -> None:
    install(tmp_path, "whisper-tiny-en")
    assert advice(tmp_path) == ""
    assert "--language ja  (216 MB" in advice(tmp_path, server={"language": "ja"})
    install(tmp_path, "whisper-base")
    assert "--language ja  (66.0 MB: a human voice)" in advice(tmp_path, server={"language": "ja"})
    install(tmp_path, "kokoro-ja")
    assert advice(tmp_path, server={"language": "ja"}) == ""


@pytest.mark.usefixtures("_every_engine")
def test_the_languages_of_all_agents_count(tmp_path: Path) -> None:
    agents = {"sensei": {"language": "ja"}, "cook": {"language": "ja"}, "guest": {}}
    told = advice(tmp_path, agents=agents)
    assert told.startswith("mimi-mqtt models install --language en --language ja  (216 MB: ")


@pytest.mark.usefixtures("_every_engine")
def test_who_hears_and_speaks_by_a_service_is_told_nothing(tmp_path: Path) -> None:
    assert advice(tmp_path, {"OPENAI_API_KEY": "sk"}) == ""
    assert advice(tmp_path, assistant={"s2s": "openai_realtime"}) == ""


@pytest.mark.usefixtures("_every_engine")
def test_who_has_chosen_is_told_nothing(tmp_path: Path) -> None:
    assert advice(tmp_path, providers={"stt": "offline"}) == ""
    assert advice(tmp_path, assistant={"stt": "offline"}) == ""


def test_a_model_that_nothing_here_can_run_is_not_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "engine_installed", lambda model: model.engine != "faster_whisper")
    assert advice(tmp_path) == ""


@pytest.mark.usefixtures("_every_engine")
def test_a_language_without_a_set_gets_no_advice(tmp_path: Path) -> None:
    assert advice(tmp_path, server={"language": "is"}) == ""


def test_the_commands_for_a_language_model_are_told_while_none_answers() -> None:
    assert better_model("offline") == better_model("") == MODEL_COMMANDS
    assert better_model("qwen3 of Ollama at http://127.0.0.1:11434/v1") == ()


@pytest.mark.parametrize(
    ("voice", "tts", "told"),
    [
        (None, ("hibari",), []),
        ("af_heart", ("hibari",), []),
        ("female", ("hibari",), []),
        ("male", ("hibari",), ["no voice male for en in hibari: see mimi-mqtt voices --language en"]),
        ("nobody", ("openai",), []),  # only the service knows its voices
        ("nobody", ("hibari",), ["no voice nobody for en in hibari: see mimi-mqtt voices --language en"]),
        (
            {"en": "af_heart", "ru": "irina"},
            ("hibari", "offline"),
            [
                "no voice irina for ru in hibari+offline: mimi-mqtt models install piper-ru-irina, "
                "or name that model in tts"
            ],
        ),
        (
            "piper-en-joe",
            ("hibari",),
            ["no voice piper-en-joe for en in hibari: it is a model; its voices: joe"],
        ),
        ("en-gb+f3", ("hibari", "offline"), []),
        (
            "am_santa",
            ("openai", "offline"),
            [
                "no voice am_santa for en-US in openai+offline: mimi-mqtt models install kokoro-multi, "
                "or name that model in tts"
            ],
        ),
        ("male", ("openai",), ["no voice male for en in openai: see mimi-mqtt voices --language en"]),
        (
            "whisper-base",
            ("hibari",),
            ["no voice whisper-base for en in hibari: see mimi-mqtt voices --language en"],
        ),
    ],
    ids=str,
)
def test_a_wished_voice_that_nobody_has_is_told(
    voice: str | dict[str, str] | None, tts: tuple[str, ...], told: list[str]
) -> None:
    providers = ProviderSettings(tts=tts, options={"openai": {"api_key": "sk-test"}})
    asked = registry.build("tts", providers, {})
    assert missing_voices(AgentSettings(voice=voice), "en", asked) == told


@pytest.mark.usefixtures("_every_engine")
def test_a_licence_to_agree_to_is_told(tmp_path: Path) -> None:
    told = advice(tmp_path, server={"language": "ko"})
    assert told.endswith("a human voice; supertonic-3 has a licence to agree to)")
