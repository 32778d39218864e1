"""The health of one part of the server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartHealth:
    """`ok` while the part works, and one line about it for people."""

    ok: bool
    detail: str = ""
