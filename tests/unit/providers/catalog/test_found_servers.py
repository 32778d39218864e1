import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mimi_mqtt.providers.catalog.found_servers import found_servers
from tests.servers.model_servers import ModelServer
from tests.servers.vendor import VendorServer

NOWHERE = "127.0.0.1:9"
"""The discard port: nothing answers there."""


class Vllm(VendorServer):
    """The list of models of a server that speaks OpenAI's protocol."""

    def __init__(self, owner: str) -> None:
        super().__init__()
        self.owner = owner

    def routes(self) -> list[Route]:
        return [Route("/v1/models", self._models)]

    async def _models(self, _: Request) -> JSONResponse:
        rows = [{"id": "Qwen/Qwen3-8B", "owned_by": self.owner}, {"id": "", "owned_by": self.owner}, "x"]
        return JSONResponse({"data": rows})


@asynccontextmanager
async def speaking(answer: bytes) -> AsyncIterator[int]:
    """A server that answers a line with `answer`; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert json.loads(await reader.readline()) == {"type": "describe"}
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


Kind = TypeVar("Kind", bound=VendorServer)


@asynccontextmanager
async def running(server: Kind) -> AsyncIterator[Kind]:
    await server.start()
    try:
        yield server
    finally:
        await server.aclose()


async def look(environ: Mapping[str, str], **where: object) -> list[tuple[str, str, tuple[str, ...]]]:
    given = {"lm_studio": f"http://{NOWHERE}", "vllm": f"http://{NOWHERE}/v1", "wyoming": {}, **where}
    found = await found_servers({"OLLAMA_HOST": NOWHERE, **environ}, **given)  # type: ignore[arg-type]
    return [(each.provider, each.role, each.models) for each in found]


async def test_ollama_is_told_with_its_models_the_best_first() -> None:
    async with running(ModelServer()) as server:
        server.ollama = {"big:70b": ["tools"], "small:3b": ["tools"], "embed": []}
        server.sizes = {"big:70b": 40 * 2**30, "small:3b": 2 * 2**30}
        host = server.url.removeprefix("http://")
        assert await look({"OLLAMA_HOST": host}) == [("ollama", "llm", ("small:3b", "big:70b"))]


@pytest.mark.parametrize(
    ("owner", "models"), [("vllm", [("vllm", "llm", ("Qwen/Qwen3-8B",))]), ("someone", [])]
)
async def test_vllm_is_told_from_other_programs_at_its_port(owner: str, models: object) -> None:
    async with running(Vllm(owner)) as server:
        assert await look({}, vllm=f"{server.url}/v1") == models


async def test_wyoming_servers_are_asked_what_they_can_do() -> None:
    data = json.dumps({"asr": [{"name": "faster-whisper"}], "tts": []}).encode()
    head = json.dumps({"type": "info", "data_length": len(data)}).encode() + b"\n"
    async with speaking(head + data) as port:
        assert await look({}, wyoming={"stt": port}) == [("wyoming", "stt", ())]
        assert await look({}, wyoming={"tts": port}) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0\r\n",
        b"[]\n",
        b'{"type": "info"}\n',
        b'{"type": "info", "data_length": 99}\n{}',
        b"x" * 2_000_000,
    ],
)
async def test_what_is_no_wyoming_server_is_left_out(answer: bytes) -> None:
    async with speaking(answer) as port:
        assert await look({}, wyoming={"stt": port}) == []
