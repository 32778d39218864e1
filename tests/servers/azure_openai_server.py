"""A local server that speaks Azure OpenAI's protocol: the deployment in the path, the key in `api-key`."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.openai_server import KEY, OpenAiServer
from tests.servers.vendor import Asked


class AzureOpenAiServer(OpenAiServer):
    """Knows every deployment; also has the newer address, which is like OpenAI's. `queries` are its URLs'."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[dict[str, str]] = []

    def routes(self) -> Sequence[Route]:
        return [
            Route("/openai/deployments/{name}/chat/completions", self._completions, methods=["POST"]),
            Route("/openai/v1/chat/completions", self._completions, methods=["POST"]),
        ]

    async def _completions(self, request: Request) -> Response:
        self.queries.append(dict(request.query_params))
        return await self._chat(request)

    def _wrong_key(self, asked: Asked) -> Response | None:
        if asked.path.startswith("/openai/v1/"):
            return super()._wrong_key(asked)
        if asked.headers.get("api-key") == KEY:
            return None
        message = "Access denied due to invalid subscription key or wrong API endpoint."
        return JSONResponse({"error": {"code": "401", "message": message}}, 401)
