"""The log over the API: pages, the live stream, and who may read it."""

import asyncio
import contextlib
import json
import logging
from dataclasses import replace

import pytest

from mimi_mqtt.errors import LimitReached
from mimi_mqtt.http.api import log_feed
from mimi_mqtt.http.api.log_feed import MAX_PER_CALLER, LogFeed, LogListener
from mimi_mqtt.log.recent import RecentLines, Wanted
from mimi_mqtt.people.access import Caller, Presented
from tests.fakes.api import ADMIN, KnownCallers, client

SHOWN = Presented(bearer="ada")


def keep(lines: RecentLines, text: str, level: int = logging.INFO, **extra: str) -> None:
    record = logging.LogRecord("mimi_mqtt.voice.turn", level, "", 0, text, None, None)
    vars(record).update(extra)
    lines.keep(record)


def feed(lines: RecentLines | None = None, **callers: Caller) -> LogFeed:
    return LogFeed(lines or RecentLines(), KnownCallers(**(callers or {"ada": ADMIN})))


async def test_pages_go_backwards_and_tell_the_filters() -> None:
    lines = RecentLines()
    for number in range(5):
        keep(lines, f"line {number}", device="aa-bb-cc-00-11-22")
    keep(lines, "bad", logging.ERROR)
    async with client(as_="ada", logs=feed(lines)) as api:
        first = (await api.get("/logs?limit=4")).json()
        rest = (await api.get(f"/logs?limit=4&cursor={first['next']}")).json()
        errors = (await api.get("/logs?level=error")).json()
        of_device = (await api.get("/logs?device=aa-bb-cc-00-11-22&q=LINE%203")).json()
        wrong = await api.get("/logs?level=loud")
    assert [each["message"] for each in first["items"]] == ["bad", "line 4", "line 3", "line 2"]
    assert [each["message"] for each in rest["items"]] == ["line 1", "line 0"]
    assert rest["next"] is None
    assert first["parts"] == ["voice.turn"]
    assert [each["level"] for each in errors["items"]] == ["error"]
    assert [each["device_id"] for each in of_device["items"]] == ["aa-bb-cc-00-11-22"]
    assert wrong.status_code == 422


@pytest.mark.parametrize("path", ["/logs", "/logs/stream", "/diagnostics"])
async def test_members_read_no_log(path: str) -> None:
    async with client(as_="bob") as api:
        assert (await api.get(path)).status_code == 403


async def _next(frames: contextlib.AbstractAsyncContextManager[object] | object) -> bytes:
    async with asyncio.timeout(5):
        return await anext(frames)  # type: ignore[call-overload,no-any-return]


async def test_lines_come_as_they_are_written_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "BATCH_S", 0)
    lines = RecentLines()
    keep(lines, "before")
    logs = feed(lines)
    with logs.listen(ADMIN, SHOWN, Wanted(level=logging.WARNING)) as listener:
        frames = listener.frames()
        assert b"connected" in await _next(frames)
        coming = asyncio.ensure_future(_next(frames))
        await asyncio.to_thread(keep, lines, "not wanted")
        await asyncio.to_thread(keep, lines, "wanted", logging.WARNING)
        frame = (await coming).decode()
    told = json.loads(frame.partition("data: ")[2])
    assert (told["message"], told["level"], told["number"]) == ("wanted", "warning", 3)
    assert frame.startswith(f"id: {logs._run}-3\nevent: line\n")
    assert len(logs) == 0


async def test_listener_goes_on_behind_what_it_saw_and_is_told_what_it_missed() -> None:
    lines = RecentLines(max_lines=3)
    logs = feed(lines)
    for number in range(1, 7):
        keep(lines, str(number))
    for last_id, position, missed in (
        (f"{logs._run}-5", 5, False), (f"{logs._run}-1", 3, True), (f"{logs._run}-99", 3, True),
        ("0123abcd-5", 3, True), ("rubbish", 3, True), (None, 6, False), (f"{logs._run}-3", 3, False),
    ):  # fmt: skip
        with logs.listen(ADMIN, SHOWN, Wanted(), last_id) as listener:
            assert (listener.position, listener.missed) == (position, missed), last_id


@pytest.mark.parametrize("last_id", ["{run}-1", "0123abcd-5"])
async def test_listener_that_resumes_behind_lost_lines_gets_those_that_are_kept(last_id: str) -> None:
    lines = RecentLines(max_lines=3)
    logs = feed(lines)
    for number in range(1, 7):
        keep(lines, f"line {number}")
    with logs.listen(ADMIN, SHOWN, Wanted(), last_id.format(run=logs._run)) as listener:
        frames = listener.frames()
        assert b"connected" in await _next(frames)
        assert b"event: missed" in await _next(frames)
        keep(lines, "line 7")  # before it read the first one, which this one pushes out
        kept = await _next(frames)
        assert [kept.count(f"line {number}".encode()) for number in range(1, 8)] == [0, 0, 0, 0, 1, 1, 1]
        assert not listener.ended


async def _ended(listener: LogListener) -> str:
    async with asyncio.timeout(5):
        async for _ in listener.frames():
            pass
    return listener.ended


async def test_stream_ends_with_the_rights_of_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "RIGHTS_EVERY_S", 0.01)
    logs = feed(ada=replace(ADMIN, scopes=frozenset()))
    with logs.listen(ADMIN, SHOWN, Wanted()) as listener:
        assert await _ended(listener) == "rights"


async def test_listener_that_reads_too_slowly_is_ended() -> None:
    lines = RecentLines(max_lines=3)
    logs = feed(lines)
    with logs.listen(ADMIN, SHOWN, Wanted()) as listener:
        for number in range(9):
            keep(lines, str(number))
        assert await _ended(listener) == "slow"


async def test_streams_are_bounded_and_end_with_the_server() -> None:
    logs = feed()
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(logs.listen(ADMIN, SHOWN, Wanted())) for _ in range(MAX_PER_CALLER)]
        with pytest.raises(LimitReached):
            stack.enter_context(logs.listen(ADMIN, SHOWN, Wanted()))
        logs.close()
        assert {await _ended(each) for each in listeners} == {"stop"}
    with pytest.raises(LimitReached), logs.listen(ADMIN, SHOWN, Wanted()):
        pass
