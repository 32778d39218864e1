"""Timers, alarms and reminders of the caller's devices."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mimi_mqtt.errors import NotFound, ReminderStale
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.paging import Cursor, Limit, Page, key_of, moment_in, page_of
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.api.visibility import MAX_ID_CHARS, name_of, sees, visible
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.reminders import ReminderRecord, sort_key
from mimi_mqtt.tools.reminders.recurrence import MAX_RULE_CHARS
from mimi_mqtt.tools.reminders.service import MAX_TEXT_CHARS, MAX_TIMER_S, Reminders, title

MAX_TIME_CHARS = 40
MAX_ZONE_CHARS = 64
MIN_EXPIRY_S = 60
MAX_EXPIRY_S = 30 * 86_400

router = APIRouter(prefix="/reminders", tags=["reminders"])

ReminderCaller = Annotated[Caller, callers(Scope.REMINDERS)]
ReminderId = Annotated[str, Path(max_length=MAX_ID_CHARS, description="The number of a reminder")]


class Pages(Protocol):
    """Pages of reminders: `store.reminders.ReminderTable`."""

    async def devices(self, *, ended: bool = False) -> Sequence[str]:
        """The devices that have any."""

    async def page(
        self,
        of: Sequence[str] | None,
        after: tuple[datetime, str] | None,
        limit: int,
        *,
        ended: bool = False,
        running: bool = True,
    ) -> Sequence[ReminderRecord]:
        """One page."""


class ReminderView(BaseModel):
    """A timer, alarm or reminder."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    device_id: str
    device_name: str
    """Empty: it has none."""
    kind: Literal["timer", "alarm", "reminder"]
    title: str
    """It in a few English words."""
    text: str
    due_at: datetime | None
    """When it is due next; empty when it never is again."""
    pending_at: datetime | None
    """When it was due, if it is still to be told."""
    wall: str | None
    """The time on the wall that it keeps, of an alarm or reminder."""
    timezone: str
    repeat: str
    """Its repetition, a rule of RFC 5545; empty: none."""
    duration_s: int | None
    """Of a timer."""
    ended_at: datetime | None
    created_at: datetime


class NewReminder(BaseModel):
    """A timer (`seconds`), or an alarm or reminder (`at`; a reminder has a text)."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    device_id: str = Field(max_length=MAX_ID_CHARS)
    seconds: int | None = Field(None, ge=1, le=MAX_TIMER_S)
    """The time until a timer is due."""
    at: str | None = Field(None, min_length=1, max_length=MAX_TIME_CHARS)
    """Local time: 2026-11-28T09:00, or 09:00 for the next nine o'clock."""
    text: str = Field("", max_length=MAX_TEXT_CHARS)
    """The thing to be reminded of, or the name of a timer."""
    repeat: str = Field("", max_length=MAX_RULE_CHARS)
    """hourly, daily, weekdays, weekends, weekly, monthly, yearly, or a rule of RFC 5545."""
    timezone: str | None = Field(None, min_length=1, max_length=MAX_ZONE_CHARS)
    """Default: the server's."""
    expires_s: int | None = Field(None, ge=MIN_EXPIRY_S, le=MAX_EXPIRY_S)
    """How long after its time it is still worth telling, in seconds."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> "NewReminder":
        if (self.seconds is None) == (self.at is None):
            raise ValueError("give `seconds` for a timer, or `at` for an alarm or a reminder")
        if self.seconds is not None and (self.repeat or self.timezone is not None):
            raise ValueError("a timer has neither a repetition nor a time zone")
        return self


class ReminderChange(BaseModel):
    """A change of an alarm or a reminder, or of a timer's text. A field that is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    at: str = Field("", max_length=MAX_TIME_CHARS)
    """Another local time, or time of day alone."""
    text: str | None = Field(None, max_length=MAX_TEXT_CHARS)
    repeat: str = Field("", max_length=MAX_RULE_CHARS)
    """Another repetition; `none` ends it."""
    timezone: str | None = Field(None, min_length=1, max_length=MAX_ZONE_CHARS)


class WantedPlan(BaseModel):
    """A time and a repetition whose occurrences are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    at: str = Field(min_length=1, max_length=MAX_TIME_CHARS)
    """Local time: 2026-11-28T09:00, or 09:00 for the next nine o'clock."""
    repeat: str = Field("", max_length=MAX_RULE_CHARS)
    """hourly, daily, weekdays, weekends, weekly, monthly, yearly, or a rule of RFC 5545."""
    timezone: str | None = Field(None, min_length=1, max_length=MAX_ZONE_CHARS)
    """Default: the server's."""


class ReminderPlan(BaseModel):
    """The occurrences that a reminder would have."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    timezone: str
    """The zone that it would be in."""
    repeat: str
    """The repetition as it would be kept; empty: none."""
    due: list[datetime]
    """The next times, at most eight."""


class Occurrences(BaseModel):
    """The next times that a reminder is due."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    items: list[datetime]
    """At most eight."""


@router.get("")
async def list_reminders(
    caller: ReminderCaller,
    services: Services,
    device: Annotated[str | None, Query(max_length=MAX_ID_CHARS, description="Of this device alone")] = None,
    ended: Annotated[bool, Query(description="Those that ended within the last days as well")] = False,
    running: Annotated[bool, Query(description="Those that have not ended")] = True,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ReminderView]:
    """The timers, alarms and reminders of the caller's devices, soonest first."""
    key = key_of(cursor, str, str)
    after = (moment_in(str(key[0])), str(key[1])) if key is not None else None
    of: Sequence[str] | None = None
    if device is not None:
        of = [visible(services.directory, caller, device).device_id]
    elif not caller.is_admin:
        having = await services.reminder_pages.devices(ended=ended)
        of = [device_id for device_id in having if sees(caller, services.directory.get(device_id))]
    found = await services.reminder_pages.page(of, after, limit + 1, ended=ended, running=running)
    last = found[min(limit, len(found)) - 1] if found else None
    sorted_by = (sort_key(last).isoformat(), last.id) if last is not None else ("", "")
    return page_of([_view(record, services) for record in found], limit, *sorted_by)


@router.post("", status_code=201)
async def create_reminder(
    wanted: NewReminder, caller: ReminderCaller, services: Services, response: Response
) -> ReminderView:
    """Sets a timer, an alarm or a reminder; the device says when it is due."""
    device_id = visible(services.directory, caller, wanted.device_id).device_id
    reminders: Reminders = services.reminders
    if wanted.seconds is not None:
        made = await reminders.set_timer(
            device_id, wanted.seconds, wanted.text, expires_s=wanted.expires_s, author=caller.author
        )
    else:
        made = await reminders.set_reminder(
            device_id, wanted.at or "", wanted.text, wanted.repeat, zone=wanted.timezone,
            owner=caller.user_id or None, expires_s=wanted.expires_s, author=caller.author,
        )  # fmt: skip
    etags.tell(response, made.version)
    return _view(made, services)


@router.post("/plan")
async def plan_reminder(wanted: WantedPlan, caller: ReminderCaller, services: Services) -> ReminderPlan:
    """Tells when an alarm or a reminder would be due, and sets nothing. A time or a repetition that can't be
    is refused with the reason."""
    plan = await services.reminders.planned(wanted.at, wanted.repeat, zone=wanted.timezone)
    return ReminderPlan(timezone=plan.zone, repeat=plan.rule, due=[*plan.due])


@router.get("/{reminder_id}")
async def read_reminder(
    reminder_id: ReminderId, caller: ReminderCaller, services: Services, response: Response
) -> ReminderView:
    """One timer, alarm or reminder."""
    found = await _visible(services, caller, reminder_id)
    etags.tell(response, found.version)
    return _view(found, services)


@router.get("/{reminder_id}/occurrences")
async def list_reminder_occurrences(
    reminder_id: ReminderId, caller: ReminderCaller, services: Services
) -> Occurrences:
    """The next times that a timer, alarm or reminder is due."""
    found = await _visible(services, caller, reminder_id)
    return Occurrences(items=[*await services.reminders.occurrences(found)])


@router.patch("/{reminder_id}")
async def change_reminder(
    reminder_id: ReminderId,
    wanted: ReminderChange,
    caller: ReminderCaller,
    services: Services,
    response: Response,
    if_match: etags.IfMatch = None,
) -> ReminderView:
    """Changes the time, the text or the repetition."""
    found = await _visible(services, caller, reminder_id)
    etags.check(if_match, found.version)
    try:
        changed = await services.reminders.change(
            found, at=wanted.at, text=wanted.text, repeat=wanted.repeat, zone=wanted.timezone,
            author=caller.author,
        )  # fmt: skip
    except ReminderStale as error:
        raise etags.stale(if_match, error) from None
    etags.tell(response, changed.version)
    return _view(changed, services)


@router.delete("/{reminder_id}", status_code=204)
async def cancel_reminder(
    reminder_id: ReminderId, caller: ReminderCaller, services: Services, if_match: etags.IfMatch = None
) -> None:
    """Cancels a timer, alarm or reminder."""
    found = await _visible(services, caller, reminder_id)
    etags.check(if_match, found.version)
    unchanged = etags.names_versions(if_match)
    try:
        await services.reminders.cancel(found, unchanged=unchanged, author=caller.author)
    except ReminderStale as error:
        raise etags.stale(if_match, error) from None


async def _visible(services: ApiServices, caller: Caller, reminder_id: str) -> ReminderRecord:
    found = await services.reminders.get(reminder_id)
    if found is None or not sees(caller, services.directory.get(found.device_id)):
        raise NotFound("there is no such reminder")
    return found


def _view(record: ReminderRecord, services: ApiServices) -> ReminderView:
    return ReminderView(
        id=record.id,
        device_id=record.device_id,
        device_name=name_of(services.directory, record.device_id),
        kind=record.kind,
        title=title(record),
        text=record.text,
        due_at=record.due_at,
        pending_at=record.pending_at,
        wall=record.wall.isoformat(timespec="minutes") if record.wall is not None else None,
        timezone=record.zone,
        repeat=record.rule,
        duration_s=record.duration_s if record.kind == "timer" else None,
        ended_at=record.ended_at,
        created_at=record.created_at,
    )
