"""Record of a finished turn: its line in the log, its metrics, and what the store keeps of it."""

import logging
from datetime import datetime
from typing import Final, Literal

from prometheus_client import Counter, Histogram

from mimi_mqtt.providers.runtime.usage import UsageMeter
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.voice.answer.context import TurnContext
from mimi_mqtt.voice.turn.failures import failure_kind

_log = logging.getLogger(__name__)

Kind = Literal["utterance", "typed", "wake word", "greeting", "announcement"]

_turns: Final = Counter("mimi_turns_total", "Turns in which something was said.", ("kind", "outcome"))
_stages: Final = Histogram(
    "mimi_turn_stage_seconds",
    "From the end of the user's speech to each stage of the turn; for tools how long they took.",
    ("stage",),
    buckets=(0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)


def record(
    turn: TurnContext,
    *,
    number: int,
    kind: Kind,
    started_at: datetime,
    said: str,
    spoke: bool,
    error: str = "",
    spoken_s: float = 0.0,
) -> TurnRecord | None:
    """Counts and logs a turn that is over; its record, or None when nothing happened in it.

    `said` is what the user has heard in reply, `spoken_s` how long that took, in seconds; `spoke`: `tts
    start` went out. `error` is the kind of a failure that no provider is to blame for.
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
    usage = UsageMeter()
    if turn.utterance is not None:
        usage.take(turn.utterance.usage)
    usage.take(turn.usage)
    error_role = ""
    if turn.misheard is not None:
        error, error_role = failure_kind(turn.misheard), "stt"
    elif turn.reply is not None and turn.reply.failure is not None:
        error, error_role = failure_kind(turn.reply.failure), turn.reply.failed_role
    return TurnRecord(
        kind=kind,
        session_id=turn.conversation.session_id,
        device_id=turn.conversation.device_id,
        owner_id=turn.conversation.owner_id,
        number=number,
        started_at=started_at,
        mode=turn.mode or "",
        heard=turn.heard,
        reply=said,
        outcome=turn.outcome,
        timings_ms=timings,
        tools_called=tuple(turn.reply.tools_called) if turn.reply is not None else (),
        tool_spans=turn.timings.tool_spans(),
        uses=usage.uses,
        error=error,
        error_role=error_role,
        heard_s=turn.utterance.seconds if turn.utterance is not None and turn.utterance.began else 0.0,
        spoken_s=spoken_s,
    )
