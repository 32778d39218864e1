"""The log for listeners over HTTP: the last lines, and further ones as they are written.

A listener reads from a place of its own in the lines that are kept; one that reads too slowly falls out of
them and is ended.
"""

import asyncio
import logging
import re
import secrets
from collections import Counter as Tally
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from mimi_mqtt.errors import LimitReached, LoginRefused, StoreError
from mimi_mqtt.log.recent import Line, RecentLines, Wanted
from mimi_mqtt.people.access import Authenticator, Caller, Presented, Scope, Via
from mimi_mqtt.wire import strict_json

MAX_LISTENERS: Final = 20
"""Listeners at once."""
MAX_PER_CALLER: Final = 5
"""Listeners of one caller at once."""
BATCH_S: Final = 0.2
"""Seconds in which lines are put together for a listener."""
MAX_BATCH: Final = 200
"""Lines that a listener is sent at once."""
HEARTBEAT_S: Final = 15.0
"""Seconds without a line after which a listener is sent a comment, so that proxies keep the connection."""
RIGHTS_EVERY_S: Final = 0.8
"""Seconds between two checks of the rights of a listener."""
RIGHTS_UNKNOWN_S: Final = 30.0
"""Seconds for which a listener goes on while its rights can't be checked."""

_RETRY_MS: Final = 3_000
_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")


@dataclass(slots=True, eq=False)
class LogListener:
    """One reader of the log; made by `LogFeed.listen`."""

    feed: "LogFeed"
    caller: Caller
    shown: Presented
    wanted: Wanted
    position: int
    """The number of the last line that it has read."""
    missed: bool = False
    ended: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    checked_at: float = 0.0

    def end(self, reason: str) -> None:
        """Has the stream end soon."""
        if not self.ended:
            self.ended = reason
            self.wake.set()

    async def frames(self) -> AsyncIterator[bytes]:
        """The frames to send, as they come, until the end."""
        loop = asyncio.get_running_loop()
        self.checked_at = sent_at = loop.time()
        yield f"retry: {_RETRY_MS}\n: connected\n\n".encode()
        if self.missed:
            yield b'event: missed\ndata: {"event":"missed"}\n\n'
            # Lines that were pushed out since it was opened are among those that it was told of.
            self.position = max(self.position, self.feed.lines.pushed_out)
            self.checked_at = loop.time()
        while not self.ended:
            self.wake.clear()
            if not await self._has_rights(loop.time()):
                return
            lines, self.position, missed = self.feed.lines.after(self.wanted, self.position, MAX_BATCH)
            if missed:
                self.end("slow")
                return
            if lines:
                sent_at = loop.time()
                yield b"".join(self.feed.frame(line) for line in lines)
                await asyncio.sleep(BATCH_S)
                continue
            if loop.time() - sent_at >= HEARTBEAT_S:
                sent_at = loop.time()
                yield b": \n\n"
            try:
                async with asyncio.timeout(RIGHTS_EVERY_S):
                    await self.wake.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(BATCH_S)

    async def _has_rights(self, now: float) -> bool:
        """False when the listener is to see nothing more."""
        # The password of the command line is good for a minute; who has it can read the server's secret.
        if now - self.checked_at < RIGHTS_EVERY_S or self.caller.via is Via.COMMAND_LINE:
            return True
        try:
            caller = await self.feed.authenticator.authenticate(self.shown)
        except (LoginRefused, StoreError):
            if now - self.checked_at > RIGHTS_UNKNOWN_S:
                self.end("unchecked")
            return not self.ended
        if caller is None or not caller.may(Scope.LOGS):
            self.end("rights")
        self.checked_at = now
        return not self.ended


class LogFeed:
    """Passes the lines on to listeners. Belongs to the loop's thread."""

    def __init__(self, lines: RecentLines, authenticator: Authenticator) -> None:
        self.lines = lines
        self.authenticator = authenticator
        self._run = secrets.token_hex(4)
        self._listeners: set[LogListener] = set()
        self._by_caller: Tally[str] = Tally()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_told = False
        self._closed = False

    def __len__(self) -> int:
        """Listeners."""
        return len(self._listeners)

    def close(self) -> None:
        """Ends all streams; there are no new ones. Safe to call twice."""
        self._closed = True
        for listener in self._listeners:
            listener.end("stop")

    def frame(self, line: Line) -> bytes:
        """The line as it is sent."""
        return (
            f"id: {self._run}-{line.number}\nevent: line\ndata: ".encode()
            + strict_json.dumps(told(line))
            + b"\n\n"
        )

    @contextmanager
    def listen(
        self, caller: Caller, shown: Presented, wanted: Wanted, last_id: str | None = None
    ) -> Iterator[LogListener]:
        """A listener for the time of the block; `last_id` is that of the last line seen. Raises
        LimitReached."""
        holder = caller.user_id or caller.name
        if self._closed:
            raise LimitReached("the server is being stopped", 10)
        if self._by_caller[holder] >= MAX_PER_CALLER:
            raise LimitReached(f"{MAX_PER_CALLER} logs of one caller are open, which is the most", 10)
        if len(self._listeners) >= MAX_LISTENERS:
            raise LimitReached(f"{MAX_LISTENERS} logs are open, which is the most", 10)
        position, missed = self._resume(last_id)
        listener = LogListener(self, caller, shown, wanted, position, missed)
        self._loop = asyncio.get_running_loop()
        unwatch = self.lines.watch(self._written)
        self._listeners.add(listener)
        self._by_caller[holder] += 1
        try:
            yield listener
        finally:
            unwatch()
            self._listeners.discard(listener)
            self._by_caller[holder] -= 1
            if not self._by_caller[holder]:
                del self._by_caller[holder]

    def _resume(self, last_id: str | None) -> tuple[int, bool]:
        """The number of the line to go on behind, and whether lines are missing."""
        if last_id is None:
            return self.lines.last, False
        match = _ID.fullmatch(last_id)
        if match is None or match[1] != self._run or int(match[2]) > self.lines.last:
            return self.lines.pushed_out, True
        number, lost = int(match[2]), self.lines.pushed_out
        return max(number, lost), number < lost

    def _written(self) -> None:
        """A line was written, by whatever thread."""
        if self._is_told or self._loop is None:
            return
        self._is_told = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed: the process ends
            return

    def _wake(self) -> None:
        self._is_told = False
        for listener in self._listeners:
            listener.wake.set()


def told(line: Line) -> dict[str, object]:
    """A line for JSON: the fields of `http.api.logs.LogLine`."""
    fields = dict(line.fields)
    return {
        "number": line.number,
        "at": datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds"),
        "level": logging.getLevelName(line.level).lower(),
        "part": line.part,
        "message": line.message,
        "device_id": fields.pop("device", None),
        "session_id": fields.pop("session", None),
        "turn": fields.pop("turn", None),
        "fields": fields,
        "exception": line.exception or None,
    }
