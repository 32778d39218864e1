"""The health of one part of the server, and the outcome of a check of it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class PartHealth:
    """`ok` while the part works, and one line about it for people."""

    ok: bool
    detail: str = ""


Grade = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check: `told` is what was found or went wrong, `cure` mends it, `ms` is the time of
    the round trip."""

    check: str
    grade: Grade
    told: str
    ms: float | None = None
    cure: str = ""
