"""What a part of the server says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartHealth:
    """Whether a part works, and one line about it for people."""

    ok: bool
    detail: str = ""
