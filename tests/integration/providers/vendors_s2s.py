"""The rows of speech-to-speech services."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.providers.row import Vendor
from tests.servers import gemini_live_server
from tests.servers.gemini_live_server import GeminiLiveServer
from tests.servers.openai_realtime_server import OpenAiRealtimeServer
from tests.servers.openai_server import KEY
from tests.servers.tls import authority


def _openai(url: str) -> Mapping[str, Any]:
    return {"base_url": f"{url}/v1", "api_key": KEY}


def _gemini(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": gemini_live_server.KEY}


def _trust(url: str, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("SSL_CERT_FILE", str(authority()))


S2S = (
    Vendor("openai_realtime", OpenAiRealtimeServer, _openai, {"api_key": "sk-wrong-secret"}),
    Vendor(
        "gemini_live",
        GeminiLiveServer,
        _gemini,
        {"api_key": "AIza-wrong-secret"},
        recites_aside=False,
        arrange=_trust,
    ),
)
