"""Sound of notices over HTTP: fetched by devices at one-time addresses, and sent by people."""

import asyncio
import base64
import contextlib
import math
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mimi_mqtt.commands.model import CommandResult, Notify, Principal, Refusal
from mimi_mqtt.commands.notice_urls import Fetch, NoticeUrls
from mimi_mqtt.commands.request import reply
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.errors import LoginRefused
from mimi_mqtt.fleet.identity import Authenticator
from mimi_mqtt.http.clients import client_address
from mimi_mqtt.http.limits import REFUSED, read_body
from mimi_mqtt.http.replies import error_reply, json_reply
from mimi_mqtt.shares import Ledger, Rates, address_holder

NOTICE_PATH: Final = "/xiaozhi/n/"
"""Start of the path of one-time addresses: short, as modem boards take 2 kB a message."""
SEND_PATH: Final = "/xiaozhi/notify/{device_id}"
"""Path at which people send a sound."""
AHEAD_S: Final = 5.0
"""Seconds of sound that are sent ahead of their time: what a device has not fetched when a wake word ends the
notice is known then."""
GUESSES_PER_MINUTE: Final = 20
"""Wrong one-time addresses of one client address; further ones are refused for a while."""
MAX_FETCH_S: Final = 360.0
"""Longest time for one fetch, in seconds: the longest recording and a minute."""
MAX_UPLOAD_BYTES: Final = 8 << 20
"""Largest sound that is sent, in bytes."""
MAX_UPLOADS: Final = 4
"""Sounds that are being sent at once."""

_STATUS: Final[Mapping[Refusal, int]] = {
    Refusal.NOT_ALLOWED: 403,
    Refusal.UNKNOWN_DEVICE: 404,
    Refusal.BUSY: 429,
}


class NoticeSound:
    """The endpoint of one-time addresses."""

    def __init__(self, urls: NoticeUrls, ledger: Ledger) -> None:
        self._urls = urls
        self._ledger = ledger
        self._guesses = Rates(GUESSES_PER_MINUTE / 60, GUESSES_PER_MINUTE)

    def routes(self) -> list[Route]:
        """GET and HEAD; HEAD changes nothing."""
        return [Route(NOTICE_PATH + "{secret}", self.fetch, methods=["GET"])]

    async def fetch(self, request: Request) -> Response:
        """The sound, once; 404 for everything else, whether it was there once or never, and 429 for too many
        of those. A right address is always served: others may come from the same client address."""
        now = asyncio.get_running_loop().time()
        found = self._urls.find(request.path_params["secret"], now)
        if found is None:
            return self._not_found(address_holder(client_address(request.scope)), now)
        if request.method == "HEAD":
            return _SoundReply.head()
        found.begin(now)
        return _SoundReply(found)

    def _not_found(self, holder: str, now: float) -> Response:
        if self._guesses.take(holder, now):
            return error_reply(404, "there is no such sound, or it was fetched already")
        self._ledger.refuse("guesses of one-time addresses", holder, now)
        wait_s = math.ceil(self._guesses.wait_s(holder, now))
        return error_reply(
            429, "too many requests for sounds that are not there", {"Retry-After": str(wait_s)}
        )


class _SoundReply(Response):
    """A recording at the pace at which it is played, while it is made. No length is known: it is chunked."""

    def __init__(self, fetch: Fetch) -> None:
        super().__init__(media_type="audio/ogg")
        del self.headers["content-length"]
        self._fetch = fetch

    @staticmethod
    def head() -> Response:
        """The reply to HEAD."""
        reply = Response(media_type="audio/ogg")
        del reply.headers["content-length"]
        return reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Ends with the recording, the client, the fetch or `MAX_FETCH_S`, whichever comes first."""
        fetch, loop = self._fetch, asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        tasks = [
            loop.create_task(self._play(send), name="sound of a notice to a device"),
            loop.create_task(_gone(receive), name="end of a fetch"),
            loop.create_task(fetch.ended.wait(), name="end of a notice"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, timeout=MAX_FETCH_S, return_when=asyncio.FIRST_COMPLETED)
            whole = tasks[0] in done and tasks[1] not in done and tasks[0].exception() is None
            if whole:
                await send({"type": "http.response.body"})
            fetch.end(whole=whole)
        finally:
            fetch.end(whole=False)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not whole:
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body"})

    async def _play(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async for page in self._fetch.recording.read():
            ahead_s = page.begin_ms / 1000 - (loop.time() - began)
            if ahead_s > AHEAD_S:
                await asyncio.sleep(ahead_s - AHEAD_S)
            await send({"type": "http.response.body", "body": page.data, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Returns when the client has ended the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


class SoundUpload:
    """The endpoint at which people send a sound, with name and password (RFC 7617)."""

    def __init__(self, commands: Commands, authenticator: Authenticator) -> None:
        self._commands = commands
        self._authenticator = authenticator
        self._uploads = 0

    def routes(self) -> list[Route]:
        """POST alone."""
        return [Route(SEND_PATH, self.notify, methods=["POST"])]

    async def notify(self, request: Request) -> Response:
        """Has the device play the body, a sound file; `text`, `urgent` and `expires_s` are in the query."""
        principal = await self._principal(request)
        if self._uploads >= MAX_UPLOADS:
            REFUSED.labels("uploads").inc()
            return error_reply(429, "other sounds are being sent", {"Retry-After": "5"})
        self._uploads += 1
        try:
            sound = await read_body(request, MAX_UPLOAD_BYTES, "a sound's bound")
            if not sound:
                return error_reply(400, "the body must be a sound file")
            try:
                command = _command(request, sound)
            except ValueError as error:
                return error_reply(400, str(error))
            result = await self._commands.run(command, by=principal)
        finally:
            self._uploads -= 1
        return json_reply(reply("", command.name, result), _status(result))

    async def _principal(self, request: Request) -> Principal:
        """The client. Raises HTTPException 401, and 429 for a password that is not checked."""
        address = address_holder(client_address(request.scope))
        name, _, password = _basic(request.headers.get("authorization", "")).partition(":")
        try:
            outcome = self._authenticator.authenticate("http", name or None, password.encode(), address)
            identity = await outcome if isinstance(outcome, asyncio.Task) else outcome
        except LoginRefused as error:
            raise HTTPException(429, str(error), {"Retry-After": "60"}) from None
        principal = Principal.of(identity) if identity is not None and name else None
        if principal is None:
            raise HTTPException(
                401,
                "name and password of the administrator, or of the device, are needed",
                {"WWW-Authenticate": 'Basic realm="mimi_mqtt", charset="UTF-8"'},
            )
        return principal


def _basic(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        return ""


def _command(request: Request, sound: bytes) -> Notify:
    """The command of a request. Raises ValueError, which says what is wrong."""
    query = request.query_params
    unknown = sorted(set(query) - {"text", "urgent", "expires_s", "timeout_s"})
    if unknown:
        raise ValueError(
            f"there is no parameter {unknown[0][:40]!r}; there are: text, urgent, expires_s, timeout_s"
        )
    fields: dict[str, object] = {"device_id": request.path_params["device_id"], "audio": sound}
    if "text" in query:
        fields["text"] = query["text"]
    if "urgent" in query:
        if query["urgent"] not in ("true", "false"):
            raise ValueError("parameter 'urgent' must be true or false")
        fields["urgent"] = query["urgent"] == "true"
    for name in ("expires_s", "timeout_s"):
        if name in query:
            try:
                fields[name] = float(query[name][:32])
            except ValueError:
                raise ValueError(f"parameter {name!r} must be a number of seconds") from None
    try:
        return Notify.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def _status(result: CommandResult) -> int:
    if result.refusal is not None:
        return _STATUS.get(result.refusal, 400)
    return 200 if result.status == "done" else 500
