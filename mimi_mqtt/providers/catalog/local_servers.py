"""Language models on this machine: which servers answer, and which of their models fits a voice assistant.

Asked are Ollama, at OLLAMA_HOST or its usual port, and LM Studio at its own: addresses of this machine, or
the one that its owner gave. A model must be able to call tools, and run there: what Ollama passes on to its
cloud would leave the house. One that does not think before it answers comes first, as a speaker waits; then
one that is in memory already; then the largest that most machines can hold.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard
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
BEST_BYTES: Final = 6 * 1024**3
"""Of several models the largest up to this comes first: it fits most machines, and answers soon enough."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that can be asked, at a server that speaks OpenAI's protocol at `base_url`."""

    server: str
    """`ollama` or `lmstudio`."""
    base_url: str
    model: str
    loaded: bool
    thinks: bool = False
    """True for one that writes down its thoughts before it answers, unless it is told not to."""
    size: int = 0
    """Its length in bytes; 0 where that is not told."""

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


async def find(environ: Mapping[str, str], lm_studio: str | None = None) -> FoundModel | None:
    """The best model that can be asked now; None when there is none. Takes TIMEOUT_S at most: of a server
    that is slow, the models that were told of by then count."""
    return next(iter(await find_all(environ, lm_studio)), None)


async def find_all(environ: Mapping[str, str], lm_studio: str | None = None) -> Sequence[FoundModel]:
    """All models that can be asked now, the best first, within the same time."""
    found: list[FoundModel] = []
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        asked = [
            asyncio.create_task(_ollama(client, ollama_address(environ), found)),
            asyncio.create_task(_lm_studio(client, lm_studio or LM_STUDIO, found)),
        ]
        try:
            await asyncio.wait(asked, timeout=TIMEOUT_S)
        finally:
            for task in asked:
                task.cancel()
            ended = await asyncio.gather(*asked, return_exceptions=True)
    for error in ended:
        if error is not None and not isinstance(error, (asyncio.CancelledError, _NoAnswer)):
            raise error
    return sorted(found, key=_rank, reverse=True)


def _rank(model: FoundModel) -> tuple[bool, bool, bool, int]:
    small = model.size <= BEST_BYTES
    return (small or model.loaded, not model.thinks, model.loaded, model.size if small else -model.size)


class _NoAnswer(Exception):
    """A server that is not there, or is another one."""


async def _ollama(client: httpx.AsyncClient, address: str, found: list[FoundModel]) -> None:
    """Adds the models of the Ollama at `address` to `found`, each as soon as it is told of."""
    tags = _rows(await _json(client, "GET", f"{address}/api/tags"), "models")
    try:
        in_memory = _rows(await _json(client, "GET", f"{address}/api/ps"), "models")
    except _NoAnswer:  # an old one, which does not tell what is in memory
        in_memory = []
    running = [row.get("name") for row in in_memory]

    async def look(row: Mapping[str, Any]) -> None:
        name, size = row.get("name"), row.get("size")
        if not _safe(name) or row.get("remote_host") or row.get("remote_model"):
            return
        try:
            about = await _json(client, "POST", f"{address}/api/show", {"model": name})
        except _NoAnswer:  # one model that is broken does not hide the others
            return
        able = _words(about, "capabilities")
        if "tools" in able:
            length = size if isinstance(size, int) else 0
            found.append(
                FoundModel("ollama", f"{address}/v1", name, name in running, "thinking" in able, length)
            )

    await asyncio.gather(*map(look, tags))


async def _lm_studio(client: httpx.AsyncClient, address: str, found: list[FoundModel]) -> None:
    """Adds the models of the LM Studio at `address` to `found`. One without this list (before 0.3.6) passes
    no tools to its models either."""
    for row in _rows(await _json(client, "GET", f"{address}/api/v0/models"), "data"):
        name = row.get("id")
        if _safe(name) and row.get("type") in ("llm", "vlm") and "tool_use" in _words(row, "capabilities"):
            found.append(FoundModel("lmstudio", f"{address}/v1", name, row.get("state") == "loaded"))


def _safe(name: object) -> TypeGuard[str]:
    """True for a name that can be shown and logged."""
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS and name.isprintable()


def _words(answer: Mapping[str, Any], key: str) -> Sequence[object]:
    words = answer.get(key)
    return words if isinstance(words, list) else ()


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
