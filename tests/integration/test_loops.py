"""Each long-lived loop of the server goes on after a round that raised, and is unhealthy until then."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from mimi_mqtt import supervision
from mimi_mqtt.app import App
from mimi_mqtt.cli.reloading import Reloading
from mimi_mqtt.cli.serve import FullCollections, attended
from mimi_mqtt.commands.model import Notify
from mimi_mqtt.files.recordings import Recorded
from mimi_mqtt.fleet.firmware.downloads import Key, Sent
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.supervision import SupervisedLoop
from tests.integration.test_app import boot, device, running, told, until

pytestmark = pytest.mark.timeout(30)

Round = Callable[[], Awaitable[None]]


@dataclass
class Loops:
    """Every supervised loop made since. The first round of `failing` raises; the next waits for `go_on`."""

    failing: str = ""
    names: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def made(self, name: str, round_: Round) -> Round:
        """Takes note of a loop; its round, that of `failing` with a fault."""
        self.names.append(name)
        if name != self.failing:
            return round_
        rounds = 0

        async def fails_once() -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                raise RuntimeError("a mistake that nobody foresaw")
            await self.go_on.wait()
            await round_()

        return fails_once


@dataclass(frozen=True)
class House:
    """A running server, and what happens in it."""

    app: App
    client: httpx.AsyncClient

    async def nothing(self) -> None:
        """The loop has its work by the clock."""

    async def boots(self) -> None:
        """A device asks for its configuration."""
        await boot(self.client, 1)

    async def says_hello(self) -> None:
        """A device opens a session."""
        access = await boot(self.client, 1)
        async with device(access) as connection:
            await connection.publish(access["publish_topic"], b'{"type":"hello","transport":"udp"}')
            await told(connection)

    async def ends_a_session(self) -> None:
        """A device's session is over."""
        await self.says_hello()
        for session in list(self.app._parts.live.sessions._sessions.values()):
            session.end("idle", goodbye=True)

    async def takes_a_turn(self) -> None:
        """A turn is over."""
        at = datetime.now(UTC)
        self.app._parts.records.turn_log.add_turn(
            TurnRecord("s1", "aa-bb-cc-00-11-01", 1, at, "auto", "hi", "hello", "answered", {})
        )

    async def is_recorded(self) -> None:
        """The sound of a turn is to be kept."""
        at = datetime.now(UTC)
        self.app._parts.records.files.recordings.add(
            Recorded("s1", 1, "user", "aa-bb-cc-00-11-01", "", "", 16_000, (b"\x58",), at)
        )

    async def is_notified(self) -> None:
        """Something is to be told to a device that is away."""
        access = await boot(self.client, 1)
        self.app._parts.commands.notices.tell_later(
            Notify(device_id=access["client_id"], text="Dinner is ready.")
        )

    async def downloads(self) -> None:
        """A device fetches something."""
        key = Key("firmware", 1, "aa-bb-cc-00-11-01")
        self.app._parts.firmware.downloads.record(Sent(key, 1, False, datetime.now(UTC)))

    async def is_reloaded(self) -> None:
        """Somebody runs `mimi-mqtt reload`."""
        os.kill(os.getpid(), signal.SIGHUP)


LOOPS: dict[str, tuple[str, Callable[[House], Awaitable[None]]]] = {
    "backfill of turns": ("store", House.nothing),
    "backups": ("backup", House.nothing),
    "certificates": ("process", House.nothing),
    "companion conversation pruner": ("store", House.nothing),
    "collection of files": ("files", House.nothing),
    "conversation pruner": ("store", House.nothing),
    "counts of log lines": ("process", House.nothing),
    "device directory": ("store", House.nothing),
    "expiry of notices": ("notices", House.nothing),
    "full garbage collection": ("process", House.nothing),
    "last sessions": ("sessions", House.says_hello),
    "last uses of sessions and keys": ("people", House.nothing),
    "ledger of refusals": ("shares", House.nothing),
    "managed resources": ("managed", House.nothing),
    "mqtt sweeper": ("mqtt", House.nothing),
    "mqtt telemetry": ("mqtt", House.boots),
    "reminders": ("reminders", House.nothing),
    "roll-outs": ("firmware", House.nothing),
    "reload": ("process", House.is_reloaded),
    "sealing of device keys": ("store", House.nothing),
    "rights of event listeners": ("http", House.nothing),
    "session expiry": ("sessions", House.nothing),
    "sightings of devices": ("store", House.nothing),
    "signs of life": ("store", House.nothing),
    "unloading of idle models": ("process", House.nothing),
    "upkeep of accounts": ("people", House.nothing),
    "waiting notices": ("notices", House.is_notified),
    "writer of OTA requests": ("store", House.boots),
    "writer of history of connections": ("store", House.says_hello),
    "writer of recordings of turns": ("files", House.is_recorded),
    "writer of progress of downloads": ("firmware", House.downloads),
    "writer of reports of booting devices": ("store", House.boots),
    "writer of statistics of sessions": ("store", House.ends_a_session),
    "writer of turns": ("store", House.takes_a_turn),
}
"""The part of the server that each loop belongs to, and what gives it work."""
NO_PART = ["search for a local language model"]
"""Loops without a part in `/healthz`: a chain passes over a provider that has nothing."""


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Loops:
    """Loops that go on almost at once after a fault; the failing one does not wait for the clock."""
    loops = Loops()
    init = SupervisedLoop.__init__

    def noted(loop: SupervisedLoop, name: str, round_: Round, *, every_s: float | None = None) -> None:
        soon = every_s is not None and name == loops.failing
        init(loop, name, loops.made(name, round_), every_s=0.01 if soon else every_s)

    monkeypatch.setattr(SupervisedLoop, "__init__", noted)
    monkeypatch.setattr(supervision, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(supervision, "MAX_DELAY_S", 0.01)
    return loops


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """The server as `mimi-mqtt serve` runs it."""
    before = signal.getsignal(signal.SIGHUP)
    try:
        async with running(folder) as app, attended(app, Reloading(app, None, {})):
            url = f"http://127.0.0.1:{app.http_port}"
            async with httpx.AsyncClient(timeout=60.0, base_url=url, trust_env=False) as client:
                yield House(app, client)
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_every_loop_of_the_server_is_tested_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loops: Loops
) -> None:
    monkeypatch.chdir(tmp_path)
    async with house(tmp_path) as running_house:
        assert sorted(loops.names) == sorted([*LOOPS, *NO_PART])
        await until(lambda: all(part.ok for part in running_house.app.health().values()))


@pytest.mark.parametrize("name", LOOPS)
async def test_a_loop_that_failed_is_seen_in_the_health_until_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loops: Loops, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    part, gets_work = LOOPS[name]
    loops.failing = name
    if name == "full garbage collection":
        monkeypatch.setattr(FullCollections, "EVERY_S", 0.01)
    async with house(tmp_path) as running_house:
        await until(lambda: not running_house.app.health()[part].ok)
        reply = await running_house.client.get("/healthz")
        parts: dict[str, Any] = reply.json()["parts"]
        assert reply.status_code == 503
        assert [which for which, told_of in parts.items() if not told_of["ok"]] == [part]
        loops.go_on.set()
        await gets_work(running_house)
        await until(lambda: running_house.app.health()[part].ok)
        assert (await running_house.client.get("/healthz")).status_code == 200
