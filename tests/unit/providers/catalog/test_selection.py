"""The providers of each agent."""

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.providers.catalog.selection import select_providers

SPEECH = ("hibari", "offline")


def asked(**sections: object) -> dict[str, dict[str, tuple[str, ...]]]:
    found = select_providers(Settings.model_validate(sections), {})
    return {agent: {str(role): names for role, names in of.items()} for agent, of in found.items()}


def test_agents_ask_the_providers_of_everybody_unless_they_have_their_own() -> None:
    found = asked(
        providers={"stt": "wyoming", "llm": "ollama"},
        assistant={"tts": ["edge", "offline"]},
        agents={"chef": {"llm": ["openai:work", "auto"], "tts": None}, "guest": {}},
    )
    assert found["default"] == {
        "vad": ("silero",), "stt": ("wyoming",), "llm": ("ollama",), "tts": ("edge", "offline"), "s2s": (),
    }  # fmt: skip
    assert found["chef"] == found["default"] | {"llm": ("openai:work", "local", "offline"), "tts": SPEECH}
    assert found["guest"] == found["default"]


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        (
            {"agents": {"chef": {"tts": "edgy"}}},
            "agents.chef.tts: there is no provider 'edgy'",
        ),
        ({"assistant": {"llm": "x"}}, "assistant.llm: "),
        ({"assistant": {"llm": "x"}, "agents": {"chef": {"name": "y"}}}, "assistant.llm: "),
        ({"assistant": {"s2s": "nobody"}}, "assistant.s2s: "),
        ({"providers": {"stt": "x"}, "agents": {"chef": {}}}, "providers.stt: "),
    ],
)
def test_an_unknown_name_is_told_with_its_key(sections: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asked(**sections)
    assert str(caught.value).startswith(key)
