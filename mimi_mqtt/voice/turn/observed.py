"""Turn log of one agent that also publishes each finished turn as a domain event, without its text."""

from collections.abc import Mapping

from mimi_mqtt.events import EventBus, TurnEnded
from mimi_mqtt.store.conversations import TurnRecord
from mimi_mqtt.voice.ports import TurnLog


class ObservedTurns:
    """Implements `ports.TurnLog`: hands turns on to `log` and publishes `TurnEnded` on `events`.

    `providers` is role -> name of those that the agent asks.
    """

    def __init__(self, log: TurnLog, events: EventBus, providers: Mapping[str, str]) -> None:
        self._log = log
        self._events = events
        self._providers = dict(providers)

    def add_turn(self, record: TurnRecord) -> None:
        """See `ports.TurnLog`."""
        self._log.add_turn(record)
        if self._events.wanted(TurnEnded):
            self._events.publish(
                TurnEnded(
                    device_id=record.device_id,
                    session_id=record.session_id,
                    number=record.number,
                    kind=record.kind,
                    mode=record.mode,
                    outcome=record.outcome,
                    stages_ms=dict(record.timings_ms),
                    providers=self._providers,
                    tools=record.tools_called,
                )
            )
