"""Services that speak OpenAI's protocol, as data: address, key and differences of each.

A preset is a provider of its own name over the classes of `openai`. `roles` are the parts it plays, each with
the options whose default is another than OpenAI's. A new service is one row here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mimi_mqtt.providers.contract.provider import Role


@dataclass(frozen=True, slots=True)
class Preset:
    """One service. `base_url` None: the user says it, or it is OpenAI itself. `key` None: it needs none.

    `key`, `address` and `variables` name environment variables; `nine_char_ids` is Mistral's rule for the ids
    of tool calls. `in_house`: a server of one's own, which is never asked through a proxy.
    """

    roles: Mapping[Role, Mapping[str, object]]
    base_url: str | None = None
    key: str | None = None
    address: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    client: Literal["openai", "azure"] = "openai"
    needs_base_url: bool = False
    nine_char_ids: bool = False
    in_house: bool = False
    example_url: str = ""

    @property
    def environment(self) -> Mapping[str, str]:
        """Options whose value comes from a variable where the configuration has none."""
        found = {"api_key": self.key, "base_url": self.address, **self.variables}
        return {option: variable for option, variable in found.items() if variable}

    def defaults(self, role: Role) -> Mapping[str, object]:
        """Options of `role` whose default is the service's."""
        own = self.roles.get(role, {})
        return own if self.base_url is None else {"base_url": self.base_url, **own}


PRESETS: Mapping[str, Preset] = {
    "openai": Preset(
        roles={"stt": {}, "llm": {}, "tts": {}},
        key="OPENAI_API_KEY",
        address="OPENAI_BASE_URL",
        variables={"organization": "OPENAI_ORG_ID", "project": "OPENAI_PROJECT_ID"},
    ),
    "openai_realtime": Preset(
        roles={"s2s": {}},
        key="OPENAI_API_KEY",
        variables={"organization": "OPENAI_ORG_ID", "project": "OPENAI_PROJECT_ID"},
    ),
    # A model's name is the name of the user's deployment of it.
    "azure": Preset(
        roles={"llm": {"api_version": "2024-10-21"}},
        key="AZURE_OPENAI_API_KEY",
        address="AZURE_OPENAI_ENDPOINT",
        variables={"api_version": "OPENAI_API_VERSION"},
        client="azure",
        needs_base_url=True,
        example_url="https://NAME.openai.azure.com",
    ),
    "grok": Preset(
        roles={"llm": {"llm_model": "grok-4.3", "llm_reasoning_effort": "none"}},
        base_url="https://api.x.ai/v1",
        key="XAI_API_KEY",
    ),
    # In thinking mode DeepSeek wants its thoughts back with every tool result: more waiting, nothing to hear.
    "deepseek": Preset(
        roles={"llm": {"llm_model": "deepseek-flash", "llm_extra": {"thinking": {"type": "disabled"}}}},
        base_url="https://api.deepseek.com",
        key="DEEPSEEK_API_KEY",
    ),
    # Keys belong to a region; outside China: https://dashscope-intl.aliyuncs.com/compatible-mode/v1.
    "qwen": Preset(
        roles={"llm": {"llm_model": "qwen-plus", "llm_extra": {"enable_thinking": False}}},
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        key="DASHSCOPE_API_KEY",
        address="DASHSCOPE_BASE_URL",
    ),
    "groq": Preset(
        roles={
            "stt": {"stt_model": "whisper-large-v3-turbo"},
            "llm": {"llm_model": "openai/gpt-oss-20b", "llm_reasoning_effort": "low"},
        },
        base_url="https://api.groq.com/openai/v1",
        key="GROQ_API_KEY",
    ),
    "openrouter": Preset(
        roles={"llm": {"llm_model": "openai/gpt-5.4-mini"}},
        base_url="https://openrouter.ai/api/v1",
        key="OPENROUTER_API_KEY",
    ),
    # Refuses `stream_options`, and counts tokens without being asked.
    "mistral": Preset(
        roles={"llm": {"llm_model": "mistral-small-latest", "llm_usage": False}},
        base_url="https://api.mistral.ai/v1",
        key="MISTRAL_API_KEY",
        nine_char_ids=True,
    ),
    "ollama": Preset(
        roles={"llm": {"llm_model": "llama3.2"}},
        base_url="http://localhost:11434/v1",
        address="OLLAMA_BASE_URL",
        in_house=True,
    ),
    "lmstudio": Preset(
        roles={"llm": {"llm_model": ""}},
        base_url="http://localhost:1234/v1",
        address="LMSTUDIO_BASE_URL",
        in_house=True,
    ),
    "vllm": Preset(
        roles={"llm": {"llm_model": ""}},
        base_url="http://localhost:8000/v1",
        address="VLLM_BASE_URL",
        in_house=True,
    ),
    "custom": Preset(
        roles={"llm": {"llm_model": ""}}, needs_base_url=True, example_url="http://192.168.1.20:8080/v1"
    ),
}


def preset(name: str) -> Preset:
    """The preset of the provider `name`, label or not; OpenAI's for a name that is none."""
    return PRESETS.get(name.partition(":")[0], PRESETS["openai"])
