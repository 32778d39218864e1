"""The rows of speech to text in the contract tests."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.integration.providers.row import Vendor
from tests.models import sherpa, whisper
from tests.servers.azure_asr import KEY as AZURE_KEY
from tests.servers.azure_asr import AzureAsrServer
from tests.servers.deepgram import KEY as DEEPGRAM_KEY
from tests.servers.deepgram import DeepgramServer
from tests.servers.funasr import FunAsrServer
from tests.servers.gemini_asr import KEY as GEMINI_KEY
from tests.servers.gemini_asr import GeminiAsrServer
from tests.servers.local_model import LocalModel
from tests.servers.openai_server import KEY as OPENAI_KEY
from tests.servers.openai_server import OpenAiServer
from tests.servers.wyoming_asr import WyomingAsrServer


def _deepgram(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": DEEPGRAM_KEY}


def _wyoming(url: str) -> Mapping[str, Any]:
    return {"stt_uri": url}


def _funasr(url: str) -> Mapping[str, Any]:
    return {"url": url.replace("http", "ws", 1)}


def _azure(url: str) -> Mapping[str, Any]:
    return {"stt_url": url, "speech_key": AZURE_KEY}


def _groq(url: str) -> Mapping[str, Any]:
    return {"base_url": f"{url}/v1", "api_key": OPENAI_KEY}


def _gemini(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": GEMINI_KEY}


def _local(
    name: str,
    make: Callable[[Path], Path],
    extra: Mapping[str, Any],
    *,
    streams: bool = True,
    tells: bool = True,
) -> Vendor:
    """A provider that computes here."""
    return Vendor(
        name,
        partial(LocalModel, make),
        lambda folder: {"stt_model": folder},
        {},
        streams_transcripts=streams,
        tells_language=tells,
        extra=extra,
        speaks_http=False,
        remote=False,
    )


STT = (
    Vendor("azure", AzureAsrServer, _azure, {"speech_key": "az-wrong-secret"}, streams_transcripts=False),
    Vendor("groq", OpenAiServer, _groq, {"api_key": "gsk-wrong-secret"}, streams_transcripts=False),
    Vendor("gemini", GeminiAsrServer, _gemini, {"api_key": "gm-wrong-secret"}),
    Vendor("deepgram", DeepgramServer, _deepgram, {"api_key": "dg-wrong-secret"}),
    Vendor("funasr", FunAsrServer, _funasr, {}, tells_language=False),
    Vendor("wyoming", WyomingAsrServer, _wyoming, {}, tells_language=False, speaks_http=False),
    Vendor(
        "wyoming:whole",
        partial(WyomingAsrServer, streams=False),
        _wyoming,
        {},
        streams_transcripts=False,
        tells_language=False,
        speaks_http=False,
    ),
    _local("sherpa_onnx", sherpa.streaming, {"stt_kind": "streaming_nemo_ctc"}, tells=False),
    _local("sherpa_onnx:whole", sherpa.offline, {"stt_kind": "nemo_ctc"}, streams=False, tells=False),
    _local("faster_whisper", whisper.english, {"stt_device": "cpu"}, streams=False),
)
