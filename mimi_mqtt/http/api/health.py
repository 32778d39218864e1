"""Health of the server's parts, and problems that a person can mend."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.api.visibility import sees
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.problems import Problem, Severity

router = APIRouter(tags=["health"])


class KnownProblems(Protocol):
    """The problems of the server and its devices: `app.diagnosis.Diagnosis`."""

    async def current(self) -> Sequence[Problem]:
        """All of them, after a look at what can be looked at."""

    def provider_works(self, role: str, name: str) -> None:
        """A provider was tried and works: it fails no more."""

    @property
    def checks(self) -> Mapping[str, bool]:
        """The names of the checks, and whether each found nothing when it looked last."""


Health = Callable[[], Mapping[str, PartHealth]]
"""The state of each part at this moment."""


class Part(BaseModel):
    """One part of the server."""

    ok: bool
    detail: str


class ProblemView(BaseModel):
    """A problem that a person can mend."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    """The same as long as the problem lasts."""
    severity: Severity
    kind: str
    """The sort of problem, such as `disk_low` (docs/api.md has all): for programs with words of their own."""
    values: dict[str, str | int | float | None]
    """The facts that the cause tells, by their names."""
    cause: str
    """The fault and its reason, in English."""
    cure: str
    """The way to mend it, in English."""
    device_id: str | None
    """The device that has it; empty for a problem of the server."""
    device_name: str
    since: datetime


class HealthReport(BaseModel):
    """The whole server's health."""

    ok: bool
    parts: dict[str, Part]
    checks: dict[str, bool] = Field(description="What was looked for, and whether there was no such problem")
    problems: list[ProblemView]


class ProblemList(BaseModel):
    """Problems, the most severe first."""

    problems: list[ProblemView]


@router.get("/health")
async def read_health(caller: Annotated[Caller, callers(Scope.HEALTH)], services: Services) -> HealthReport:
    """The state of each part of the server, and all problems. `ok` is false while a part does not work."""
    del caller
    parts = {name: Part(ok=part.ok, detail=part.detail) for name, part in services.health().items()}
    found = [_view(services, problem) for problem in await services.problems.current()]
    ok = all(part.ok for part in parts.values())
    return HealthReport(ok=ok, parts=parts, checks=dict(services.problems.checks), problems=found)


@router.get("/problems")
async def list_problems(
    caller: Annotated[Caller, callers(Scope.DEVICES_READ)], services: Services
) -> ProblemList:
    """Problems of the caller's devices, and those of the server for callers with the scope `health`."""
    server = caller.may(Scope.HEALTH)
    found = [
        _view(services, problem)
        for problem in await services.problems.current()
        if (server and (caller.is_admin or not problem.device_id))
        or (problem.device_id and sees(caller, services.directory.get(problem.device_id)))
    ]
    return ProblemList(problems=found)


def _view(services: ApiServices, problem: Problem) -> ProblemView:
    device = services.directory.get(problem.device_id) if problem.device_id else None
    return ProblemView(
        id=problem.id,
        severity=problem.severity,
        kind=problem.kind,
        values=dict(problem.values),
        cause=problem.cause,
        cure=problem.cure,
        device_id=problem.device_id or None,
        device_name=device.name if device is not None else "",
        since=problem.since,
    )
