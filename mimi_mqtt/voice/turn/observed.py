"""Turn log of one agent: names agent and providers in each record, and publishes the finished turn as a
domain event, without its text."""

from collections.abc import Mapping
from dataclasses import replace

from mimi_mqtt.events import EventBus, TurnEnded
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.voice.ports import TurnLog


class ObservedTurns:
    """Implements `ports.TurnLog`: hands turns on to `log` and publishes `TurnEnded` on `events`.

    `providers` is role -> name of those that the agent `agent` asks.
    """

    def __init__(self, log: TurnLog, events: EventBus, providers: Mapping[str, str], agent: str) -> None:
        self._log = log
        self._events = events
        self._providers = dict(providers)
        self._agent = agent

    def add_turn(self, record: TurnRecord) -> None:
        """See `ports.TurnLog`."""
        answered = {use.role: use.name for use in record.uses}
        record = replace(record, agent=self._agent, providers={**self._providers, **answered})
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
                    agent=record.agent,
                    error=record.error,
                )
            )
