"""Ollama and LM Studio, as far as a search for language models asks them."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.vendor import VendorServer


class ModelServer(VendorServer):
    """`ollama` has the capabilities of each model by its name, `sizes` their length in bytes, `running` those
    in memory; `cloud` are run elsewhere, `broken` can't be shown, and about those of `slow` nothing is said.
    An `old` one does not tell what is in memory. `lm_studio` has the rows of its list. `raw` is sent in place
    of every answer."""

    def __init__(self) -> None:
        super().__init__()
        self.ollama: Mapping[str, Sequence[str]] = {}
        self.sizes: Mapping[str, int] = {}
        self.running: Sequence[str] = ()
        self.cloud: Sequence[str] = ()
        self.broken: Sequence[str] = ()
        self.slow: Sequence[str] = ()
        self.old = False
        self.lm_studio: Sequence[Mapping[str, object]] | None = None
        self.raw: bytes | None = None
        self.silent = False

    def routes(self) -> Sequence[Route]:
        return [
            Route("/api/tags", self._tags),
            Route("/api/ps", self._ps),
            Route("/api/show", self._show, methods=["POST"]),
            Route("/api/v0/models", self._v0),
        ]

    async def _answer(self, content: object) -> Response:
        if self.silent:
            await self._closing.wait()
        return Response(self.raw) if self.raw is not None else JSONResponse(content)

    async def _tags(self, _: Request) -> Response:
        rows = [
            {
                "name": name,
                "size": self.sizes.get(name, 1),
                **({"remote_host": "https://ollama.example:443"} if name in self.cloud else {}),
            }
            for name in self.ollama
        ]
        return await self._answer({"models": rows})

    async def _ps(self, _: Request) -> Response:
        if self.old:
            return Response(status_code=404)
        return await self._answer({"models": [{"name": name} for name in self.running]})

    async def _show(self, request: Request) -> Response:
        name = (await request.json())["model"]
        if name in self.broken:
            return JSONResponse({"error": "unable to load model"}, 500)
        if name in self.slow:
            await self._closing.wait()
        return await self._answer({"capabilities": self.ollama[name]})

    async def _v0(self, _: Request) -> Response:
        if self.lm_studio is None:
            return Response(status_code=404)
        return await self._answer({"data": self.lm_studio})
