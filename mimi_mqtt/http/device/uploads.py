"""Pictures of devices over HTTP, posted at one-time links."""

import asyncio
import math
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mimi_mqtt.errors import FilesError, FileTooLarge, Invalid, LimitReached, StoreError
from mimi_mqtt.files.forms import OVERHEAD_BYTES, read_form
from mimi_mqtt.files.upload_links import UploadLink, UploadLinks
from mimi_mqtt.files.uploads import Uploads
from mimi_mqtt.http.clients import client_address
from mimi_mqtt.http.limits import REFUSED, discard_body, file_body
from mimi_mqtt.http.replies import error_reply, json_reply
from mimi_mqtt.shares import Ledger, Rates, address_holder

UPLOAD_PATH: Final = "/xiaozhi/u/"
"""Start of the path of one-time links: short, as modem boards take 2 kB a message."""
GUESSES_PER_MINUTE: Final = 20
"""Wrong links of one client address; further ones are refused for a while."""
MAX_UPLOADS: Final = 16
"""Pictures that are being posted at once."""


class PictureUpload:
    """The endpoint of one-time links."""

    def __init__(self, links: UploadLinks, uploads: Uploads, ledger: Ledger) -> None:
        self._links = links
        self._uploads = uploads
        self._ledger = ledger
        self._guesses = Rates(GUESSES_PER_MINUTE / 60, GUESSES_PER_MINUTE)
        self._count = 0

    def routes(self) -> list[Route]:
        """POST alone."""
        return [Route(UPLOAD_PATH + "{secret}", self.post, methods=["POST"])]

    async def post(self, request: Request) -> Response:
        """Takes a picture, once; 404 for a link that is not open, and 429 for too many of those."""
        reply = await self._answer(request)
        if reply.status_code >= 400:
            await discard_body(request, 2 * self._uploads.max_bytes)
        return reply

    async def _answer(self, request: Request) -> Response:
        now = asyncio.get_running_loop().time()
        if self._count >= MAX_UPLOADS:
            REFUSED.labels("uploads").inc()
            return error_reply(429, "other pictures are being sent", {"Retry-After": "5"})
        link = self._links.take(request.path_params["secret"], now)
        if link is None:
            return self._not_found(address_holder(client_address(request.scope)), now)
        self._count += 1
        try:
            return await self._take(request, link)
        finally:
            self._count -= 1

    async def _take(self, request: Request, link: UploadLink) -> Response:
        body = file_body(request, self._uploads.max_bytes + OVERHEAD_BYTES, "files.max_upload_mb")
        close = {"Connection": "close"}
        try:
            form = await read_form(
                request.headers.get("content-type", ""), body, fields={}, file="file", take=self._uploads.put
            )
            if form.file is None:
                raise Invalid("the form has no picture in its field 'file'")
            upload = await self._uploads.add(link, form.file)
        except HTTPException as error:
            if error.status_code != 413:
                raise
            return error_reply(413, error.detail, close)
        except FileTooLarge as error:
            return error_reply(413, f"{error} (files.max_upload_mb)", close)
        except LimitReached as error:
            return error_reply(507, str(error), close)
        except Invalid as error:
            return error_reply(400, str(error), close)
        except FilesError:
            return error_reply(503, "the picture can't be stored: see the server's log", close)
        except StoreError:
            return error_reply(503, "the server's database does not work: see its log", close)
        link.upload_id = upload.id
        return json_reply({"success": True})

    def _not_found(self, holder: str, now: float) -> Response:
        close = {"Connection": "close"}
        if self._guesses.take(holder, now):
            return error_reply(404, "this link was used already, or its time is over", close)
        self._ledger.refuse("guesses of one-time links", holder, now)
        wait_s = math.ceil(self._guesses.wait_s(holder, now))
        return error_reply(
            429, "too many uploads to links that are not there", {"Retry-After": str(wait_s), **close}
        )
