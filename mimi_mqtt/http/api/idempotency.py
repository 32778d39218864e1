"""Idempotency keys: a request that is sent again is answered with the result of the first one.

A client that does not know whether its request arrived sends it again with the same `Idempotency-Key`. Keys
are the caller's own; results are kept for a day. A second request that comes while the first is carried out
waits for its result; on another node, or after a restart amid the first, it is refused, as the result is not
known.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol

from fastapi import Header

from mimi_mqtt.errors import Conflict, Invalid, StoreError
from mimi_mqtt.people.access import Caller
from mimi_mqtt.store.idempotency import KnownRequest

_log = logging.getLogger(__name__)

MAX_KEY_CHARS: Final = 128
"""Longest idempotency key."""
WAIT_S: Final = 65.0
"""Longest wait for the result of the same request, in seconds: that of the longest command and some more."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=MAX_KEY_CHARS,
        pattern=r"^[\x21-\x7e]+$",
        description="A key of your own, such as a UUID: with the same key the request is carried out once "
        "within 24 hours, and answered again with its first result",
    ),
]


class RequestRows(Protocol):
    """Where requests are kept: `store.idempotency.IdempotencyTable`, which documents the methods."""

    async def begin(self, id_: str, caller: str, digest: str, now: datetime) -> KnownRequest | None:
        """Notes a request, or returns the known one."""

    async def finish(self, id_: str, result: str) -> None:
        """Keeps a result."""

    async def forget(self, id_: str) -> None:
        """Forgets a request."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a request, as text. `kept` False: nothing happened, so the same key may try again."""

    result: str
    kept: bool = True


@dataclass(frozen=True, slots=True)
class _Running:
    digest: str
    ended: asyncio.Event


class Idempotency:
    """Carries requests out once a key. `now` is the present moment."""

    def __init__(
        self,
        rows: RequestRows,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        wait_s: float = WAIT_S,
    ) -> None:
        self._rows = rows
        self._now = now
        self._wait_s = wait_s
        self._running: dict[str, _Running] = {}

    async def once(
        self, caller: Caller, key: str | None, asked: bytes, carry_out: Callable[[], Awaitable[Outcome]]
    ) -> tuple[str, bool]:
        """The result, and whether it is that of an earlier request. `asked` is all that the request asks for,
        its path included; without a `key` it is carried out in any case.

        Raises Conflict while the earlier one's result is not known, Invalid when the key was used for
        something else, LimitReached and StoreError, in all of which nothing was carried out; and what
        `carry_out` raises, after which the result counts as unknown.
        """
        if key is None:
            return (await carry_out()).result, False
        holder = caller.user_id or caller.name
        id_ = hashlib.sha256(f"{holder}\0{key}".encode()).hexdigest()
        # In a thread: a sound has megabytes, and devices wait for the loop.
        digest = await asyncio.to_thread(lambda: hashlib.sha256(asked).hexdigest())
        while (running := self._running.get(id_)) is not None:
            _check(running.digest, digest)
            await self._wait(running)
        running = self._running[id_] = _Running(digest, asyncio.Event())
        try:
            known = await self._rows.begin(id_, holder, digest, self._now())
            if known is not None:
                _check(known.digest, digest)
                if not known.result:
                    raise Conflict(
                        "a request with this idempotency key was begun, and its result is not known (yet): "
                        "look whether it was carried out, and use another key"
                    )
                return known.result, True
            outcome = await carry_out()
            await self._keep(id_, outcome)
            return outcome.result, False
        finally:
            del self._running[id_]
            running.ended.set()

    async def _keep(self, id_: str, outcome: Outcome) -> None:
        """Keeps the result. A failure is logged: the sender has to know that his request was carried out."""
        try:
            if outcome.kept:
                await self._rows.finish(id_, outcome.result)
            else:
                await self._rows.forget(id_)
        except StoreError as error:
            _log.error("the result of a request with an idempotency key could not be kept: %s", error)

    async def _wait(self, running: _Running) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await running.ended.wait()
        except TimeoutError:
            raise Conflict("the same request is being carried out: ask again later") from None


def _check(known: str, digest: str) -> None:
    if known != digest:
        raise Invalid("Idempotency-Key: it was used for another request: choose a new one")
