"""Domain events for listeners over HTTP: kept for a while, and passed on to whoever may know of them.

All listeners read the same bounded row of events, each from a place of its own, and an event is serialised
once. A listener that does not read falls out of the row and is ended; one that comes back says which event it
saw last (`Last-Event-ID`) and gets what came since, or is told that it missed some.
"""

import asyncio
import json
import re
import secrets
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter, Gauge

from mimi_mqtt.errors import Invalid, LimitReached, LoginRefused, StoreError
from mimi_mqtt.events import (
    DeviceEvent,
    Event,
    EventBus,
    ProviderEvent,
    Subscription,
    TurnStage,
    name_of,
    told,
)
from mimi_mqtt.http.api.visibility import Devices
from mimi_mqtt.people.access import Authenticator, Caller, Presented, Scope, Via
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.wire import strict_json

MAX_KEPT: Final = 2_048
"""Events that are kept; a listener that has not read the oldest of them is ended."""
MAX_LISTENERS: Final = 200
"""Listeners at once."""
MAX_PER_CALLER: Final = 10
"""Listeners of one caller at once."""
HEARTBEAT_S: Final = 15.0
"""Seconds without an event after which a listener is sent a comment, so that proxies keep the connection."""
RIGHTS_EVERY_S: Final = 0.4
"""Seconds between two checks of the rights of listeners."""
RIGHTS_UNKNOWN_S: Final = 30.0
"""Seconds for which a listener goes on while its rights can't be checked."""
MAX_EVENT_ID_CHARS: Final = 64
"""Longest `Last-Event-ID`."""
MAX_OWNERS: Final = 10_000
"""Devices whose last owner is remembered: who may know that a device was revoked."""
MAX_CHUNK_BYTES: Final = 32_768
"""Bytes that a listener is sent at once."""

_RETRY_MS: Final = 3_000
_STAGES: Final = name_of(TurnStage)
_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")

_listening = Gauge("mimi_api_event_listeners", "Listeners of the event stream.")
_ended = Counter(
    "mimi_api_event_listeners_ended_total", "Listeners ended by the server, by reason.", ["reason"]
)


@dataclass(slots=True)
class _Kept:
    """An event of the row, and what it is for everybody."""

    number: int
    event: Event
    belonging: tuple[str, str] | None = None
    """Owner and group of its device when it happened; None when they are not known."""
    frame: bytes = b""

    @property
    def device_id(self) -> str:
        return self.event.device_id if isinstance(self.event, DeviceEvent) else ""


def event_names() -> set[str]:
    """The names of all events."""
    found: set[str] = set()
    waiting: list[type[Event]] = [Event]
    while waiting:
        kind = waiting.pop()
        waiting += (below := kind.__subclasses__())
        if not below:
            found.add(name_of(kind))
    # A dataclass with slots is made of another class of its name, which may still be there.
    return found - {name_of(kind) for kind in (DeviceEvent, ProviderEvent)}


class Listener:
    """One reader of the events; made by `EventFeed.listen`."""

    def __init__(
        self,
        feed: "EventFeed",
        caller: Caller,
        shown: Presented,
        types: frozenset[str],
        device_id: str,
        position: int,
        missed: str,
    ) -> None:
        self.caller = caller
        self.shown = shown
        self.types = types
        self.device_id = device_id
        self.position = position
        """The number of the first event that it has not read."""
        self.checked_at = asyncio.get_running_loop().time()
        """When its rights were known the last time, by the loop's clock."""
        self.ended = ""
        """The reason of its end; empty until then."""
        self.wake = asyncio.Event()
        self._feed = feed
        self._missed = missed

    def end(self, reason: str) -> None:
        """Has the stream end soon."""
        if not self.ended:
            self.ended = reason
            self.wake.set()

    def wants(self, kept: _Kept) -> bool:
        """True when the event is of the types and the device that were asked for."""
        kind = type(kept.event)
        if (self.types or kind.on_request) and name_of(kind) not in self.types:
            return False
        return not self.device_id or kept.device_id == self.device_id

    async def frames(self) -> AsyncIterator[bytes]:
        """The frames to send, as they come, until the end."""
        yield f"retry: {_RETRY_MS}\n: connected\n\n".encode()
        if self._missed:
            yield self._feed.missed(self._missed)
        while not self.ended:
            self.wake.clear()
            chunk = self._feed.read(self)
            if chunk:
                yield chunk
                continue
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self.wake.wait()
            except TimeoutError:
                yield b": \n\n"


class EventFeed:
    """Passes the events on `bus` to listeners. `start` on the running loop, then `close` and `aclose`.

    `devices` says whose a device is. A member is told of an event when the device was his as it happened, and
    is his as it is passed on: what happened before a device changed hands is nobody's but its first owner's,
    and its first owner is not told of it any more.
    """

    def __init__(self, bus: EventBus, devices: Devices) -> None:
        self._bus = bus
        self._devices = devices
        self._run = secrets.token_hex(4)
        self._kept: dict[int, _Kept] = {}
        self._next = 1
        self._listeners: set[Listener] = set()
        self._by_caller: Tally[str] = Tally()
        self._owners: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._subscription: Subscription | None = None
        self._stages: Subscription | None = None
        """Open while somebody listens to the stages of turns."""
        self._staged: Tally[str] = Tally()
        """Devices whose stages are listened to, by the number of listeners."""
        self._closed = False
        self._authenticator: Authenticator | None = None
        self._rights = SupervisedLoop("rights of event listeners", self._check, every_s=RIGHTS_EVERY_S)

    def __len__(self) -> int:
        """Listeners."""
        return len(self._listeners)

    @property
    def healthy(self) -> bool:
        """True while the rights of listeners are checked."""
        return self._rights.healthy

    def start(self, authenticator: Authenticator) -> None:
        """Keeps events from now on, and has `authenticator` confirm the callers of listeners."""
        self._authenticator = authenticator
        self._subscription = self._bus.subscribe(self._happened, name="event stream")
        self._rights.start()

    def close(self) -> None:
        """Ends all streams; there are no new ones. Safe to call twice."""
        self._closed = True
        for listener in self._listeners:
            listener.end("stop")

    async def aclose(self) -> None:
        """Ends all streams and keeps no more events; safe to call twice."""
        self.close()
        for subscription in (self._subscription, self._stages):
            if subscription is not None:
                subscription.close()
        await self._rights.aclose()

    # ── listeners ────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def listen(
        self,
        caller: Caller,
        shown: Presented,
        *,
        types: frozenset[str] = frozenset(),
        device_id: str = "",
        last_id: str | None = None,
    ) -> Iterator[Listener]:
        """A listener for the time of the block. `types` (names) and `device_id` select events, empty for all;
        `last_id` is that of the last event seen. Raises LimitReached, and Invalid for the stages of every
        device's turns."""
        staged = device_id if _STAGES in types else ""
        if _STAGES in types and not device_id:
            raise Invalid(f"types: {_STAGES} is told of one device: name it in `device`")
        holder = caller.user_id or caller.name
        if self._closed:
            raise LimitReached("the server is being stopped", 10)
        if self._by_caller[holder] >= MAX_PER_CALLER:
            raise LimitReached(
                f"{MAX_PER_CALLER} event streams of one caller are open, which is the most", 10
            )
        if len(self._listeners) >= MAX_LISTENERS:
            raise LimitReached(f"{MAX_LISTENERS} event streams are open, which is the most", 10)
        position, missed = self._resume(last_id)
        listener = Listener(self, caller, shown, types, device_id, position, missed)
        self._listeners.add(listener)
        self._by_caller[holder] += 1
        self._stage_listener(staged, 1)
        _listening.inc()
        try:
            yield listener
        finally:
            _listening.dec()
            self._listeners.discard(listener)
            self._stage_listener(staged, -1)
            self._by_caller[holder] -= 1
            if not self._by_caller[holder]:
                del self._by_caller[holder]
            if listener.ended:
                _ended.labels(listener.ended).inc()

    def _resume(self, last_id: str | None) -> tuple[int, str]:
        """The number of the event to go on with, and why some are missing, empty when none are."""
        if last_id is None:
            return self._next, ""
        match = _ID.fullmatch(last_id)
        oldest = self._oldest
        if match is None or (match[1] == self._run and int(match[2]) >= self._next):
            return self._next, "unknown"
        if match[1] != self._run:
            return oldest, "restart"
        wanted = int(match[2]) + 1
        return (wanted, "") if wanted >= oldest else (oldest, "too_old")

    @property
    def _oldest(self) -> int:
        return next(iter(self._kept), self._next)

    def missed(self, reason: str) -> bytes:
        """The frame that tells a listener of events that it did not get."""
        text = json.dumps({"event": "missed", "reason": reason})
        return f"event: missed\ndata: {text}\n\n".encode()

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────

    def _stage_listener(self, device_id: str, change: int) -> None:
        """A listener to the stages of a device's turns comes or goes. Of all others' nothing is kept."""
        if not device_id:
            return
        self._staged[device_id] += change
        self._staged = +self._staged
        if self._staged and self._stages is None:
            self._stages = self._bus.subscribe(self._stage_reached, TurnStage, name="stages of turns")
        elif not self._staged and self._stages is not None:
            self._stages.close()
            self._stages = None

    def _stage_reached(self, event: TurnStage) -> None:
        if event.device_id in self._staged:
            self._happened(event)

    def _happened(self, event: Event) -> None:
        kept = _Kept(self._next, event)
        self._next += 1
        self._kept[kept.number] = kept
        if kept.device_id:
            kept.belonging = self._belonging(kept.device_id)
        if len(self._kept) > MAX_KEPT:
            del self._kept[self._oldest]
        oldest = self._oldest
        for listener in self._listeners:
            if listener.wants(kept) and self._may_see(listener.caller, kept):
                listener.wake.set()
            elif listener.position == kept.number:
                listener.position += 1  # it has read all before, and this one is not for it
            if listener.position < oldest:
                listener.end("slow")

    def read(self, listener: Listener) -> bytes:
        """The backlog of a listener: frames of the next events that it may see now; empty when it has seen
        all."""
        chunk = bytearray()
        while (kept := self._kept.get(listener.position)) is not None and len(chunk) < MAX_CHUNK_BYTES:
            listener.position += 1
            if listener.wants(kept) and self._may_see(listener.caller, kept):
                chunk += kept.frame or self._frame(kept)
        return bytes(chunk)

    def _frame(self, kept: _Kept) -> bytes:
        """The event as it is sent; made for the first listener."""
        fields = told(kept.event)
        if kept.device_id:
            fields["device_id"] = kept.device_id
        head = f"id: {self._run}-{kept.number}\nevent: {fields['event']}\ndata: ".encode()
        kept.frame = head + strict_json.dumps(fields) + b"\n\n"
        return kept.frame

    def _belonging(self, device_id: str) -> tuple[str, str] | None:
        """Owner and group of a device: the last that were known when it is no longer there."""
        device = self._devices.get(device_id)
        if device is None:
            return self._owners.get(device_id)
        self._owners[device_id] = (device.owner_id, device.group_id)
        self._owners.move_to_end(device_id)
        if len(self._owners) > MAX_OWNERS:
            self._owners.popitem(last=False)
        return self._owners[device_id]

    def _may_see(self, caller: Caller, kept: _Kept) -> bool:
        """True when the caller might know of the event as it happened, and may at this moment."""
        if caller.is_admin:
            return True
        if kept.belonging is None or not caller.sees(*kept.belonging):
            return False
        device = self._devices.get(kept.device_id)
        return device is None or caller.sees(device.owner_id, device.group_id)

    # ── rights ───────────────────────────────────────────────────────────────────────────────────────────

    async def _check(self) -> None:
        """Confirms the callers of all listeners, each once however many streams it has."""
        by_shown: dict[Presented, list[Listener]] = {}
        for listener in self._listeners:
            # The password of the command line is good for a minute; who has it can read the server's secret.
            if listener.caller.via is not Via.COMMAND_LINE:
                by_shown.setdefault(listener.shown, []).append(listener)
        for shown, listeners in by_shown.items():
            await self._check_one(shown, listeners)

    async def _check_one(self, shown: Presented, listeners: list[Listener]) -> None:
        if self._authenticator is None:
            return
        try:
            caller = await self._authenticator.authenticate(shown)
        except (LoginRefused, StoreError):
            # Of all: a database that hangs takes its time for each.
            now = asyncio.get_running_loop().time()
            for listener in self._listeners:
                if (
                    now - listener.checked_at > RIGHTS_UNKNOWN_S
                    and listener.caller.via is not Via.COMMAND_LINE
                ):
                    listener.end("unchecked")
            return
        for listener in listeners:
            listener.checked_at = asyncio.get_running_loop().time()
            if caller is None or not caller.may(Scope.EVENTS):
                listener.end("rights")
            else:
                listener.caller = caller


def selected(names: list[str]) -> frozenset[str]:
    """The names of events; several may be joined by commas. Raises Invalid."""
    known = event_names()
    asked = {name.strip() for joined in names for name in joined.split(",") if name.strip()}
    if unknown := sorted(asked - known):
        raise Invalid(f"types: there is no event {unknown[0][:40]!r}; there are: {', '.join(sorted(known))}")
    return frozenset(asked)
