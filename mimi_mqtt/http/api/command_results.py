"""Results of commands as answers: what was not done becomes a problem document."""

from typing import Final

from mimi_mqtt.commands.model import CommandResult, Refusal
from mimi_mqtt.http.api.problems import Problem

_STATUS: Final = {
    Refusal.UNKNOWN_DEVICE: 404,
    Refusal.NOT_ALLOWED: 403,
    Refusal.NOT_CONNECTED: 409,
    Refusal.NO_SESSION: 409,
    Refusal.UNSUPPORTED: 409,
    Refusal.BUSY: 429,
}
"""Statuses of refusals; 422 for the others."""
_RETRY_AFTER_S: Final = "5"


def require_done(name: str, result: CommandResult) -> None:
    """Raises Problem for a command that was not carried out: 504 when it timed out, 502 when it failed."""
    if result.status == "done":
        return
    more: dict[str, object] = {"command": name, "outcome": result.status}
    if result.status == "refused" and result.refusal is not None:
        status = _STATUS.get(result.refusal, 422)
        headers = {"Retry-After": _RETRY_AFTER_S} if status == 429 else None
        raise Problem(status, result.message, headers=headers, more={**more, "reason": result.refusal.value})
    raise Problem(504 if result.status == "timed_out" else 502, result.message, more=more)
