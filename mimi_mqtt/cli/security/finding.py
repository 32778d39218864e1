"""One line of the security report."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "advice", "warning"]
"""`warning`: someone can get at what is not theirs, or stop the server. `advice`: it can be made harder."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Subject of a check, its result, and the cure: a command or a setting, empty when all is well."""

    level: Level
    what: str
    seen: str
    cure: str = ""
