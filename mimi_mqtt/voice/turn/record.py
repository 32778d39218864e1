"""Record of a finished turn: its line in the log, its metrics, and what the store keeps of it."""

import logging
from datetime import datetime
from typing import Final, Literal

from prometheus_client import Counter, Histogram

from mimi_mqtt.store.conversations import TurnRecord
from mimi_mqtt.voice.answer.context import TurnContext

_log = logging.getLogger(__name__)

Kind = Literal["utterance", "wake word", "greeting", "announcement"]

_turns: Final = Counter("mimi_turns_total", "Turns in which something was said.", ("kind", "outcome"))
_stages: Final = Histogram(
    "mimi_turn_stage_seconds",
    "From the end of the user's speech to each stage of the turn; for tools how long they took.",
    ("stage",),
    buckets=(0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)


def record(
    turn: TurnContext, *, number: int, kind: Kind, started_at: datetime, said: str, spoke: bool
) -> TurnRecord | None:
    """Counts and logs a turn that is over; its record, or None when nothing happened in it.

    `said` is what the user has heard in reply; `spoke`: `tts start` went out.
    """
    eventful = turn.heard or spoke or turn.outcome in ("stuck", "failed")
    if turn.outcome == "continued" or not eventful:
        _log.debug("turn %d: %s", number, turn.outcome)
        return None
    timings = turn.timings.as_ms()
    _turns.labels(kind, turn.outcome).inc()
    if kind == "utterance":
        for stage, ms in timings.items():
            _stages.labels(stage).observe(max(ms, 0.0) / 1000)
    stages = " ".join(f"{stage}={ms:.0f}" for stage, ms in timings.items())
    _log.info("turn %d, %s: %s; ms after speech: %s", number, kind, turn.outcome, stages)
    return TurnRecord(
        kind=kind,
        session_id=turn.conversation.session_id,
        device_id=turn.conversation.device_id,
        number=number,
        started_at=started_at,
        mode=turn.mode or "",
        heard=turn.heard,
        reply=said,
        outcome=turn.outcome,
        timings_ms=timings,
        tools_called=tuple(turn.reply.tools_called) if turn.reply is not None else (),
    )
