"""The rows of text to speech in the contract tests."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from tests.integration.providers.row import Vendor
from tests.servers.edge_server import PATH, EdgeServer
from tests.servers.http_speech import (
    AZURE_KEY,
    ELEVENLABS_KEY,
    GEMINI_KEY,
    AzureSpeechServer,
    ElevenLabsServer,
    GeminiSpeechServer,
)
from tests.servers.wyoming_tts_server import WyomingTtsServer


def _azure(url: str) -> Mapping[str, Any]:
    return {"tts_url": url, "speech_key": AZURE_KEY}


def _elevenlabs(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": ELEVENLABS_KEY}


def _gemini(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": GEMINI_KEY}


def _wyoming(url: str) -> Mapping[str, Any]:
    return {"tts_uri": url}


def _edge(url: str) -> Mapping[str, Any]:
    return {}


def lead_edge_to(url: str, patch: pytest.MonkeyPatch) -> None:
    """The package has Microsoft's address as a constant, and no parameter for another."""
    address = f"{url.replace('http', 'ws', 1)}{PATH}?TrustedClientToken=test"
    patch.setattr("edge_tts.communicate.WSS_URL", address)


EDGE = Vendor("edge", EdgeServer, _edge, {}, arrange=lead_edge_to, says_why=False)

TTS = (
    Vendor("azure", AzureSpeechServer, _azure, {"speech_key": "az-wrong-secret"}),
    Vendor("elevenlabs", ElevenLabsServer, _elevenlabs, {"api_key": "el-wrong-secret"}),
    Vendor("gemini", GeminiSpeechServer, _gemini, {"api_key": "gm-wrong-secret"}),
    EDGE,
    Vendor("wyoming", WyomingTtsServer, _wyoming, {}, speaks_http=False),
    Vendor("wyoming:streaming", partial(WyomingTtsServer, streams=True), _wyoming, {}, speaks_http=False),
)
