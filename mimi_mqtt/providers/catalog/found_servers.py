"""Servers on this machine that a provider can use: what answers at the usual addresses, with which models.

Asked are Ollama, LM Studio and vLLM, and the Wyoming servers of speech: at their usual ports of this machine,
or where the owner's environment says. No address comes from whoever asks for the list.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from mimi_mqtt.providers.catalog.local_servers import MAX_ANSWER_BYTES, MAX_MODELS, MAX_NAME_CHARS, find_all
from mimi_mqtt.providers.catalog.presets import PRESETS
from mimi_mqtt.providers.contract.provider import Role

TIMEOUT_S: Final = 1.5
"""Time for each server, in seconds."""
HOST: Final = "127.0.0.1"
WYOMING_PORTS: Final[Mapping[Role, int]] = {"stt": 10300, "tts": 10200}
"""The ports that Wyoming's servers of speech have by default: wyoming-faster-whisper and wyoming-piper."""

_NAMES: Final = {"ollama": "Ollama", "lmstudio": "LM Studio", "vllm": "vLLM"}


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A server that answered. `provider` with `options` asks it; `model_option` takes one of `models`, which
    come best first; empty where there is nothing to choose."""

    provider: str
    name: str
    role: Role
    address: str
    models: tuple[str, ...] = ()
    model_option: str = ""
    options: Mapping[str, object] = field(default_factory=dict)


async def found_servers(
    environ: Mapping[str, str],
    *,
    lm_studio: str | None = None,
    vllm: str | None = None,
    wyoming: Mapping[Role, int] = WYOMING_PORTS,
) -> Sequence[FoundServer]:
    """The servers that answer now, language models first."""
    address = vllm or environ.get("VLLM_BASE_URL") or PRESETS["vllm"].base_url or ""
    looks = [
        _language_models(environ, lm_studio),
        _vllm(address),
        *(_wyoming(role, port) for role, port in wyoming.items()),
    ]
    return [server for servers in await asyncio.gather(*looks) for server in servers]


async def _language_models(environ: Mapping[str, str], lm_studio: str | None) -> list[FoundServer]:
    by_server: dict[tuple[str, str], list[str]] = {}
    for model in await find_all(environ, lm_studio):
        by_server.setdefault((model.server, model.base_url), []).append(model.model)
    return [
        FoundServer(
            kind, _NAMES[kind], "llm", base_url, tuple(models), "llm_model", {"base_url": base_url}
        )
        for (kind, base_url), models in by_server.items()
    ]  # fmt: skip


async def _vllm(address: str) -> list[FoundServer]:
    """vLLM, which says so in its list of models: other programs are at its port, too."""
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client,
            client.stream("GET", f"{address.rstrip('/')}/models") as response,
        ):
            received = b""
            async for piece in response.aiter_bytes():
                received += piece
                if len(received) > MAX_ANSWER_BYTES:
                    return []
        answer: Any = json.loads(received)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TimeoutError):
        return []
    rows = answer.get("data") if isinstance(answer, dict) else None
    names = [
        str(row["id"])
        for row in (rows if isinstance(rows, list) else [])[:MAX_MODELS]
        if isinstance(row, dict) and row.get("owned_by") == "vllm" and _safe(row.get("id"))
    ]
    if not names:
        return []
    return [FoundServer("vllm", "vLLM", "llm", address, tuple(names), "llm_model", {"base_url": address})]


async def _wyoming(role: Role, port: int) -> list[FoundServer]:
    """A Wyoming server that says it can do `role`: an event is a line of JSON, and its data may follow.
    https://github.com/OHF-Voice/wyoming"""
    about: Any = None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port, limit=MAX_ANSWER_BYTES)
            try:
                writer.write(b'{"type": "describe"}\n')
                await writer.drain()
                head = json.loads(await reader.readline())
                if not isinstance(head, dict) or head.get("type") != "info":
                    return []
                about = head.get("data")
                length = head.get("data_length") or 0
                if isinstance(length, int) and 0 < length <= MAX_ANSWER_BYTES:
                    about = json.loads(await reader.readexactly(length))
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, ValueError, EOFError, RecursionError, TimeoutError):
        return []
    programs = about.get("asr" if role == "stt" else "tts") if isinstance(about, dict) else None
    names = [
        str(each["name"])
        for each in (programs if isinstance(programs, list) else [])[:MAX_MODELS]
        if isinstance(each, dict) and _safe(each.get("name"))
    ]
    if not names:
        return []
    uri = f"tcp://localhost:{port}"
    return [
        FoundServer("wyoming", f"Wyoming ({names[0]})", role, uri, options={f"{role}_uri": uri})
    ]  # fmt: skip


def _safe(name: object) -> bool:
    """True for a name that can be shown and logged."""
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS and name.isprintable()
