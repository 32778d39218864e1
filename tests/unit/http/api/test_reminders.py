"""Reminders over REST."""

from dataclasses import replace
from typing import Any

import pytest

from mimi_mqtt.store.reminders import ReminderRecord
from tests.fakes.api import client
from tests.fakes.api_scene import BOBS, NOBODYS, SHARED, Scene
from tests.fakes.reminders import NOW


async def test_a_reminder_is_set_changed_and_cancelled() -> None:
    scene = Scene()
    async with client(as_="bob", **scene.parts) as api:
        made = await api.post(
            "/reminders",
            json={"device_id": BOBS, "at": "2026-12-01T09:00", "text": "call mum", "repeat": "weekly"},
        )
        assert made.status_code == 201
        told = made.json()
        assert (told["kind"], told["wall"], told["timezone"]) == (
            "reminder",
            "2026-12-01T09:00",
            "Europe/Berlin",
        )
        path = f"/reminders/{told['id']}"
        assert (await api.get(path)).json() == told
        changed = await api.patch(path, json={"at": "10:30"}, headers={"If-Match": made.headers["etag"]})
        assert changed.json()["wall"] == "2026-12-01T10:30"
        assert scene.rows.records[told["id"]].owner == "u-bob"
        stale = await api.patch(path, json={"text": "x"}, headers={"If-Match": made.headers["etag"]})
        assert stale.status_code == 412
        assert (await api.delete(path, headers={"If-Match": made.headers["etag"]})).status_code == 412
        assert (await api.delete(path)).status_code == 204
        assert (await api.get(path)).status_code == 404


async def test_a_change_between_reading_and_writing_is_not_overwritten() -> None:
    """Attack on a check of If-Match: the reminder is due after it was read, before it is written."""
    scene = Scene()
    async with client(as_="bob", **scene.parts) as api:
        made = await api.post("/reminders", json={"device_id": BOBS, "at": "2026-12-01T09:00"})
        path, read = f"/reminders/{made.json()['id']}", scene.rows.get

        async def get_then_change(reminder_id: str) -> ReminderRecord | None:
            if (found := await read(reminder_id)) is not None:
                scene.rows.records[reminder_id] = replace(found, version=found.version + 1)
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scene.rows, "get", get_then_change)
            assert (await api.delete(path, headers={"If-Match": '"1"'})).status_code == 412
            assert (await api.patch(path, json={"text": "x"}, headers={"If-Match": '"2"'})).status_code == 412
            assert (await api.patch(path, json={"text": "x"})).status_code == 409
            assert (await api.patch(path, json={"text": "x"}, headers={"If-Match": "*"})).status_code == 409
            assert (await api.get(path)).status_code == 200
            assert (await api.delete(path)).status_code == 204
        assert (await api.get(path)).status_code == 404


async def test_a_deletion_that_comes_too_late_is_a_conflict() -> None:
    scene = Scene()
    async with client(as_="bob", **scene.parts) as api:
        made = await api.post("/reminders", json={"device_id": BOBS, "at": "2026-12-01T09:00"})
        read = scene.rows.get

        async def get_then_delete(reminder_id: str) -> ReminderRecord | None:
            found = await read(reminder_id)
            scene.rows.records.pop(reminder_id, None)
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scene.rows, "get", get_then_delete)
            assert (await api.delete(f"/reminders/{made.json()['id']}")).status_code == 409


async def test_a_timer_has_seconds() -> None:
    async with client(as_="bob", **Scene().parts) as api:
        told = (await api.post("/reminders", json={"device_id": BOBS, "seconds": 300, "text": "tea"})).json()
    assert (told["kind"], told["title"], told["duration_s"], told["wall"]) == (
        "timer",
        "tea timer",
        300,
        None,
    )


@pytest.mark.parametrize(
    "body",
    [
        {}, {"seconds": 60, "at": "09:00"}, {"seconds": 0}, {"seconds": 90_000}, {"seconds": True},
        {"at": "tomorrow"}, {"at": "09:00", "repeat": "FREQ=SOMETIMES"},
        {"at": "09:00", "timezone": "Mars/Base"},
        {"at": "09:00", "text": "x" * 201}, {"seconds": 60, "repeat": "daily"},
        {"seconds": 60, "expires_s": 1},
    ],
)  # fmt: skip
async def test_what_can_not_be_set_is_told(body: dict[str, Any]) -> None:
    scene = Scene()
    async with client(as_="bob", **scene.parts) as api:
        answer = await api.post("/reminders", json={"device_id": BOBS, **body})
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert not scene.rows.records


async def test_a_list_has_the_callers_devices_soonest_first_in_pages() -> None:
    scene = Scene()
    for number, device_id in enumerate([BOBS, NOBODYS, SHARED, BOBS, SHARED, NOBODYS, BOBS]):
        await scene.reminders.set_timer(device_id, 600 - 60 * number)
    async with client(as_="bob", **scene.parts) as api:
        found: list[int] = []
        path = "/reminders?limit=2"
        while path:
            page = (await api.get(path)).json()
            found += [each["duration_s"] for each in page["items"]]
            path = f"/reminders?limit=2&cursor={page['next']}" if page["next"] else ""
        assert found == [240, 360, 420, 480, 600]
        of_one = (await api.get(f"/reminders?device={SHARED}")).json()["items"]
        assert [each["duration_s"] for each in of_one] == [360, 480]
        assert (await api.get(f"/reminders?device={NOBODYS}")).status_code == 404
    async with client(as_="ada", **scene.parts) as api:
        assert len((await api.get("/reminders")).json()["items"]) == 7
        assert (await api.get("/reminders?cursor=WyJ4IiwieCJd")).status_code == 422


async def test_occurrences_are_told_before_and_after_a_reminder_is_set() -> None:
    scene = Scene()
    wanted = {"at": "2026-12-01T09:00", "repeat": "FREQ=WEEKLY;COUNT=3;BYDAY=TU,TH"}
    async with client(as_="bob", **scene.parts) as api:
        plan = (await api.post("/reminders/plan", json=wanted)).json()
        assert scene.rows.records == {}
        due = [f"2026-12-{day:02}T08:00:00Z" for day in (1, 3, 8)]
        assert plan == {"timezone": "Europe/Berlin", "repeat": wanted["repeat"], "due": due}
        made = (await api.post("/reminders", json={"device_id": BOBS, **wanted})).json()
        assert (await api.get(f"/reminders/{made['id']}/occurrences")).json() == {"items": due}
        timer = (await api.post("/reminders", json={"device_id": BOBS, "seconds": 60})).json()
        assert len((await api.get(f"/reminders/{timer['id']}/occurrences")).json()["items"]) == 1
        hourly = await api.post("/reminders/plan", json={"at": "09:00", "repeat": "hourly"})
        assert len(hourly.json()["due"]) == 8
        for wrong in ({"repeat": "FREQ=SOMETIMES"}, {"at": "2020-01-01T09:00"}, {"timezone": "Mars/Base"}):
            assert (await api.post("/reminders/plan", json=wanted | wrong)).status_code == 422


async def test_those_that_ended_are_listed_alone() -> None:
    scene = Scene()
    async with client(as_="bob", **scene.parts) as api:
        for text in ("ended", "running"):
            await api.post("/reminders", json={"device_id": BOBS, "seconds": 60, "text": text})
        ended = next(each for each in scene.rows.records.values() if each.text == "ended")
        scene.rows.records[ended.id] = replace(ended, due_at=None, ended_at=NOW)
        listed = (await api.get("/reminders", params={"ended": True, "running": False})).json()["items"]
        assert [(each["text"], each["device_name"]) for each in listed] == [("ended", "Kitchen")]
