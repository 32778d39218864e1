"""Language models on this machine: which servers answer, and which of their models fits a voice assistant.

Asked are Ollama, at OLLAMA_HOST or its usual port, and LM Studio at its own: addresses of this machine, or
the one that its owner gave. A model must be able to call tools; one that is in memory already comes first.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

TIMEOUT_S: Final = 1.0
"""Time for both servers together, in seconds."""
MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Longest answer of a server that is read."""
MAX_MODELS: Final = 50
"""Models of a server that are looked at."""
MAX_NAME_CHARS: Final = 120

OLLAMA_PORT: Final = 11434
LM_STUDIO: Final = "http://127.0.0.1:1234"
_BEST_BYTES: Final = 6 * 1024**3
"""Of several models the largest up to this comes first: it fits most machines, and answers soon enough."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that can be asked, at a server that speaks OpenAI's protocol at `base_url`."""

    server: str
    """`ollama` or `lmstudio`."""
    base_url: str
    model: str
    loaded: bool

    def __str__(self) -> str:
        return f"{self.model} of {'Ollama' if self.server == 'ollama' else 'LM Studio'} at {self.base_url}"


def ollama_address(environ: Mapping[str, str]) -> str:
    """The address of Ollama as its own command reads OLLAMA_HOST: a host, host:port, :port or a URL."""
    given = environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    scheme, separator, rest = given.partition("://")
    if not separator:
        scheme, rest = "http", given
    port = {"http": 80, "https": 443}.get(scheme, OLLAMA_PORT) if separator else OLLAMA_PORT
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "127.0.0.1", parts.port or port
    except ValueError:
        return f"http://127.0.0.1:{OLLAMA_PORT}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    path = parts.path.rstrip("/")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


async def find(environ: Mapping[str, str], lm_studio: str = LM_STUDIO) -> FoundModel | None:
    """The best model that can be asked now; None when there is none. Takes TIMEOUT_S at most."""
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        asked = [
            asyncio.create_task(_ollama(client, ollama_address(environ))),
            asyncio.create_task(_lm_studio(client, lm_studio)),
        ]
        try:
            await asyncio.wait(asked, timeout=TIMEOUT_S)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
    found = [task.result() for task in asked if not task.cancelled() and task.exception() is None]
    models = [model for model in found if model is not None]
    return next((model for model in models if model.loaded), next(iter(models), None))


class _NoAnswer(Exception):
    """A server that is not there, or is another one."""


async def _ollama(client: httpx.AsyncClient, address: str) -> FoundModel | None:
    try:
        tags = _rows(await _json(client, "GET", f"{address}/api/tags"), "models")
        running = {
            str(row.get("name", ""))
            for row in _rows(await _json(client, "GET", f"{address}/api/ps"), "models")
        }
        able = []
        for row in tags:
            name = str(row.get("name", ""))
            about = await _json(client, "POST", f"{address}/api/show", {"model": name})
            if _safe(name) and "tools" in (about.get("capabilities") or ()):
                able.append((name, int(row.get("size") or 0)))
    except (_NoAnswer, TypeError, ValueError):
        return None
    if not able:
        return None
    name, _ = max(able, key=lambda model: (model[0] in running, *_fit(model[1])))
    return FoundModel("ollama", f"{address}/v1", name, name in running)


async def _lm_studio(client: httpx.AsyncClient, address: str) -> FoundModel | None:
    try:
        rows = _rows(await _json(client, "GET", f"{address}/api/v0/models"), "data")
        able = [
            (str(row.get("id", "")), row.get("state") == "loaded")
            for row in rows
            if row.get("type") in ("llm", "vlm") and "tool_use" in (row.get("capabilities") or ())
        ]
    except (_NoAnswer, TypeError, ValueError):
        return None
    able = [(name, loaded) for name, loaded in able if _safe(name)]
    if not able:
        return None
    name, loaded = max(able, key=lambda model: model[1])
    return FoundModel("lmstudio", f"{address}/v1", name, loaded)


def _fit(size: int) -> tuple[bool, int]:
    """The rank of a model by its length in bytes: the largest that is not too large, else the smallest."""
    return (True, size) if size <= _BEST_BYTES else (False, -size)


def _safe(name: str) -> bool:
    """True for a name that can be shown and logged."""
    return 0 < len(name) <= MAX_NAME_CHARS and name.isprintable()


def _rows(answer: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    rows = answer.get(key)
    if not isinstance(rows, list):
        raise _NoAnswer
    return [row for row in rows[:MAX_MODELS] if isinstance(row, dict)]


async def _json(
    client: httpx.AsyncClient, method: str, url: str, body: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    try:
        async with client.stream(method, url, json=body) as response:
            if response.status_code != httpx.codes.OK:
                raise _NoAnswer
            received = b""
            async for piece in response.aiter_bytes():
                received += piece
                if len(received) > MAX_ANSWER_BYTES:
                    raise _NoAnswer
        answer = json.loads(received)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise _NoAnswer from error
    if not isinstance(answer, dict):
        raise _NoAnswer
    return answer


def environment() -> Mapping[str, str]:
    """The variables of this process."""
    return os.environ
