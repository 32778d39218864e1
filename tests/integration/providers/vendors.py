"""The rows of the contract tests: each vendor with its fake server. A new vendor adds a row to VENDORS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mimi_mqtt.config.settings import ProviderSettings
from mimi_mqtt.providers.base import Role
from tests.servers.openai_server import KEY, OpenAiServer
from tests.servers.vendor import VendorServer


@dataclass(frozen=True)
class Vendor:
    """One provider as the contract tests see it.

    `options` makes its configuration from its server's URL; `wrong_key` is what to change in it.
    """

    name: str
    server: Callable[[], VendorServer]
    options: Callable[[str], Mapping[str, Any]]
    wrong_key: Mapping[str, Any]
    streams_transcripts: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, role: Role, url: str, **changes: Any) -> ProviderSettings:
        options = {**self.options(url), **self.extra, **changes}
        return ProviderSettings.model_validate({role: self.name, "options": {self.name: options}})


def _openai(url: str) -> Mapping[str, Any]:
    return {"base_url": f"{url}/v1", "api_key": KEY}


OPENAI = Vendor("openai", OpenAiServer, _openai, {"api_key": "sk-wrong-secret"})
OPENAI_WHOLE = Vendor(
    "openai:whole",
    OpenAiServer,
    _openai,
    {"api_key": "sk-wrong-secret"},
    streams_transcripts=False,
    extra={"stt_stream": False, "stt_model": "whisper-1"},
)

VENDORS: Mapping[Role, tuple[Vendor, ...]] = {
    "stt": (OPENAI, OPENAI_WHOLE),
    "llm": (OPENAI,),
    "tts": (OPENAI,),
}
