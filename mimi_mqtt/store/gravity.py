"""Gravity of outcomes: a conversation has the gravest outcome of its turns; pure."""

from typing import Final

GRAVITY: Final = (
    "nothing heard", "answered", "stopped", "aborted", "interrupted", "closed", "failed", "stuck"
)  # fmt: skip
"""Outcomes of turns, the gravest last."""


def graver(one: str, other: str) -> str:
    """The graver of two outcomes; an unknown one is the least grave."""
    return max(one, other, key=lambda outcome: GRAVITY.index(outcome) if outcome in GRAVITY else -1)
