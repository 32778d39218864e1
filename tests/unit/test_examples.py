"""The set-ups under examples: each loads, its providers exist, and its head says all that it needs."""

import re
from pathlib import Path

import pytest

from mimi_mqtt.config import load_settings
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.overview import listings
from mimi_mqtt.providers.contract.provider import Role

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
ROLES: tuple[Role, ...] = ("stt", "llm", "tts")

# For each file: what its head says to export, and who answers first.
EXPECTED: dict[str, tuple[dict[str, str], dict[Role, str]]] = {
    "gemini": ({"GEMINI_API_KEY": "k"}, dict.fromkeys(ROLES, "gemini")),
    "gemini-live": ({"GEMINI_API_KEY": "k"}, {**dict.fromkeys(ROLES, "gemini"), "s2s": "gemini_live"}),
    "ollama-wyoming": ({}, {"stt": "wyoming", "llm": "ollama", "tts": "wyoming"}),
    "openai": ({"OPENAI_API_KEY": "sk-test"}, dict.fromkeys(ROLES, "openai")),
    "openai-realtime": (
        {"OPENAI_API_KEY": "sk-test"},
        {**dict.fromkeys(ROLES, "openai"), "s2s": "openai_realtime"},
    ),
}

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES} == EXPECTED.keys()


@each_example
async def test_its_providers_are_ready_with_what_its_head_says(path: Path) -> None:
    environ, first = EXPECTED[path.stem]
    loaded = load_settings(path, environ)
    settings = loaded.providers
    ready = {(found.role, found.name): found for found in listings(loaded, environ)}
    assert (settings.s2s is None) == ("s2s" not in first)
    for role in first:
        names = registry.resolve(role, settings, environ)
        assert names == ((first[role],) if role == "s2s" else (first[role], "offline"))
        for name in names:
            assert ready[role, name].lacking == ()
        provider = registry.build(role, settings, environ)
        await provider.start()
        await provider.aclose()


@each_example
def test_its_head_names_the_variables_and_the_extra(path: Path) -> None:
    environ, first = EXPECTED[path.stem]
    head = path.read_text(encoding="utf-8").partition("\nproviders:")[0]
    assert re.findall(r"export (\w+)=", head) == list(environ)
    extras = {registry.load(role, name).extra for role, name in first.items()}
    for extra in extras - {"openai", "offline"}:  # these two are always installed by scripts/setup
        assert f"[{extra}]" in head
    assert f"--config examples/{path.name}" in head


@each_example
def test_without_its_key_it_says_which_one_is_missing(path: Path) -> None:
    environ, first = EXPECTED[path.stem]
    settings = load_settings(path, {}).providers
    for variable in environ:
        assert variable in "\n".join(registry.lacking("llm", first["llm"], settings, {}))


@each_example
def test_its_commented_settings_are_valid_too(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    whole = tmp_path / path.name
    whole.write_text(
        re.sub(r"(?m)^  #(?! )", "  ", text).replace("\n  #  ", "\n    ").replace("#    ", "    ")
    )
    settings = load_settings(whole, {}).providers
    assert ("#hedge_ms" in text) == bool(settings.hedge_ms)
    assert ("#prices" in text) == bool(settings.prices)


@each_example
def test_the_readme_leads_to_it(path: Path) -> None:
    assert f"examples/{path.name}" in (ROOT / "README.md").read_text(encoding="utf-8")
