"""Domain events and the bus that carries them: what happened, for all beside the conversation; pure.

An event is a frozen dataclass with ids and a time. It holds no secrets and no speech: no text that was heard
or spoken, no arguments or results of tools, no keys. Parts of the server publish events where they happen;
observers (presence on the broker, metrics, the turn log, integrations) subscribe to the types they need.

Publishing never waits and never raises. An observer is a function that returns at once; one with slow work
subscribes an `EventQueue` and drains it from a task of its own.
"""

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

from prometheus_client import Counter

_log = logging.getLogger(__name__)

MAX_OBSERVERS: Final = 64
"""Subscriptions of one bus at once."""
MAX_DEPTH: Final = 4
"""Events published from inside an observer, by nesting: deeper ones are dropped and counted as a failure
of the observer, so that two observers that answer each other end."""
LOGGED_AGAIN_S: Final = 60.0
"""Seconds between two log entries about one failing or slow observer."""
SLOW_S: Final = 0.02
"""Longest time that an observer may hold the publisher up, in seconds: a third of an audio frame."""

_failures = Counter(
    "mimi_event_observer_failures_total", "Events that an observer failed to handle.", ["observer"]
)
_slow = Counter(
    "mimi_event_observer_slow_total", "Events whose publisher an observer held up too long.", ["observer"]
)
_dropped = Counter(
    "mimi_event_observer_dropped_total", "Events dropped because an observer's queue was full.", ["observer"]
)


def utc_now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


# ── what happened ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything that happened; `at` is in UTC."""

    on_request: ClassVar[bool] = False
    """True for events that only observers get which name their very type: there are many of them."""

    at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEvent(Event):
    """Something that happened to one device; `device_id` is its MAC address in lower case with `-`."""

    device_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBooted(DeviceEvent):
    """A known device asked for its configuration (OTA); `board` and `firmware` are what it says of itself."""

    board: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConnected(DeviceEvent):
    """A device's control connection was opened and authenticated; `transport` is `mqtt` or `websocket`.

    `board` and `firmware` are what the device last said of itself when it booted, empty when unknown.
    """

    transport: str
    board: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceGone(DeviceEvent):
    """The device's last control connection is gone."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRevoked(DeviceEvent):
    """The device's credentials stopped being good: it was revoked or forgotten, or has new ones.

    `moved`: it belongs to another person now, or to nobody: what waits for it was its owner's.
    """

    moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened(DeviceEvent):
    """A hello was answered; `transport` is its audio's (`udp`, `websocket`), `agent` its agent's key."""

    session_id: str
    transport: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRefused(DeviceEvent):
    """A hello was answered with an alert; `reason` is the sentence that the device shows. Told once until one
    is answered."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded(DeviceEvent):
    """A session is over; `reason` is one of a few words, `duration_s` its length in seconds."""

    session_id: str
    reason: str
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded(DeviceEvent):
    """A turn of a conversation is over.

    `number` counts from 1 in its session. `kind` is what began it (`utterance`, `announcement`, …), `mode`
    the listening mode, `outcome` how it ended, all as in the turn's record. `stages_ms` is from the end of
    the user's speech, in ms (see the timings in `voice`). `providers` is role -> name of the provider asked,
    or of several in their order joined by `+`; `tools` has the names of the tools that were called. `agent`
    is the key of the agent, `error` the kind of a failure, such as `timeout`.
    """

    session_id: str
    number: int
    kind: str
    mode: str
    outcome: str
    stages_ms: Mapping[str, float] = field(default_factory=dict, hash=False)
    providers: Mapping[str, str] = field(default_factory=dict, hash=False)
    tools: tuple[str, ...] = ()
    agent: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStage(DeviceEvent):
    """A turn that is not over has reached a stage, `ms` after the end of the user's speech.

    `number` counts from 1 in its session, `stage` is one of the timings in `voice`. Stages of an answer that
    was begun before the end was decided are told with that decision; their `ms` may be before it.
    """

    on_request: ClassVar[bool] = True

    session_id: str
    number: int
    stage: str
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled(DeviceEvent):
    """A tool ran for a device, for an answer or a command; `duration_ms` is in ms."""

    tool: str
    ok: bool
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEvent(Event):
    """Something about a provider; `role` is `stt`, `llm`, `tts`, `s2s` or `vad`, `name` as in `providers`."""

    role: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFailed(ProviderEvent):
    """A provider is rested for its failures; `kind` is the class of its last error, such as
    `ProviderTimeout`."""

    kind: str
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRecovered(ProviderEvent):
    """A provider that was rested works again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRan(DeviceEvent):
    """A command for a device was carried out or refused.

    `by` names who asked; `status` is that of the command's result, `refusal` its reason or empty.
    """

    command: str
    by: str
    status: str
    refusal: str = ""
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeTold(DeviceEvent):
    """Something became of the notice `notice_id`.

    `outcome` is `delivered` (fetched to the end), `partly` (fetched in part), `spoken` (in a conversation),
    `shown`, `expired` or `dropped`. `over`: nothing more will come of it; a notice that was shown may still
    be spoken.
    """

    notice_id: str
    outcome: str
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OtaAnswered(DeviceEvent):
    """The OTA request of a device was answered: `answer` as in the log of OTA requests, where it can be read
    from now on. Devices that may not come in ask, too."""

    answer: str
    board: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtaRefused(Event):
    """A request to the OTA address was refused that is not one of a device; `reason` is for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInstall(Event):
    """The installation of a local model went on to `state`: `waiting`, `running`, `installed`, `failed`,
    `cancelled`, or `removed`."""

    model: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollOutHalted(Event):
    """A roll-out of firmware halted by itself: too many devices did not come back; `reason` is for people."""

    rollout_id: int
    board: str
    version: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollOutChanged(Event):
    """A roll-out of firmware was made, changed or deleted; `state` is its new one, "" when it was deleted."""

    rollout_id: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryProgressed(DeviceEvent):
    """A device came further with a file that it fetches.

    `kind` is `firmware`, with `number` the id of the roll-out, or `assets`, with that of the assets; `state`
    is that of the device there, `bytes_sent` the bytes that it was sent from the start of the file on.
    """

    kind: str
    number: int
    state: str
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadStored(DeviceEvent):
    """A picture of the device was stored; `kind` is `screenshot` or `photo`."""

    upload_id: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReminderChanged(DeviceEvent):
    """A timer, alarm or reminder was `set`, `changed`, `cancelled`, is `due`, was `told`, or is `dropped`
    because it could not be told in time."""

    reminder_id: str
    change: str


Publish: TypeAlias = Callable[[Event], None]
"""Takes an event: `EventBus.publish`."""


def unheard(event: Event) -> None:
    """Takes an event that nobody is to hear of. A `Publish`."""
    del event


_WORDS: Final = re.compile(r"(?<!^)(?=[A-Z])")


def name_of(kind: type[Event]) -> str:
    """The name of a type of event as people and programs know it: `turn_ended`."""
    return _name(kind.__name__)


@lru_cache(maxsize=256)
def _name(words: str) -> str:
    return _WORDS.sub("_", words).lower()


def told(event: Event) -> dict[str, object]:
    """An event for JSON: `event` is its name, `at` its time, and each field by its own name, with numbers to
    one decimal. Without `device_id`, which whoever tells it adds."""
    said: dict[str, object] = {
        "event": name_of(type(event)),
        "at": event.at.isoformat(timespec="milliseconds"),
    }
    for each in fields(event):
        if each.name not in ("at", "device_id"):
            value = getattr(event, each.name)
            said[each.name] = round(value, 1) if isinstance(value, float) else value
    return said


# ── the bus ──────────────────────────────────────────────────────────────────────────────────────────────

E = TypeVar("E", bound=Event)


class TooManyObservers(RuntimeError):
    """`MAX_OBSERVERS` are subscribed already: a part subscribes again and again without closing."""


class Subscription:
    """One observer's place on the bus, until `close`."""

    __slots__ = ("_bus", "_call", "_failures", "_slow", "_told_at", "_types", "name")

    def __init__(
        self, bus: "EventBus", name: str, call: Callable[[Any], None], types: tuple[type[Event], ...]
    ) -> None:
        self.name = name
        self._bus: EventBus | None = bus
        self._call = call
        self._types = types
        self._failures = _failures.labels(name)
        self._slow = _slow.labels(name)
        self._told_at: float | None = None

    def close(self) -> None:
        """Ends the subscription: no event is delivered from now on. Safe to call twice."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus._remove(self)

    def _wants(self, kind: type[Event]) -> bool:
        return kind in self._types or (not kind.on_request and issubclass(kind, self._types))

    def _deliver(self, event: Event, clock: Callable[[], float]) -> None:
        if self._bus is None:  # closed by an observer before it, for the same event
            return
        began = clock()
        try:
            self._call(event)
        except Exception:  # noqa: BLE001 - the border of an observer: the publisher and the others go on
            self._failed(event, clock())
        now = clock()
        if now - began > SLOW_S:
            self._was_slow(event, now, now - began)

    def _may_tell(self, now: float) -> bool:
        if self._told_at is not None and now - self._told_at < LOGGED_AGAIN_S:
            return False
        self._told_at = now
        return True

    def _was_slow(self, event: Event, now: float, took_s: float) -> None:
        self._slow.inc()
        if self._may_tell(now):
            _log.warning(
                "the observer %s took %.0f ms for %s: slow work belongs behind an EventQueue",
                self.name, took_s * 1000, type(event).__name__,
            )  # fmt: skip

    def _failed(self, event: Event, now: float) -> None:
        self._failures.inc()
        if self._may_tell(now):
            _log.exception(
                "the observer %s failed on %s; it stays subscribed", self.name, type(event).__name__
            )

    def _too_deep(self, event: Event, now: float) -> None:
        self._failures.inc()
        if self._may_tell(now):
            _log.error(
                "%s was published %d levels deep inside observers: not delivered to %s",
                type(event).__name__, MAX_DEPTH, self.name,
            )  # fmt: skip


class EventBus:
    """Delivers each published event to the observers of its type, in the order of their subscription.

    Belongs to the event loop's thread. `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._subscriptions: tuple[Subscription, ...] = ()
        self._routes: dict[type[Event], tuple[Subscription, ...]] = {}
        self._depth = 0

    def __len__(self) -> int:
        """Subscriptions."""
        return len(self._subscriptions)

    def subscribe(self, observer: Callable[[E], None], *types: type[E], name: str) -> Subscription:
        """Calls `observer` with every later event of `types` and their subclasses; without types, with all.
        Types that are `on_request` are named themselves.

        `observer` returns at once; what it raises is logged and counted under `name`, which is one of a few
        fixed words. Raises TooManyObservers.
        """
        if len(self._subscriptions) >= MAX_OBSERVERS:
            raise TooManyObservers(f"{MAX_OBSERVERS} observers are subscribed; {name} can't be")
        subscription = Subscription(self, name, observer, types or (Event,))
        # Replaced, never changed in place: an observer may subscribe or close while an event is delivered.
        self._subscriptions = (*self._subscriptions, subscription)
        self._routes = {}
        return subscription

    def wanted(self, kind: type[Event]) -> bool:
        """True when an event of exactly this type has an observer; false spares the caller making it."""
        return bool(self._route(kind))

    def publish(self, event: Event) -> None:
        """Delivers `event` before it returns. Never raises."""
        observers = self._routes.get(type(event))
        if observers is None:
            observers = self._route(type(event))
        if not observers:
            return
        if self._depth >= MAX_DEPTH:
            for subscription in observers:
                subscription._too_deep(event, self._clock())
            return
        self._depth += 1
        try:
            for subscription in observers:
                subscription._deliver(event, self._clock)
        finally:
            self._depth -= 1

    def _route(self, kind: type[Event]) -> tuple[Subscription, ...]:
        route = self._routes.get(kind)
        if route is None:
            route = tuple(each for each in self._subscriptions if each._wants(kind))
            self._routes[kind] = route
        return route

    def _remove(self, subscription: Subscription) -> None:
        self._subscriptions = tuple(each for each in self._subscriptions if each is not subscription)
        self._routes = {}


class EventQueue(Generic[E]):
    """An observer that keeps events for a consumer with slow work; of more than `max_events`, the oldest go.

    `wake` is called when the queue stops being empty (such as `asyncio.Event.set`); the consumer then calls
    `take`. `name` is its label in `/metrics`.
    """

    def __init__(
        self, name: str, *, max_events: int = 1_000, wake: Callable[[], object] | None = None
    ) -> None:
        if max_events < 1:
            raise ValueError("a queue holds at least one event")
        self.dropped = 0
        """Events that the consumer will never see."""
        self._events: deque[E] = deque(maxlen=max_events)
        self._max_events = max_events
        self._wake = wake
        self._counter = _dropped.labels(name)

    def __len__(self) -> int:
        """Events that wait."""
        return len(self._events)

    def __call__(self, event: E) -> None:
        """Keeps `event`, the newest."""
        if len(self._events) >= self._max_events:
            self.dropped += 1
            self._counter.inc()
        self._events.append(event)
        if len(self._events) == 1 and self._wake is not None:
            self._wake()

    def take(self, at_most: int | None = None) -> list[E]:
        """Removes and returns the oldest `at_most` events, all without a number; in their order."""
        number = len(self._events) if at_most is None else min(at_most, len(self._events))
        return [self._events.popleft() for _ in range(number)]
