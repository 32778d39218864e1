"""The rows of speech-to-speech services."""

from collections.abc import Mapping
from typing import Any

from tests.integration.providers.row import Vendor
from tests.servers.openai_realtime_server import OpenAiRealtimeServer
from tests.servers.openai_server import KEY


def _openai(url: str) -> Mapping[str, Any]:
    return {"base_url": f"{url}/v1", "api_key": KEY}


S2S = (Vendor("openai_realtime", OpenAiRealtimeServer, _openai, {"api_key": "sk-wrong-secret"}),)
