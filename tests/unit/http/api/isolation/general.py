"""Commands, sessions, reminders, events and problems."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fakes.api_scene import BOBS, SESSION, Noted, Scene
from tests.unit.http.api.isolation.example import Example


@asynccontextmanager
async def house(_: Path) -> AsyncIterator[Mapping[str, Any]]:
    """bob's house, with a reminder of the number that is always the first one to be given."""
    scene = Scene()
    made = await scene.reminders.set_reminder(BOBS, "2026-12-01T09:00", "call mum")
    scene.rows.records["1"] = scene.rows.records.pop(made.id)
    object.__setattr__(scene.rows.records["1"], "id", "1")
    scene.feed.close()  # a stream that never ends would not tell who may open it: 429 stands for yes
    yield scene.parts


@asynccontextmanager
async def loud_house(_: Path) -> AsyncIterator[Mapping[str, Any]]:
    """bob's house, whose devices can be notified."""
    yield {**Scene().parts, "commands": Noted()}


def _command(name: str, json: object = None) -> Example:
    return Example(f"/devices/{BOBS}/commands/{name}", house, json)


EXAMPLES = {
    "say": _command("say", {"text": "x"}),
    "notify": Example(f"/devices/{BOBS}/commands/notify", loud_house, {"text": "x"}),
    "notify_audio": Example(f"/devices/{BOBS}/commands/notify/audio", loud_house, content=b"OggS"),
    "alert": _command("alert", {"message": "x"}),
    "play": _command("play", {"url": "http://192.0.2.9/a.ogg"}),
    "call_tool": _command("tool", {"tool": "volume"}),
    "reboot": _command("reboot"),
    "end_session": _command("end"),
    "disconnect": _command("disconnect"),
    "set_agent": _command("agent", {"agent": "chef"}),
    "list_sessions": Example("/sessions", house, marker=SESSION),
    "read_session": Example(f"/sessions/{SESSION}", house),
    "delete_session": Example(f"/sessions/{SESSION}", house),
    "list_reminders": Example("/reminders", house, marker="call mum"),
    "create_reminder": Example("/reminders", house, {"device_id": BOBS, "seconds": 60}),
    "read_reminder": Example("/reminders/1", house),
    "list_reminder_occurrences": Example("/reminders/1/occurrences", house),
    "change_reminder": Example("/reminders/1", house, {"text": "call dad"}),
    "cancel_reminder": Example("/reminders/1", house),
    "stream_events": Example(f"/events?device={BOBS}", house),
    "list_problems": Example("/problems", house, marker=BOBS),
}
