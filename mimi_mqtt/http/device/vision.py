"""Photos of devices' cameras over HTTP, with a question about each (device contract, section 6)."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mimi_mqtt.commands.vision import VISION_PATHS, Vision, VisionTokens
from mimi_mqtt.errors import FileTooLarge, Invalid, ProtocolError
from mimi_mqtt.files.forms import OVERHEAD_BYTES, read_form
from mimi_mqtt.files.images import HEAD_BYTES, media_type
from mimi_mqtt.http.clients import client_address
from mimi_mqtt.http.limits import discard_body, file_body
from mimi_mqtt.http.replies import json_reply
from mimi_mqtt.shares import Ledger, Rates, address_holder
from mimi_mqtt.wire.topics import device_id_from_mac

MAX_PHOTO_BYTES: Final = 2 << 20
"""Largest photo, in bytes: it is in memory while it is looked at."""
MAX_QUESTION_BYTES: Final = 2_000
"""Longest question about a photo, in bytes."""
GUESSES_PER_MINUTE: Final = 20
"""Wrong tokens of one client address; further ones are refused for a while."""

Keep = Callable[[str, str, bytes], None]
"""Called with a device, its session ("" for none) and its photo, which may be kept."""


class PhotoQuestions:
    """The endpoint of photos with a question."""

    def __init__(self, vision: Vision, tokens: VisionTokens, ledger: Ledger, keep: Keep) -> None:
        self._vision = vision
        self._tokens = tokens
        self._ledger = ledger
        self._keep = keep
        self._guesses = Rates(GUESSES_PER_MINUTE / 60, GUESSES_PER_MINUTE)

    def routes(self) -> list[Route]:
        """POST alone."""
        return [Route(path, self.explain, methods=["POST"]) for path in VISION_PATHS]

    async def explain(self, request: Request) -> Response:
        """Answers with 200 and `success`, as the firmware hands the text on whatever it is; 401 and 429 for a
        request that is no device's."""
        device_id, token = _device(request), _bearer(request)
        session_id = self._tokens.session(token, device_id, time.time()) if device_id and token else None
        if session_id is None:
            reply = self._refused(address_holder(client_address(request.scope)))
        elif problem := self._vision.begin(device_id):
            reply = _failed(problem)
        else:
            try:
                return await self._answer(request, device_id, session_id)
            finally:
                self._vision.end(device_id)
        await discard_body(request, MAX_PHOTO_BYTES + OVERHEAD_BYTES)
        return reply

    async def _answer(self, request: Request, device_id: str, session_id: str) -> Response:
        body = file_body(request, MAX_PHOTO_BYTES + OVERHEAD_BYTES, f"{MAX_PHOTO_BYTES} bytes of photo")
        try:
            form = await read_form(
                request.headers.get("content-type", ""),
                body,
                fields={"question": MAX_QUESTION_BYTES},
                file="file",
                take=_photo,
            )
            if form.file is None:
                raise Invalid("the form has no photo in its field 'file'")
        except (Invalid, HTTPException) as error:
            await discard_body(request, 2 * MAX_PHOTO_BYTES)
            return _failed(error.detail if isinstance(error, HTTPException) else str(error))
        self._keep(device_id, session_id, form.file)
        explained = await self._vision.explain(device_id, form.fields.get("question", ""), form.file)
        if not explained.success:
            return _failed(explained.text)
        return json_reply({"success": True, "action": "RESPONSE", "response": explained.text})

    def _refused(self, holder: str) -> Response:
        now = asyncio.get_running_loop().time()
        if self._guesses.take(holder, now):
            told = "the token is not this device's, or its session is over"
            return json_reply({"success": False, "message": told}, 401, {"Connection": "close"})
        self._ledger.refuse("guesses of photo tokens", holder, now)
        headers = {"Retry-After": str(math.ceil(self._guesses.wait_s(holder, now))), "Connection": "close"}
        return json_reply({"success": False, "message": "too many wrong tokens"}, 429, headers)


async def _photo(parts: AsyncIterator[bytes]) -> bytes:
    """The bytes of a JPEG file. Raises Invalid for anything else, and FileTooLarge."""
    photo = bytearray()
    async for part in parts:
        photo += part
        if len(photo) > MAX_PHOTO_BYTES:
            raise FileTooLarge(f"the photo is larger than {MAX_PHOTO_BYTES} bytes")
    if media_type(bytes(photo[:HEAD_BYTES])) != "image/jpeg":
        raise Invalid("the photo is no JPEG file")
    return bytes(photo)


def _failed(message: str) -> Response:
    return json_reply({"success": False, "message": message})


def _device(request: Request) -> str:
    """The id of the device that the request names; "" for none."""
    try:
        return device_id_from_mac(request.headers.get("device-id", ""))
    except (ProtocolError, ValueError):
        return ""


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip()[:512] if scheme.lower() == "bearer" else ""
