"""Settings in force: broker.yaml and the environment win; what does not work is left out with its reason."""

from collections.abc import Mapping
from typing import Any

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.managed.kinds import Kind
from mimi_mqtt.managed.merging import NO_KEY, Entry, Merged, merge, origins
from mimi_mqtt.providers.catalog.registry import build
from mimi_mqtt.providers.catalog.selection import select_vision, with_providers

KEY = {"api_key": "sk-managed"}
HOUSE = {"base_url": "http://192.0.2.9/v1"}


def base(**sections: Any) -> Settings:
    sections.setdefault("providers", {}).setdefault("find_llm", False)
    return Settings.model_validate(sections)


def merged(
    entries: Mapping[tuple[Kind, str], Entry], environ: Mapping[str, str] | None = None, **sections: Any
) -> Merged:
    return merge(base(**sections), entries, environ or {})


def options(found: Merged, name: str) -> dict[str, Any]:
    return found.settings.providers.options.get(name, {})


def test_an_agent_has_what_it_was_given_and_the_rest_of_the_default_one() -> None:
    found = merged({("agent", "chef"): Entry(1, {"name": "Chef"})}, assistant={"language": "de"})
    chef = found.settings.every_agent["chef"]
    assert (chef.name, chef.language) == ("Chef", "de")
    assert found.agents == {"chef"}
    assert not found.problems


def test_the_default_agent_follows_people_where_broker_yaml_is_silent() -> None:
    entry = Entry(1, {"name": "Tom", "language": "fr"})
    found = merged({("agent", "default"): entry}, assistant={"name": "Max"})
    assert (found.settings.assistant.name, found.settings.assistant.language) == ("Max", "fr")
    assert found.problems["agent", "default"] == ("name: broker.yaml sets it, which wins",)


def test_an_agent_of_broker_yaml_wins_as_a_whole() -> None:
    found = merged(
        {("agent", "chef"): Entry(1, {"name": "Cook", "speed": 2})}, agents={"chef": {"name": "Chef"}}
    )
    assert found.settings.every_agent["chef"].name == "Chef"
    assert found.settings.every_agent["chef"].speed == 1.0
    assert "wins" in found.problems["agent", "chef"][0]


@pytest.mark.parametrize("content", [{"speed": 9}, {"prompt": "{{ x"}, {"llm": "gone"}, {"unknown": 1}])
def test_an_agent_that_an_older_version_kept_and_this_one_refuses_is_left_out(
    content: dict[str, object],
) -> None:
    found = merged({("agent", "chef"): Entry(1, content), ("agent", "maid"): Entry(1, {"name": "Maid"})})
    assert found.settings.every_agent.keys() == {"default", "maid"}
    assert found.problems["agent", "chef"]


def test_an_agent_whose_providers_lack_something_is_answered_by_the_usual_ones() -> None:
    entry = Entry(1, {"name": "Chef", "llm": "openai", "tts": ["elevenlabs", "offline"]})
    found = merged({("agent", "chef"): entry})
    chef = found.settings.every_agent["chef"]
    assert (chef.name, chef.llm, chef.tts) == ("Chef", (), ("elevenlabs", "offline"))
    (told,) = found.problems["agent", "chef"]
    assert "OPENAI_API_KEY" in told
    mended = merged({("agent", "chef"): entry, ("provider", "openai"): Entry(1, {}, KEY)})
    assert mended.settings.every_agent["chef"].llm == ("openai",)
    assert not mended.problems


@pytest.mark.parametrize("key", ["chef", "default"])
@pytest.mark.parametrize("names", [["nonsense"], ["openai"], ["whisper", ""]])
def test_providers_for_photos_never_stop_the_server(key: str, names: list[str]) -> None:
    found = merged({("agent", key): Entry(1, {"name": "Chef", "vision": names})})
    assert "vision" in found.problems["agent", key][0]
    for agent in found.settings.every_agent:
        assert select_vision(found.settings, agent, {}) == ()


def test_options_of_broker_yaml_and_the_environment_win_one_by_one() -> None:
    entry = Entry(1, {"llm_model": "mine", "tts_voice": "nova", "organization": "mine"}, KEY)
    settings = {"options": {"openai": {"llm_model": "file's", "tts_voice": None}}}
    environ = {"OPENAI_ORG_ID": "environment's"}
    found = merged({("provider", "openai"): entry}, environ, providers=settings)
    assert options(found, "openai") == {"llm_model": "file's", "tts_voice": "nova", **KEY}
    assert origins("openai", base(providers=settings).providers, entry, environ) == {
        "llm_model": "broker.yaml",
        "tts_voice": "managed",
        "organization": "environment",
        "api_key": "managed",
    }


def test_a_variable_is_for_the_plain_name_and_a_label_has_its_own_key() -> None:
    environ = {"OPENAI_API_KEY": "sk-environment"}
    entry = Entry(1, {"llm_model": "x"}, KEY)
    assert options(merged({("provider", "openai"): entry}, environ), "openai") == {"llm_model": "x"}
    assert options(merged({("provider", "openai:b"): entry}, environ), "openai:b") == {
        "llm_model": "x",
        **KEY,
    }


def test_a_key_of_the_environment_is_not_sent_to_a_managed_address() -> None:
    environ = {"OPENAI_API_KEY": "sk-environment"}
    plain = merged({("provider", "openai"): Entry(1, HOUSE)}, environ)
    assert options(plain, "openai") == {}
    assert "sent only to an address" in plain.problems["provider", "openai"][0]
    labelled = merged({("provider", "openai:house"): Entry(1, HOUSE)}, environ)
    assert options(labelled, "openai:house") == {**HOUSE, "api_key": NO_KEY}
    own = merged({("provider", "openai:house"): Entry(1, HOUSE, KEY)}, environ)
    assert options(own, "openai:house") == {**HOUSE, **KEY}


def test_options_that_have_no_effect_are_told() -> None:
    file = {"options": {"ollama": {"llm_model": "qwen3"}}}
    entry = Entry(1, {"base_url": "http://10.0.0.9:11434/v1", "llm_model": "other"})
    found = merged({("provider", "ollama"): entry}, {"OLLAMA_BASE_URL": "http://10.0.0.8/v1"}, providers=file)
    assert options(found, "ollama") == {"llm_model": "qwen3"}
    assert found.problems["provider", "ollama"] == (
        "base_url: the environment sets it, which wins",
        "llm_model: broker.yaml sets it, which wins",
    )


def test_a_key_of_broker_yaml_is_not_sent_to_a_managed_address() -> None:
    file = {"options": {"openai:house": {"api_key": "sk-file"}}}
    found = merged({("provider", "openai:house"): Entry(1, HOUSE)}, providers=file)
    assert options(found, "openai:house") == {"api_key": "sk-file"}


def test_a_key_that_can_not_be_decrypted_is_told_and_everything_else_works() -> None:
    entry = Entry(1, {"llm_model": "x"}, unreadable=("api_key",))
    found = merged({("provider", "openai"): entry, ("agent", "chef"): Entry(1, {"name": "Chef"})})
    assert options(found, "openai") == {"llm_model": "x"}
    assert "set it again" in found.problems["provider", "openai"][0]
    assert "chef" in found.settings.agents


def test_auto_chooses_a_provider_that_people_gave_a_key() -> None:
    found = merged({("provider", "openai"): Entry(1, {}, KEY)})
    assert found.agents == {"default"}
    assert not found.problems


def test_wrong_options_leave_out_that_provider_alone() -> None:
    found = merged(
        {("provider", "openai"): Entry(1, {"gone": 1}, KEY), ("provider", "groq"): Entry(1, {}, KEY)}
    )
    assert found.settings.providers.options == {"groq": KEY}
    assert "gone: there is no such key" in found.problems["provider", "openai"][0]


def test_prices_of_broker_yaml_win_by_name() -> None:
    found = merged(
        {
            ("price", "openai"): Entry(1, {"per_minute": 2}),
            ("price", "groq"): Entry(1, {"per_minute": 3}),
            ("price", "mistral"): Entry(1, {"per_minute": -3}),
        },
        providers={"prices": {"openai": {"per_minute": 1}}},
    )
    prices = found.settings.providers.prices
    assert {name: price.per_minute for name, price in prices.items()} == {"openai": 1, "groq": 3}
    assert found.problems.keys() == {("price", "openai"), ("price", "mistral")}
    built = build("llm", with_providers(found.settings.providers, "llm", ["groq"]), {"GROQ_API_KEY": "k"})
    assert built.price is not None
    assert built.price.per_minute == 3  # what it is asked is counted by it


def test_nothing_managed_is_broker_yaml_itself() -> None:
    settings = base()
    assert merge(settings, {}, {}).settings is settings
