"""The page /docs: Swagger UI for the REST API, from the files of an installed package, with nothing from
elsewhere."""

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from mimi_mqtt.http.replies import error_reply

PACKAGE: Final = "fastapi_offline"
"""The package that has the files of Swagger UI."""

_FILES: Final = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
_POLICY: Final = (
    # Swagger UI sets styles of its elements, and draws its icons from data addresses.
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mimi_mqtt: REST API</title>'
    '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
    '<link rel="stylesheet" href="/docs/swagger-ui.css"></head><body><div id="swagger-ui"></div>'
    '<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>'
)
_START: Final = (
    "SwaggerUIBundle({url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, "
    "validatorUrl: null, tryItOutEnabled: true, persistAuthorization: false, docExpansion: 'none'});\n"
)


class Docs:
    """The page and its files. `document` makes the reply with the OpenAPI document."""

    def __init__(self, document: Callable[[Request], Awaitable[Response]]) -> None:
        self._document = document

    def routes(self) -> list[Route]:
        """The routes of the page, its files, and the document that it shows."""
        return [
            Route("/openapi.json", self._document),
            Route("/docs", self.page),
            Route("/docs/start.js", self.start),
            Route("/docs/{name}", self.file),
        ]

    async def page(self, _: Request) -> Response:
        """The page."""
        return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    async def start(self, _: Request) -> Response:
        """The script that starts Swagger UI: the policy allows none in the page."""
        return Response(_START, media_type="text/javascript")

    async def file(self, request: Request) -> Response:
        """A file of Swagger UI."""
        name: str = request.path_params["name"]
        if name not in _FILES:
            return error_reply(404, "there is no such file: the page is /docs")
        folder = await asyncio.to_thread(_folder)
        if folder is None:
            message = f"the package {PACKAGE} is missing: pip install fastapi-offline; see /openapi.json"
            return error_reply(503, message)
        headers = {"Cache-Control": "public, max-age=86400"}
        return FileResponse(folder / name, media_type=_FILES[name], headers=headers)


def _folder() -> Path | None:
    """The folder with the files. The package is not imported: that would bring all of FastAPI."""
    found = importlib.util.find_spec(PACKAGE)
    places = found.submodule_search_locations if found is not None else None
    folder = Path(next(iter(places))) / "static" if places else None
    return folder if folder is not None and folder.is_dir() else None
