"""The table of services over OpenAI's protocol: every name loads, and says rightly what it is missing."""

import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.presets import PRESETS, preset
from mimi_mqtt.providers.contract.provider import Role
from mimi_mqtt.providers.vendors.openai.llm import OpenAiLlmOptions

EVERY = [(role, name) for name, found in PRESETS.items() for role in found.roles]
LOCAL = ("ollama", "lmstudio", "vllm")
KEYED = [
    name for name, found in PRESETS.items() if found.key and not found.needs_base_url and "llm" in found.roles
]


def lacking(name: str, environ: dict[str, str] | None = None, **options: object) -> list[str]:
    return registry.lacking("llm", name, ProviderSettings(options={name: options}), environ or {})


@pytest.mark.parametrize(("role", "name"), EVERY)
def test_every_preset_loads_with_options_that_exist(role: Role, name: str) -> None:
    model = registry.load(role, name).Options
    built = model.model_validate(PRESETS[name].defaults(role))
    assert set(PRESETS[name].environment) <= set(model.model_fields)
    assert built.by_preset


def test_the_promised_names_are_all_there() -> None:
    hosted = {"openai", "azure", "grok", "deepseek", "qwen", "groq", "openrouter", "mistral"}
    names = hosted | {"ollama", "lmstudio", "vllm", "custom"}
    assert names <= set(registry.known("llm"))
    assert {"gemini", "anthropic", "dify", "coze", "home_assistant"} <= set(registry.known("llm"))


@pytest.mark.parametrize("name", KEYED)
async def test_without_its_key_a_service_names_variable_and_option(name: str) -> None:
    (cure,) = lacking(name)
    assert cure == f"no key: set {PRESETS[name].key} or providers.options.{name}.api_key"
    assert lacking(name, {str(PRESETS[name].key): "k"}) == []
    assert lacking(name, api_key="k") == []
    with pytest.raises(ProviderNotConfigured, match=str(PRESETS[name].key)):
        await registry.build("llm", ProviderSettings(llm=(name,)), {}).start()


@pytest.mark.parametrize("name", KEYED)
def test_a_server_of_ones_own_in_its_place_needs_no_key(name: str) -> None:
    assert lacking(name, base_url="http://localhost:1/v1") == []


@pytest.mark.parametrize("name", LOCAL)
async def test_a_server_in_the_house_needs_nothing(name: str) -> None:
    assert lacking(name) == []
    llm = registry.build("llm", ProviderSettings(llm=(name,)), {})
    await llm.start()
    await llm.aclose()


async def test_custom_asks_for_its_address() -> None:
    (cure,) = lacking("custom")
    assert cure.startswith("no address: set providers.options.custom.base_url, such as http://")
    assert lacking("custom", base_url="http://localhost:1/v1") == []
    with pytest.raises(ProviderNotConfigured, match="base_url"):
        await registry.build("llm", ProviderSettings(llm=("custom",)), {}).start()


def test_azure_needs_both_address_and_key() -> None:
    address, key = lacking("azure")
    assert "AZURE_OPENAI_ENDPOINT" in address
    assert "https://NAME.openai.azure.com" in address
    assert "AZURE_OPENAI_API_KEY" in key
    assert len(lacking("azure", base_url="https://x.openai.azure.com")) == 1


def test_a_label_has_the_presets_defaults() -> None:
    settings = ProviderSettings(llm=("grok:second",), options={"grok:second": {"llm_temperature": 1}})
    options = registry.build("llm", settings, {"XAI_API_KEY": "k"}).options
    assert isinstance(options, OpenAiLlmOptions)
    assert (options.base_url, options.llm_model) == ("https://api.x.ai/v1", "grok-4.3")
    assert options.api_key is not None
    assert registry.lacking("llm", "grok:third", settings, {}) == [
        "no key: set XAI_API_KEY or providers.options.grok:third.api_key"
    ]


def test_what_the_user_says_wins_over_a_variable_and_that_over_the_preset() -> None:
    environ = {"OLLAMA_BASE_URL": "http://ollama:11434/v1"}
    told = registry.build("llm", ProviderSettings(llm=("ollama",)), environ).options.model_dump()
    assert (told["base_url"], told["llm_model"]) == ("http://ollama:11434/v1", "llama3.2")
    given = ProviderSettings(
        llm=("ollama",), options={"ollama": {"base_url": "http://x/v1", "llm_model": "y"}}
    )
    said = registry.build("llm", given, environ).options.model_dump()
    assert (said["base_url"], said["llm_model"]) == ("http://x/v1", "y")


def test_a_name_that_is_no_preset_is_like_openai() -> None:
    assert preset("something") is PRESETS["openai"]
    assert preset("mistral:x").nine_char_ids
