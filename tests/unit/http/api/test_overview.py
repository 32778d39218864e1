"""The numbers at a glance: of the caller's devices alone, and of today beside the week before."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mimi_mqtt.people.access import Scope
from mimi_mqtt.store.tables import SessionStatistics
from mimi_mqtt.store.turn_record import ProviderUse
from tests.fakes.api import MEMBER, KnownCallers, client
from tests.unit.http.api.isolation.house import BOBS, EVES, opened
from tests.unit.http.api.isolation.overview import parts_of
from tests.unit.store.conversation_checks import said, save

NOW = datetime.now(UTC)


def _session(device_id: str, ago: timedelta, received: int, lost: int) -> SessionStatistics:
    ended = NOW - ago
    return SessionStatistics(
        session_id=f"{device_id}{ended}", device_id=device_id, transport="udp",
        started_at=ended, ended_at=ended, received=received, lost=lost,
    )  # fmt: skip


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[Mapping[str, object]]:
    async with opened(folder) as store:
        use = ProviderUse("llm", "openai", input_tokens=30, output_tokens=12, cost=0.25)
        for device, owner, days, first in (
            (BOBS, "u-bob", 0, 800.0), (BOBS, "u-bob", 3, 1600.0), (BOBS, "u-bob", 9, 9000.0),
            (EVES, "u-eve", 0, 400.0), (EVES, "u-eve", 0, 400.0),
        ):  # fmt: skip
            record = said(
                f"s-{device}-{days}-{first}-{owner}", device=device, owner=owner, uses=(use,),
                started_at=NOW - timedelta(days=days), timings_ms={"first_audio": first},
            )  # fmt: skip
            await save(store, record)
        async with store.write() as session:
            session.add(_session(BOBS, timedelta(hours=2), 5, -3))
            session.add(_session(BOBS, timedelta(days=2), 90, 10))
            session.add(_session(EVES, timedelta(days=2, hours=1), 900, 0))
        yield await parts_of(store)


@pytest.mark.parametrize(
    ("as_", "devices", "turns", "before", "live", "lost_before"),
    [("bob", 1, 1, 1, 1, 10.0), ("eve", 1, 1, 0, 0, 0.0), ("ada", 2, 2, 1, 1, 1.0)],
)
async def test_numbers_are_of_what_the_caller_sees(
    tmp_path: Path, as_: str, devices: int, turns: int, before: int, live: int, lost_before: float
) -> None:
    async with house(tmp_path) as parts, client(as_=as_, **parts) as api:
        told = (await api.get("/overview")).json()
    assert told["devices"] == {"total": devices, "online": 1 if as_ == "ada" else 0}
    assert told["today"]["turns"] == turns
    assert told["before"]["turns"] == before
    assert told["live"]["total"] == told["live"]["speaking"] == live
    assert told["loss_before"]["percent"] == lost_before
    assert told["has_talked"]


async def test_numbers_of_a_day_are_those_of_its_turns(tmp_path: Path) -> None:
    async with house(tmp_path) as parts, client(as_="bob", **parts) as api:
        told = (await api.get("/overview")).json()
    assert told["today"] | {"p50_ms": 0, "p95_ms": 0} == {
        "turns": 1, "failed": 0, "errors": {}, "minutes": 0.0, "cost": 0.25, "tokens": 42, "p50_ms": 0,
        "p95_ms": 0,
    }  # fmt: skip
    assert told["today"]["p50_ms"] == pytest.approx(800, rel=0.1)
    assert told["before"]["p50_ms"] == pytest.approx(1600, rel=0.1)
    # Five packets of a session that is over, none of which was lost, and 95 of 100 of one that lives.
    assert told["loss"] == {"received": 100, "lost": 5, "percent": 4.76}


async def test_who_may_not_read_statistics_is_told_no_turns(tmp_path: Path) -> None:
    key = replace(MEMBER, scopes=frozenset({Scope.DEVICES_READ}))
    async with house(tmp_path) as parts, client(as_="x", authenticator=KnownCallers(x=key), **parts) as api:
        told = (await api.get("/overview")).json()
    assert told["today"] is told["before"] is None
    assert told["devices"]["total"] == 1


async def test_total_merges_percentiles(tmp_path: Path) -> None:
    async with house(tmp_path) as parts, client(as_="ada", **parts) as api:
        told = (await api.get("/statistics/total")).json()
        one = (await api.get(f"/statistics/total?device={EVES}")).json()
    assert told["turns"] == 4
    assert told["p95_ms"] == pytest.approx(9000, rel=0.1)
    assert (one["turns"], one["cost"]) == (1, 0.25)
