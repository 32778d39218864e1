"""The rows of the contract tests: each vendor with its fake server. A new vendor adds a row for its role."""

from collections.abc import Mapping
from typing import Any

from mimi_mqtt.providers.contract.provider import Role
from tests.integration.providers.row import Vendor as Vendor
from tests.integration.providers.vendors_llm import LLM
from tests.integration.providers.vendors_s2s import S2S
from tests.integration.providers.vendors_stt import STT
from tests.integration.providers.vendors_tts import TTS
from tests.servers.openai_server import KEY, OpenAiServer


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
    "stt": (OPENAI, OPENAI_WHOLE, *STT),
    "llm": (OPENAI, *LLM),
    "tts": (OPENAI, *TTS),
    "s2s": S2S,
}
