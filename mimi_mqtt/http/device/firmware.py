"""Downloads of firmware and assets by devices, at signed addresses (device contract, section 1).

A device sends a plain GET, and wants 200 with a Content-Length. Whoever goes on after a cut uses Range.
"""

import asyncio
import contextlib
import math
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mimi_mqtt.errors import Conflict, FilesError, LimitReached, NotFound
from mimi_mqtt.files.blobs import Content
from mimi_mqtt.fleet.firmware.downloads import RETRY_AFTER_S, Download, Downloads, Key, Kind
from mimi_mqtt.fleet.firmware.links import (
    ASSETS_PATH,
    FIRMWARE_PATH,
    LINK_S,
    DownloadLinks,
    assets_path,
    firmware_path,
)
from mimi_mqtt.http.limits import REFUSED
from mimi_mqtt.http.ranges import Wanted, wanted
from mimi_mqtt.http.replies import error_reply

MAX_FETCH_S: Final = LINK_S
"""Longest time for one download, in seconds; a client that reads nothing for ten seconds is cut off
before."""
MAX_PART_BYTES: Final = 65_536
"""Largest part that is handed to the connection at once: what a download holds of its file."""
MAX_ID: Final = 1 << 62
_ID_DIGITS: Final = 19

_BAD_LINK = "the link is not valid, or not any more: ask OTA again"


class FirmwareDownloads:
    """The endpoints of downloads."""

    def __init__(self, downloads: Downloads, links: DownloadLinks) -> None:
        self._downloads = downloads
        self._links = links

    def routes(self) -> list[Route]:
        """GET and HEAD; HEAD changes nothing."""
        return [
            Route(FIRMWARE_PATH + "/{id}/{device_id}", self.firmware, methods=["GET"]),
            Route(ASSETS_PATH + "/{id}/{device_id}", self.assets, methods=["GET"]),
        ]

    async def firmware(self, request: Request) -> Response:
        """The image that a device was offered."""
        return await self._serve(request, "firmware")

    async def assets(self, request: Request) -> Response:
        """The assets that were handed over to a device."""
        return await self._serve(request, "assets")

    async def _serve(self, request: Request, kind: Kind) -> Response:
        digits, device_id = request.path_params["id"], request.path_params["device_id"]
        # Bounded here: the routes' own numbers are of any length, and int() raises ValueError for a long one.
        if len(digits) > _ID_DIGITS or not (digits.isascii() and digits.isdigit()):
            return error_reply(403, _BAD_LINK)
        number = int(digits)
        path = firmware_path(number, device_id) if kind == "firmware" else assets_path(number, device_id)
        query = request.query_params
        good = self._links.is_good(path, query.get("until", ""), query.get("sig", ""), time.time())
        if not good or number > MAX_ID:
            return error_reply(403, _BAD_LINK)
        try:
            download = await self._downloads.open(Key(kind, number, device_id))
        except NotFound as error:
            return error_reply(404, str(error))
        except Conflict as error:
            return error_reply(409, str(error))
        except LimitReached as error:
            REFUSED.labels("downloads").inc()
            return error_reply(503, str(error), {"Retry-After": str(math.ceil(RETRY_AFTER_S))})
        try:
            reply = await self._reply(request, download)
        except BaseException:
            download.close(complete=False)
            raise
        if not isinstance(reply, _FileReply):
            download.close(complete=False)
        return reply

    async def _reply(self, request: Request, download: Download) -> Response:
        etag = f'"{download.sha256}"'
        part = wanted(request.headers, etag, download.size)
        if request.method == "HEAD":
            return _headed(Response(status_code=200), etag, download.size, Wanted(200, 0, download.size))
        if part.status in (304, 416):
            reply = Response(status_code=part.status)
            if part.status == 304:
                reply.headers["ETag"] = etag
                return reply
            return _headed(reply, etag, download.size, part)
        try:
            content = await download.content(part.start, part.end)
        except (NotFound, FilesError):
            return error_reply(503, "the file can't be read now: see the server's log", {"Retry-After": "60"})
        return _headed(_FileReply(download, content, part.status), etag, download.size, part)


def _headed(reply: Response, etag: str, size: int, part: Wanted) -> Response:
    reply.headers["ETag"] = etag
    reply.headers["Accept-Ranges"] = "bytes"
    reply.headers["Content-Length"] = str(part.end - part.start)
    if (told := part.content_range(size)) is not None:
        reply.headers["Content-Range"] = told
    return reply


class _FileReply(Response):
    """A file, or a part of it, as fast as the client reads; of its bytes one part is in memory."""

    def __init__(self, download: Download, content: Content, status: int) -> None:
        super().__init__(status_code=status, media_type="application/octet-stream")
        self._download = download
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Ends with the file, the client, or `MAX_FETCH_S`; what is cut is never completed, so that the
        client notices."""
        complete = False
        gone = asyncio.get_running_loop().create_task(_gone(receive), name="end of a download")
        try:
            async with asyncio.timeout(MAX_FETCH_S):
                await send(
                    {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
                )
                complete = await self._send_all(send, gone)
        except (FilesError, NotFound, TimeoutError):
            pass  # told by the blob store; the connection is closed, as the file is not whole
        finally:
            self._download.close(complete=complete)
            gone.cancel()
            await asyncio.wait([gone])
        if complete:
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body"})

    async def _send_all(self, send: Send, gone: "asyncio.Task[None]") -> bool:
        left = self._content.end - self._content.start
        async for part in self._content.parts:
            for start in range(0, len(part), MAX_PART_BYTES):
                piece = bytes(part[start : start + MAX_PART_BYTES])
                try:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                except OSError:
                    return False
                if gone.done():
                    return False
                self._download.sent(len(piece))
                left -= len(piece)
        return left == 0


async def _gone(receive: Receive) -> None:
    """Returns when the client has ended the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
