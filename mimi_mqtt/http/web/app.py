"""The routes of the web app: its files, and its start page for every address that a browser opens."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from mimi_mqtt.http.replies import error_reply
from mimi_mqtt.http.web.built import START_PAGE, BuiltFile, built_files

SETUP_PATH: Final = "/setup"
"""The page of one-time links: `/setup#token=…` makes the first administrator, `/setup#reset=…` sets a
password. What stands behind the `#` browsers keep to themselves: no log and no proxy on the way sees it."""

POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the start page: nothing inline and nothing from elsewhere. WebAssembly is the
Opus of browsers without WebCodecs."""

_PERMISSIONS: Final = "microphone=(self), camera=(self), geolocation=(), payment=(), usb=()"
_FOREVER: Final = "public, max-age=31536000, immutable"
"""For files whose names hold a hash of what is in them."""
_ASSETS: Final = "assets/"
_NEVER: Final = ("/api/", "/docs/", "/xiaozhi/", "/mcp/", "/vision/", "/mqtt/")
"""Paths below which there is no page of the app. Below `/assets/` are its files, and `/assets` is a page."""


class WebApp:
    """Serves the built app. `files` are by their path; the default is what the package holds."""

    def __init__(self, files: Mapping[str, BuiltFile] | None = None) -> None:
        self._files = built_files() if files is None else files
        # Small, and asked for by everyone who comes: a file would be opened in a thread each time.
        self._page = self._files[START_PAGE].path.read_bytes() if self.is_built else b""

    @property
    def is_built(self) -> bool:
        """False when the package holds no app: it is run from a clone where `scripts/web` did not run."""
        return START_PAGE in self._files

    def routes(self) -> list[Route]:
        """A route for each file beside the start page, and one for all those with a hash in their names."""
        names = [name for name in self._files if not name.startswith(_ASSETS) and name != START_PAGE]
        return [
            *(Route(f"/{name}", self._file) for name in names),
            Route("/assets/{name}", self._file),
        ]

    def has_page(self, request: Request) -> bool:
        """True when a path that nothing else answers is one that the app shows: its addresses are its own."""
        path = request.url.path
        return (
            self.is_built
            and request.method in ("GET", "HEAD")
            and not f"{path}/".startswith(_NEVER)
            and "." not in path.rpartition("/")[2]
        )

    def page(self, request: Request) -> Response:
        """The start page."""
        headers = {
            "Content-Security-Policy": POLICY,
            "Permissions-Policy": _PERMISSIONS,
            "Cross-Origin-Opener-Policy": "same-origin",
            # Asked for at each start, so that an update is seen at once; the answer is mostly 304.
            "Cache-Control": "no-cache",
        }
        found = self._files[START_PAGE]
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers | {"ETag": found.etag})
        return Response(self._page, media_type=found.media_type, headers=headers | {"ETag": found.etag})

    async def _file(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        found = self._files.get(name)
        if found is None:
            return error_reply(404, "there is no such file: the app was updated, load its page again")
        cache = _FOREVER if name.startswith(_ASSETS) else "no-cache"
        return self._reply(request, found, {"Cache-Control": cache})

    def _reply(self, request: Request, found: BuiltFile, headers: dict[str, str]) -> Response:
        headers |= {"ETag": found.etag, "Vary": "Accept-Encoding"}
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        path, encoding = found.accepted(request.headers.get("accept-encoding", ""))
        if encoding:
            headers["Content-Encoding"] = encoding
        return FileResponse(path, headers=headers, media_type=found.media_type)
