"""A line of the report of `mimi-mqtt doctor`."""

from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: the part examined, its state, and the cure."""

    grade: Grade
    what: str
    detail: str
    cure: str = ""
