"""Problems that a person can mend: what is wrong, with which device, why, and what to do; pure.

Parts of the server report what they notice, and checks are asked when somebody wants to know. A problem has
an id of its own, so that the same one is told once, with the moment since when it is there.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeAlias

Value: TypeAlias = str | int | float | None

MAX_PROBLEMS: Final = 1_000
"""Problems that are known at once; of more, the oldest of the least severity go."""


class Severity(StrEnum):
    """How much a problem matters."""

    ERROR = "error"
    """Something does not work."""
    WARNING = "warning"
    """Something works worse than it could, or will stop working."""
    INFO = "info"
    """A person is waited for."""


_ORDER: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem. `id` is stable while it lasts, such as `store.disk` or `device.udp:aa-bb-cc-00-11-22`;
    `cause` says what is wrong and why, `cure` what a person can do; neither holds secrets or speech."""

    id: str
    severity: Severity
    cause: str
    cure: str
    kind: str = "other"
    """The sort of problem for programs, such as `disk_low`: with `values` they tell it in their own words."""
    values: Mapping[str, Value] = field(default_factory=dict, hash=False)
    """The facts in `cause`, by their names."""
    device_id: str = ""
    """The device that has it; "" for a problem of the server."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))


class Problems:
    """The problems that are known: those reported, and those that the last check of each kind found."""

    def __init__(self, most: int = MAX_PROBLEMS) -> None:
        self._most = most
        self._known: OrderedDict[str, Problem] = OrderedDict()
        self._checks: dict[str, set[str]] = {}
        self.dropped = 0
        """Problems that there was no room for."""

    def __len__(self) -> int:
        return len(self._known)

    def report(self, problem: Problem) -> None:
        """Notes a problem; one that is known keeps the moment since when it is."""
        known = self._known.get(problem.id)
        if known is not None:
            self._known[problem.id] = replace(problem, since=known.since)
            return
        self._known[problem.id] = problem
        if len(self._known) > self._most:
            self.dropped += 1
            least = max(self._known.values(), key=lambda each: _ORDER[each.severity])
            del self._known[least.id]

    def resolve(self, id_: str) -> None:
        """Forgets a problem that is over, if it was known."""
        self._known.pop(id_, None)

    def found(self, check: str, problems: Iterable[Problem]) -> None:
        """Takes over all that a check finds now: what it found before and finds no more is over."""
        now = {problem.id: problem for problem in problems}
        for id_ in self._checks.get(check, set()) - now.keys():
            self.resolve(id_)
        self._checks[check] = set(now)
        for problem in now.values():
            self.report(problem)

    def found_by(self, check: str) -> int:
        """The number of problems that a check found the last time."""
        return len(self._checks.get(check, ()))

    def current(self) -> list[Problem]:
        """All of them, the most severe first, then the oldest."""
        return sorted(self._known.values(), key=lambda each: (_ORDER[each.severity], each.since, each.id))
