"""Statistics of turns by day, device, agent or provider."""

from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from mimi_mqtt.errors import Invalid
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.conversations import Agent, Device, asker_of
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.scalars import NoNumber
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.api.visibility import shown_name
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.statistics import By, Statistic

DEFAULT_DAYS: Final = 30
"""Days that are told when no time is given."""
MAX_DAYS: Final = 3_700
"""Longest time, in days."""

router = APIRouter(prefix="/statistics", tags=["statistics"])


FirstDay = Annotated[date | None, NoNumber, Query(alias="from", description="First day; 30 days without")]
LastDay = Annotated[date | None, NoNumber, Query(alias="to", description="Last day, included; today without")]


class Statistics(BaseModel):
    """Sums of one day, device, agent or provider; what it is not of is empty."""

    day: date | None = Field(description="In the server's time zone (`server.timezone`)")
    device: str
    device_name: str = Field(description="Empty: not known, or not the caller's to see")
    agent: str
    role: str
    provider: str
    turns: int = Field(description="Turns; of a provider those in which it answered")
    failed: int
    errors: dict[str, int] = Field(description="Failures by their kind, such as `timeout`")
    minutes: float = Field(description="Minutes of speech: the user's, and of replies that were heard")
    cost: float = Field(description="By the price table; what has no price costs nothing")
    p50_ms: float | None = Field(
        description="Median ms from the end of the user's speech to the first sound, within 10 %; of a "
        "provider the time that it took. Null: nothing was measured"
    )
    p95_ms: float | None
    input_tokens: int
    output_tokens: int
    input_audio_tokens: int
    output_audio_tokens: int
    audio_s: float = Field(description="Seconds of audio that were transcribed")
    characters: int = Field(description="Characters that were spoken")


class StatisticsPage(Page[Statistics]):
    """A page of statistics, and what it is of."""

    since: date = Field(serialization_alias="from")
    until: date = Field(serialization_alias="to")
    timezone: str = Field(description="Of the days")


@router.get("")
async def read_statistics(
    services: Services,
    caller: Annotated[Caller, callers(Scope.STATISTICS)],
    by: Annotated[
        Literal["day", "device", "agent", "provider"], Query(description="What is added up")
    ] = "day",
    since: FirstDay = None,
    until: LastDay = None,
    device: Device = None,
    agent: Agent = None,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
) -> StatisticsPage:
    """Sums of days, in the order of their days or names. A member sees those of his own devices, and of
    devices that are shared with him."""
    zone = services.conversations.zone
    first, last = _span(services, since, until)
    found = await services.conversations.statistics(
        asker_of(caller), by, first, last,
        device_id=device, agent=agent, limit=limit + 1, after=_after(by, cursor),
    )  # fmt: skip
    key = _key(by, found[:limit][-1]) if found else ("",)
    items = [_statistics(each, _device_name(services, caller, each)) for each in found]
    page = page_of(items, limit, *key)
    return StatisticsPage(items=page.items, next=page.next, since=first, until=last, timezone=str(zone))


@router.get("/total")
async def read_total(
    services: Services,
    caller: Annotated[Caller, callers(Scope.STATISTICS)],
    since: FirstDay = None,
    until: LastDay = None,
    device: Device = None,
) -> Statistics:
    """The sums of all days together, with their percentiles, which can't be added up from those of days."""
    first, last = _span(services, since, until)
    return _statistics(await services.conversations.total(asker_of(caller), first, last, device))


def _span(services: ApiServices, since: date | None, until: date | None) -> tuple[date, date]:
    """The first and the last day. Raises Invalid."""
    last = until or datetime.now(services.conversations.zone).date()
    try:
        first = since or last - timedelta(days=DEFAULT_DAYS - 1)
    except OverflowError:
        raise Invalid("to: the calendar has no such days before it") from None
    if not timedelta(0) <= last - first < timedelta(days=MAX_DAYS):
        raise Invalid(f"from, to: the last day comes after the first one, by less than {MAX_DAYS} days")
    return first, last


def _key(by: By, last: Statistic) -> tuple[str, ...]:
    if by == "provider":
        return last.role, last.provider
    if by == "day":
        return ((last.day or date.min).isoformat(),)
    return (last.device_id,) if by == "device" else (last.agent,)


def _after(by: By, cursor: str | None) -> tuple[object, ...] | None:
    key = key_of(cursor, *([str, str] if by == "provider" else [str]))
    if key is None or by != "day":
        return None if key is None else tuple(str(part) for part in key)
    try:
        return (date.fromisoformat(str(key[0])),)
    except ValueError:
        raise Invalid("cursor: use `next` of the page before, as it is") from None


def _device_name(services: ApiServices, caller: Caller, found: Statistic) -> str:
    return shown_name(services.directory, caller, found.device_id) if found.device_id else ""


def _statistics(found: Statistic, device_name: str = "") -> Statistics:
    numbers = found.numbers
    return Statistics(
        day=found.day,
        device=found.device_id,
        device_name=device_name,
        agent=found.agent,
        role=found.role,
        provider=found.provider,
        turns=int(numbers["turns"]),
        failed=int(numbers["failed"]),
        errors=dict(found.errors),
        minutes=round((numbers["heard_s"] + numbers["spoken_s"]) / 60, 2),
        cost=round(numbers["cost"], 6),
        p50_ms=found.p50_ms,
        p95_ms=found.p95_ms,
        input_tokens=int(numbers["input_tokens"]),
        output_tokens=int(numbers["output_tokens"]),
        input_audio_tokens=int(numbers["input_audio_tokens"]),
        output_audio_tokens=int(numbers["output_audio_tokens"]),
        audio_s=round(numbers["audio_s"], 1),
        characters=int(numbers["characters"]),
    )
