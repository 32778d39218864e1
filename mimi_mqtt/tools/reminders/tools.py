"""The tools that set, list, change and cancel timers, alarms and reminders by voice."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from mimi_mqtt.errors import ReminderError, StoreError, ToolError
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.providers.durations import spoken_duration
from mimi_mqtt.store.reminders import ReminderRecord
from mimi_mqtt.tools.registry import Tool
from mimi_mqtt.tools.reminders.recurrence import MAX_RULE_CHARS, WORDS
from mimi_mqtt.tools.reminders.scheduler import ReminderScheduler
from mimi_mqtt.tools.reminders.service import MAX_TEXT_CHARS, MAX_TIMER_S, Reminders, title

_TIME_CHARS: Final = 40
_WHICH: Final = {"type": "string", "maxLength": MAX_TEXT_CHARS, "description": "its id, text or time"}
_TEXT: Final = {"type": "string", "maxLength": MAX_TEXT_CHARS}
_TIME: Final = {
    "type": "string",
    "maxLength": _TIME_CHARS,
    "description": "local time: 2026-11-28T09:00, or 09:00 for the next nine o'clock",
}
_REPEAT: Final = {
    "type": "string",
    "maxLength": MAX_RULE_CHARS,
    "description": f"{', '.join(WORDS)}, or an RFC 5545 rule: FREQ=WEEKLY;BYDAY=MO,TH",
}

_SET_TIMER: Final = ToolSpec(
    name="set_timer",
    description="Sets a timer. The device says when it is due. The label is what it is for, or empty.",
    parameters={
        "type": "object",
        "properties": {
            "seconds": {"type": "integer", "minimum": 1, "maximum": MAX_TIMER_S},
            "label": {**_TEXT, "default": ""},
        },
        "required": ["seconds"],
    },
)
_SET: Final = ToolSpec(
    name="set_reminder",
    description="Sets a reminder that the device says at a time, or an alarm clock: without text.",
    parameters={
        "type": "object",
        "properties": {
            "time": _TIME,
            "text": {**_TEXT, "default": "", "description": "what to be reminded of, in the user's words"},
            "repeat": {**_REPEAT, "default": ""},
        },
        "required": ["time"],
    },
)
_LIST: Final = ToolSpec(
    name="list_reminders",
    description="Lists the timers, alarms and reminders that are set, one JSON object a line.",
    parameters={"type": "object", "properties": {}},
    read_only=True,
)
_CHANGE: Final = ToolSpec(
    name="change_reminder",
    description="Changes a reminder or alarm. Leave out what stays; a repeat of none ends the repetition.",
    parameters={
        "type": "object",
        "properties": {"which": _WHICH, "time": _TIME, "text": _TEXT, "repeat": _REPEAT},
        "required": ["which"],
    },
)
_CANCEL: Final = ToolSpec(
    name="cancel_reminder",
    description="Cancels a timer, alarm or reminder. With an empty `which`: the only one there is.",
    parameters={"type": "object", "properties": {"which": {**_WHICH, "default": ""}}},
)
NOTHING: Final = "Nothing is set."
"""Answer to a request for the list when it is empty."""


class DeviceReminders:
    """One device's timers, alarms and reminders: a source of tools."""

    __slots__ = ("_device_id", "_reminders")

    def __init__(self, reminders: Reminders, device_id: str) -> None:
        self._reminders = reminders
        self._device_id = device_id

    def tools(self) -> Sequence[Tool]:
        """The tools. Made anew each time: kept here, they would keep this view and it them alive.

        The names that two of them had while there were timers alone still allow them in an agent's settings.
        """
        return (
            Tool(_SET_TIMER, self._set_timer),
            Tool(_SET, self._set),
            Tool(_LIST, self._list, own_name="list_timers"),
            Tool(_CHANGE, self._change),
            Tool(_CANCEL, self._cancel, own_name="cancel_timer"),
        )

    async def _set_timer(self, arguments: Mapping[str, Any]) -> str:
        try:
            seconds, label = arguments["seconds"], arguments.get("label", "")
            timer = await self._reminders.set_timer(self._device_id, seconds, label)
        except (ReminderError, StoreError) as error:
            raise _told(error) from error
        if timer.text:
            return f"The {title(timer)} is set."
        return f"The timer is set for {spoken_duration(timer.duration_s)}."

    async def _set(self, arguments: Mapping[str, Any]) -> str:
        try:
            record = await self._reminders.set_reminder(
                self._device_id, arguments["time"], arguments.get("text", ""), arguments.get("repeat", "")
            )
        except (ReminderError, StoreError) as error:
            raise _told(error) from error
        return f"The {record.kind} is set: {described(record)}."

    async def _list(self, _: Mapping[str, Any]) -> str:
        try:
            records = await self._reminders.list(self._device_id)
        except StoreError as error:
            raise _told(error) from error
        now = self._reminders.now()
        return "\n".join(_line(record, now) for record in records if record.due_at is not None) or NOTHING

    async def _change(self, arguments: Mapping[str, Any]) -> str:
        try:
            record = await self._reminders.find(self._device_id, arguments["which"])
            changed = await self._reminders.change(
                record,
                at=arguments.get("time", ""),
                text=arguments.get("text") or None,
                repeat=arguments.get("repeat", ""),
            )
        except (ReminderError, StoreError) as error:
            raise _told(error) from error
        return f"The {changed.kind} is changed: {described(changed)}."

    async def _cancel(self, arguments: Mapping[str, Any]) -> str:
        try:
            record = await self._reminders.find(self._device_id, arguments.get("which", ""))
            await self._reminders.cancel(record)
        except (ReminderError, StoreError) as error:
            raise _told(error) from error
        return f"The {title(record)} is cancelled."


def described(record: ReminderRecord) -> str:
    """An alarm or reminder in English: `Saturday, 28 November 2026, 09:00, FREQ=DAILY: call mum (id
    4821)`."""
    told = (
        f"{record.wall:%A}, {record.wall.day} {record.wall:%B %Y, %H:%M}" if record.wall is not None else ""
    )
    if record.rule:
        told += f", then by {record.rule}"
    return f"{told}{f': {record.text}' if record.text else ''} (id {record.id})"


def _line(record: ReminderRecord, now: datetime) -> str:
    """A record as a model reads it; times are local."""
    fields: dict[str, object] = {"id": record.id, "kind": record.kind}
    if record.kind == "timer" and record.due_at is not None:
        left = max(1, round((record.due_at - now).total_seconds()))
        fields |= {
            "name": title(record),
            "label": record.text,
            "left": spoken_duration(left),
            "seconds_left": left,
        }
    elif record.wall is not None:
        fields["time"] = record.wall.isoformat(timespec="minutes")
        if record.text:
            fields["text"] = record.text
        if record.rule:
            fields["repeat"] = record.rule
    return json.dumps(fields, ensure_ascii=False)


def _told(error: ReminderError | StoreError) -> ToolError:
    if isinstance(error, StoreError):
        return ToolError("the server's database does not answer; try again later")
    return ToolError(str(error))


class ReminderTools:
    """Reminders as a session uses them: tools for a device, and a word when it connects or is removed."""

    def __init__(self, reminders: Reminders, scheduler: ReminderScheduler) -> None:
        self._reminders = reminders
        self._scheduler = scheduler
        reminders.changed = scheduler.changed
        reminders.timer_set = scheduler.timer_set
        reminders.timer_gone = scheduler.timer_gone

    def for_device(self, device_id: str) -> DeviceReminders:
        """The tools, bound to one device."""
        return DeviceReminders(self._reminders, device_id)

    def device_connected(self, device_id: str) -> None:
        """The device is there again: it is told what it missed."""
        self._scheduler.device_connected(device_id)

    def drop(self, device_id: str) -> None:
        """The device may no longer connect: what was set for it is deleted."""
        self._scheduler.drop(device_id)
