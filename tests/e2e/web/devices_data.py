"""Devices of a household and of a fleet, as a server has them after a while: written before it starts."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from mimi_mqtt.cli.device.identity import client_id_for
from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import (
    Device,
    DeviceInterval,
    KnownTools,
    OtaExchange,
    OtaReport,
    ServerRun,
    SessionStatistics,
)
from tests.databases import sqlite_store

KITCHEN = "aa-bb-cc-00-11-01"
HALL = "aa-bb-cc-00-11-02"
NAMES: tuple[tuple[str, str, list[str], str, str], ...] = (
    ("Kitchen", "Kitchen", ["downstairs", "family"], "bread-compact-wifi", "2.5.0"),
    ("Hall", "Hall", ["downstairs"], "esp-box-3", "2.2.1"),
    ("Linh’s desk", "Study", ["family"], "lichuang-dev", "2.5.0"),
    ("Workshop", "Garage", [], "xmini-c3-4g", "2.0.4"),
    ("Bedside", "Bedroom", ["night"], "m5stack-core-s3", "2.4.2"),
)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    """The database of a server that will run in `folder`."""
    store = sqlite_store(folder / "data")
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


def mac(number: int) -> str:
    """The id of a device by its number."""
    return f"aa-bb-cc-{number >> 16 & 255:02x}-{number >> 8 & 255:02x}-{number & 255:02x}"


def _device(device_id: str, now: datetime, fields: tuple[str, str, list[str], str, str]) -> Device:
    name, room, tags, board, version = fields
    return Device(
        id=device_id, client_id=client_id_for(device_id.replace("-", ":")), epoch=1, name=name, room=room,
        tags=tags, board=board, board_name=board, firmware_version=version, reported_language="en",
        revision=0, cellular="4g" in board, created_at=now - timedelta(days=40), updated_at=now,
        last_seen_at=now,
    )  # fmt: skip


async def household(folder: Path) -> None:
    """Five devices with sessions, starts, connections and tools of the last day."""
    now = datetime.now(UTC)
    chance = random.Random(7)
    async with opened(folder) as store, store.write() as session:
        for number, fields in enumerate(NAMES, 1):
            device = _device(f"aa-bb-cc-00-11-{number:02x}", now - timedelta(hours=number), fields)
            await devices.save_changed(session, device, now)
        run = ServerRun(started_at=now - timedelta(hours=30), alive_at=now - timedelta(minutes=20))
        session.add(run)
        await session.flush()
        assert run.id is not None
        session.add_all(_intervals(run.id, now))
        session.add(
            OtaReport(
                device_id=KITCHEN, received_at=now - timedelta(hours=2),
                report={
                    "chip_model_name": "esp32s3", "flash_size": 16_777_216, "chip_info": {"cores": 2},
                    "application": {"name": "xiaozhi"}, "display": {"width": 128, "height": 64},
                    "board": {"ssid": "Nhà Linh", "rssi": -58, "channel": 6, "ip": "192.168.1.57"},
                },
            )
        )  # fmt: skip
        for number in reversed(range(12)):
            ended = now - timedelta(hours=2 * number + 1)
            session.add(
                SessionStatistics(
                    session_id=f"s{number}", device_id=KITCHEN, transport="udp",
                    started_at=ended - timedelta(seconds=90), ended_at=ended, reason="goodbye", udp_seen=True,
                    received=1500, lost=chance.randrange(40), late=2, jitter_ms=3 + 6 * chance.random(),
                    round_trip_ms=12 + 20 * chance.random(),
                )
            )  # fmt: skip
            session.add(
                OtaExchange(
                    device_id=KITCHEN, at=ended, address="192.168.1.57", board="bread-compact-wifi",
                    firmware_version="2.5.0", answer="code" if number == 11 else "mqtt",
                    firmware="no image for this board", signal_dbm=-58 - chance.randrange(12),
                )
            )  # fmt: skip
        tools = [
            {
                "name": "self.audio_speaker.set_volume", "description": "Sets the speaker's volume.",
                "input_schema": {"properties": {"volume": {"type": "integer", "minimum": 0, "maximum": 100}}},
            }
        ]  # fmt: skip
        session.add(KnownTools(device_id=HALL, tools=tools, learned_at=now - timedelta(days=1)))


def _intervals(run_id: int, now: datetime) -> Sequence[DeviceInterval]:
    made: list[DeviceInterval] = []

    def add(kind: str, began_h: float, ended_h: float, reason: str) -> None:
        made.append(
            DeviceInterval(
                run_id=run_id, number=len(made) + 1, device_id=KITCHEN, kind=kind,
                transport="mqtt" if kind == "connection" else "udp", began_at=now - timedelta(hours=began_h),
                ended_at=now - timedelta(hours=ended_h), reason=reason,
            )
        )  # fmt: skip

    add("connection", 23, 15.5, "the connection was lost")
    add("connection", 14, 4, "keepalive")
    add("connection", 3.5, 0.4, "closed")
    for began in (22, 18.2, 13, 12.5, 9, 3, 1.2):
        add("session", began, began - 0.15, "goodbye")
    return made


async def fleet(folder: Path, number: int) -> None:
    """Many devices, each with a report, starts, sessions and connections."""
    now = datetime.now(UTC)
    boards = [fields[3] for fields in NAMES]
    rows, reports, exchanges, sessions, intervals = [], [], [], [], []
    for at in range(number):
        device_id = mac(at)
        name = f"Room {at}"
        rows.append(
            {
                "id": device_id, "client_id": f"c{at}", "epoch": 1, "allowed": True, "name": name,
                "language": "", "reported_language": "en", "board": boards[at % 5],
                "firmware_version": "2.5.0", "cellular": False, "espressif": False, "host": "",
                "room": f"Floor {at % 40}",
                "tags": [f"tag{at % 30}"], "notes": "", "auto_update": True, "revision": at + 1,
                "created_at": now, "updated_at": now, "last_seen_at": now - timedelta(seconds=at),
                "search": f"{device_id} {name.casefold()} floor {at % 40} tag{at % 30}",
            }
        )  # fmt: skip
        report = {"chip_model_name": "esp32s3", "board": {"rssi": -60}, "padding": "x" * 1500}
        reports.append({"device_id": device_id, "received_at": now, "report": report})
        for one in range(5):
            ended = now - timedelta(hours=one)
            exchanges.append(
                {
                    "device_id": device_id, "at": ended, "address": "192.0.2.1", "board": "b",
                    "firmware_version": "2.5.0", "answer": "mqtt", "firmware": "", "offered_version": "",
                }
            )  # fmt: skip
            sessions.append(
                {
                    "session_id": f"{at}-{one}", "device_id": device_id, "transport": "udp",
                    "started_at": ended, "ended_at": ended, "reason": "goodbye", "received": 100, "lost": 1,
                    "late": 0,
                }
            )  # fmt: skip
            intervals.append(
                {
                    "run_id": 1, "number": 5 * at + one, "device_id": device_id, "kind": "connection",
                    "transport": "mqtt", "began_at": ended - timedelta(minutes=40), "ended_at": ended,
                    "reason": "closed",
                }
            )  # fmt: skip
    async with opened(folder) as store, store.write() as session:
        for table, given in (
            (Device, rows), (OtaReport, reports), (OtaExchange, exchanges), (SessionStatistics, sessions),
            (ServerRun, [{"id": 1, "started_at": now - timedelta(days=2), "alive_at": now}]),
            (DeviceInterval, intervals),
        ):  # fmt: skip
            await session.execute(insert(table), given)
