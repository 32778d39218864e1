"""Agents: what one is not told, it has of the default one; mistakes name their key and their cure."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mimi_mqtt.config import AgentSettings, Settings, load_settings
from mimi_mqtt.config.prompt import DEFAULT_PROMPT
from mimi_mqtt.errors import ConfigError


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "broker.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environ or {})


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value)


def test_without_agents_there_is_the_default_one() -> None:
    assert Settings().every_agent == {"default": AgentSettings()}


def test_a_key_left_out_is_the_default_agents(tmp_path: Path) -> None:
    agents = load(
        tmp_path,
        "assistant: {name: Max, voice: eva, speed: 1.2, llm: [openai, offline], tools: [set_timer]}\n"
        "agents:\n  chef: {name: Chef, speed: 0.9}\n  guest:\n",
    ).every_agent
    assert list(agents) == ["default", "chef", "guest"]
    chef = agents["chef"]
    assert (chef.name, chef.voice, chef.speed) == ("Chef", "eva", 0.9)
    assert (chef.llm, chef.tools, chef.prompt) == (("openai", "offline"), ("set_timer",), DEFAULT_PROMPT)
    assert agents["guest"] == agents["default"]


def test_null_is_a_value(tmp_path: Path) -> None:
    agents = load(
        tmp_path,
        "assistant: {language: vi, voice: eva, llm: openai, end_silence_ms: 900, s2s: x}\n"
        "agents:\n  chef: {language: null, voice: null, llm: null, end_silence_ms: null, s2s: null}\n",
    ).every_agent
    chef = agents["chef"]
    assert (chef.language, chef.voice, chef.llm, chef.end_silence_ms, chef.s2s) == (
        None,
        None,
        (),
        None,
        None,
    )
    assert agents["default"].language == "vi"


def test_what_was_given_counts_though_it_is_the_factory_setting(tmp_path: Path) -> None:
    agents = load(tmp_path, "assistant: {speed: 1.5}\nagents: {chef: {speed: 1.0}}\n").every_agent
    assert agents["chef"].speed == 1.0


def test_variables_reach_agents_too(tmp_path: Path) -> None:
    variables = {
        "MIMI_AGENTS__CHEF__NAME": "42",
        "MIMI_AGENTS__CHEF__GREETING": "Hello: you",
        "MIMI_AGENTS__CHEF__TOOLS": "[set_timer]",
    }
    chef = load(tmp_path, "agents: {chef: {speed: 1.1}}\n", variables).every_agent["chef"]
    assert (chef.name, chef.greeting, chef.tools, chef.speed) == ("42", "Hello: you", ("set_timer",), 1.1)


@pytest.mark.parametrize(
    ("voice", "language", "expected"),
    [
        ("eva", "en", "eva"),
        (None, "en", None),
        ("", "en", None),
        ({"en": "Ava", "zh-TW": "Mei", "zh": "Xiao"}, "en-GB", "Ava"),
        ({"en": "Ava", "zh-TW": "Mei", "zh": "Xiao"}, "zh-tw", "Mei"),
        ({"en": "Ava", "zh-TW": "Mei", "zh": "Xiao"}, "zh_CN", "Xiao"),
        ({"en": "Ava"}, "vi", None),
    ],
)
def test_the_voice_is_looked_up_by_language(voice: object, language: str, expected: str | None) -> None:
    assert AgentSettings.model_validate({"voice": voice}).voice_for(language) == expected


@pytest.mark.parametrize(
    ("speed", "language", "expected"),
    [
        (1.2, "en", 1.2),
        ("0.9", "en", 0.9),
        ({"en": 1.1, "zh-TW": 0.8, "zh": 0.9}, "en-GB", 1.1),
        ({"en": 1.1, "zh-TW": 0.8, "zh": 0.9}, "zh-tw", 0.8),
        ({"en": 1.1}, "vi", 1.0),
    ],
)
def test_the_speed_is_looked_up_by_language(speed: object, language: str, expected: float) -> None:
    assert AgentSettings.model_validate({"speed": speed}).speed_for(language) == expected


@pytest.mark.parametrize(
    "speed", [0.4, 2.1, "fast", None, [1.0], {"en": 3}, {"english language": 1.0}, {1: 1.0}]
)
def test_a_speed_out_of_range_is_refused(speed: object) -> None:
    with pytest.raises(ValidationError, match=r"must be 0\.5 to 2|is not a language"):
        AgentSettings.model_validate({"speed": speed})


def test_one_name_is_a_chain_and_a_list_of_tools() -> None:
    agent = AgentSettings.model_validate({"stt": "openai", "tools": "set_*", "s2s": False})
    assert (agent.stt, agent.tools, agent.s2s) == (("openai",), ("set_*",), False)
    assert AgentSettings.model_validate({"tools": []}).tools == ()


@pytest.mark.parametrize(
    ("text", "where", "cure"),
    [
        ("agents: {chef: {promt: x}}", "agents.chef.promt", "did you mean prompt?"),
        ("agents: {chef: {prompt: '{{ oven }}'}}", "agents.chef.prompt", "there is no variable 'oven'"),
        ("agents: {chef: {prompt: '{{ 1'}}", "agents.chef.prompt", "line 1 of the template"),
        ("assistant: {prompt: '{{ device.nam }}'}", "assistant.prompt", "it has id, name"),
        ("agents: {chef: {tools: ['']}}", "agents.chef.tools.0", "at least 1 character"),
        ("agents: {chef: {voice: {en: 3}}}", "agents.chef.voice", "{en: Ava"),
        ("agents: {chef: {voice: [eva]}}", "agents.chef.voice", "{en: Ava"),
        ("agents: {chef: {voice: {'': x}}}", "agents.chef.voice", "such as en or zh-CN"),
        ("agents: {chef: {language: not a tag}}", "agents.chef.language", "such as en or zh-CN"),
        ("agents: {chef: {tools: null}}", "agents.chef.tools", "a list of names"),
        ("agents: {chef: {llm: 3}}", "agents.chef.llm", "a list of names"),
        ("agents: {chef: {s2s: true}}", "agents.chef.s2s", "a provider's name, or off"),
        ("agents: {chef: {s2s: [a, b]}}", "agents.chef.s2s", "when it fails stt, llm and tts answer"),
        ("providers: {s2s: [a, b]}", "providers.s2s", "when it fails stt, llm and tts answer"),
        ("agents: {chef: {name: ''}}", "agents.chef.name", "at least 1 character"),
        ("agents: {chef: {end_silence_ms: 5}}", "agents.chef.end_silence_ms", "greater than or equal to 200"),
        ("agents: {chef: {wake_word: sing}}", "agents.chef.wake_word", "'greet', 'answer' or 'listen'"),
        ("agents: {Chef: {}}", "agents", "small letters"),
        ("agents: {default: {}}", "agents", "the section assistant"),
        ("session: {wake_word: answer}", "session.wake_word", "is now assistant.wake_word"),
    ],
)
def test_mistakes_name_the_key_and_the_cure(tmp_path: Path, text: str, where: str, cure: str) -> None:
    told = complaint(tmp_path, text + "\n")
    assert f"\n  {where} (" in told
    assert "line 1" in told
    assert cure in told
