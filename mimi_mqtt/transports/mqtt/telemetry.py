"""Presence and events of devices for general clients: `mimi/devices/<id>/state` and `…/event`.

Both follow from domain events (`docs/mqtt.md`). Many devices may come at once, and a hello must be answered
first: events wait in a bounded queue and are published in slices.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from mimi_mqtt.events import (
    DeviceBooted,
    DeviceConnected,
    DeviceEvent,
    DeviceGone,
    DeviceRevoked,
    EventBus,
    EventQueue,
    SessionEnded,
    SessionOpened,
    Subscription,
    told,
)
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.transports.mqtt.borders import run_each
from mimi_mqtt.wire import strict_json
from mimi_mqtt.wire.topics import device_topic

MAX_WAITING: Final = 20_000
"""Events that wait to be published: two for each of ten thousand devices; of more, the oldest are dropped."""
SLICE: Final = 50
"""Events that are published before others have their turn."""

Publish = Callable[[str, bytes, bool], None]
"""Topic, payload, and whether it is retained."""


@dataclass(slots=True)
class _Presence:
    """A device that is connected, or whose session goes on without its connection."""

    online: bool = False
    since: str = ""
    transport: str = ""
    board: str = ""
    firmware: str = ""
    session_id: str = ""
    agent: str = ""


class Telemetry:
    """Publishes by `publish` what the events on `bus` tell of devices.

    `watched` tells whether any general client is connected that could see an event. Make it and `start` it on
    the running loop, then `await aclose()`.
    """

    def __init__(self, bus: EventBus, publish: Publish, watched: Callable[[], bool]) -> None:
        self._bus = bus
        self._publish = publish
        self._watched = watched
        self._wake = asyncio.Event()
        self._queue: EventQueue[DeviceEvent] = EventQueue(
            "telemetry", max_events=MAX_WAITING, wake=self._wake.set
        )
        self._present: dict[str, _Presence] = {}
        self._subscription: Subscription | None = None
        self._loop = SupervisedLoop("mqtt telemetry", self._publish_some)

    @property
    def healthy(self) -> bool:
        """True while events are published."""
        return self._loop.healthy

    def start(self) -> None:
        """Publishes from now on."""
        if self._subscription is None:
            self._subscription = self._bus.subscribe(self._queue, DeviceEvent, name="telemetry")
            self._loop.start()

    async def aclose(self) -> None:
        """Publishes the events that wait, and nothing more; safe to call twice."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        subscription.close()
        await self._loop.aclose()
        while len(self._queue):
            self._publish_slice()

    async def _publish_some(self) -> None:
        await self._wake.wait()
        self._publish_slice()
        if not len(self._queue):
            self._wake.clear()
        await asyncio.sleep(0)

    def _publish_slice(self) -> None:
        run_each("telemetry", self._steps(self._queue.take(SLICE)))

    def _steps(self, events: Sequence[DeviceEvent]) -> Iterator[Callable[[], None]]:
        """Publishes `events`, then the states they lead to; a step that fails keeps no other back."""
        states: dict[str, _Presence | None] = {}
        for event in events:
            yield partial(self._note_state, event, states)
        if self._watched():
            for event in events:
                yield partial(self._publish_event, event)
        for device_id, present in states.items():
            yield partial(self._publish_state, device_id, present)

    def _publish_state(self, device_id: str, present: _Presence | None) -> None:
        state = b"" if present is None else _state_json(present)
        self._publish(device_topic(device_id, "state"), state, True)

    def _publish_event(self, event: DeviceEvent) -> None:
        self._publish(device_topic(event.device_id, "event"), event_json(event), False)

    def _note_state(self, event: DeviceEvent, states: dict[str, _Presence | None]) -> None:
        """Enters the state that the device has after `event` into `states`, where it changed; None, which
        clears it, for a revoked device."""
        device_id = event.device_id
        present = self._present.get(device_id)
        match event:
            case DeviceConnected():
                present = self._present.setdefault(device_id, _Presence())
                present.online, present.since, present.transport = True, _time_of(event), event.transport
                present.board, present.firmware = event.board, event.firmware
            case DeviceBooted() if present is not None:
                present.board, present.firmware = event.board, event.firmware
            case DeviceGone() if present is not None:
                present.online, present.since = False, _time_of(event)
            case SessionOpened():
                if present is None:
                    present = self._present[device_id] = _Presence(since=_time_of(event))
                present.session_id, present.agent = event.session_id, event.agent
            case SessionEnded() if present is not None and present.session_id == event.session_id:
                present.session_id = present.agent = ""
            case DeviceRevoked():
                self._present.pop(device_id, None)
                states[device_id] = None
                return
            case _:
                return
        if not present.online and not present.session_id:
            del self._present[device_id]
        states[device_id] = present


def _time_of(event: DeviceEvent) -> str:
    return event.at.isoformat(timespec="seconds")


def _state_json(present: _Presence) -> bytes:
    return strict_json.dumps(
        {
            "state": "online" if present.online else "offline",
            "since": present.since,
            "transport": present.transport,
            "board": present.board,
            "firmware": present.firmware,
            "session": present.session_id or None,
            "agent": present.agent or None,
        }
    )


def event_json(event: DeviceEvent) -> bytes:
    """An event as JSON: `event` is its name (`turn_ended`), `at` its time, and each field by its own name."""
    return strict_json.dumps(told(event))
