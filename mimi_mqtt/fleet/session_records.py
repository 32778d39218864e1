"""Facts about devices from sessions that are over, written behind: the audio's statistics, the
tools."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from prometheus_client import Counter

from mimi_mqtt.fleet.live import AudioReport
from mimi_mqtt.store import session_statistics, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.values import bounded, is_storable
from mimi_mqtt.store.write_behind import WriteBehind

KEPT_PER_DEVICE: Final = 20
"""Sessions of each device whose statistics are kept."""
MAX_TOOLS: Final = 64
MAX_DESCRIPTION_CHARS: Final = 400
MAX_SCHEMAS_CHARS: Final = 24_576
"""Characters of the schemas of one device's tools that are kept, as JSON."""
MAX_WAITING: Final = 5_000
"""Sessions that wait for the database; further ones are dropped."""

_SESSIONS = Counter(
    "mimi_fleet_session_records_total", "Ended sessions by the outcome of storing", ["outcome"]
)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session that is over. `tools` None: not known."""

    device_id: str
    ended_at: datetime
    reason: str
    audio: AudioReport
    tools: Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)


class SessionRecords:
    """Accepts ended sessions at once and writes them when the database has time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = WriteBehind(self._save, "statistics of sessions", _SESSIONS, max_waiting=MAX_WAITING)

    @property
    def healthy(self) -> bool:
        """True while records are written."""
        return self._records.healthy

    async def start(self) -> None:
        """Starts the writer."""
        await self._records.start()

    async def aclose(self) -> None:
        """Writes what waits, bounded to a few seconds; safe to call twice."""
        await self._records.aclose()

    def add(self, record: SessionRecord) -> None:
        """Takes note of a session; never blocks, never raises."""
        self._records.add(record)

    async def _save(self, batch: Sequence[SessionRecord]) -> None:
        tools = {record.device_id: record for record in batch if record.tools is not None}
        async with self._store.write() as session:
            await session_statistics.add(session, [_row(record) for record in batch], keep=KEPT_PER_DEVICE)
            for record in tools.values():
                await session_statistics.save_tools(
                    session, record.device_id, _bounded_tools(record.tools or ()), record.ended_at
                )


def _row(record: SessionRecord) -> dict[str, object]:
    audio = record.audio
    return {
        "session_id": bounded(audio.session_id, tables.SESSION_ID_CHARS),
        "device_id": record.device_id,
        "transport": bounded(audio.transport, tables.TRANSPORT_CHARS),
        "started_at": record.ended_at - timedelta(seconds=audio.duration_s),
        "ended_at": record.ended_at,
        "reason": bounded(record.reason, tables.REASON_CHARS),
        "udp_seen": audio.udp_seen,
        "received": audio.received,
        "lost": max(0, audio.lost),
        "late": audio.late,
        "jitter_ms": audio.jitter_ms,
        "round_trip_ms": audio.round_trip_ms,
    }


def _bounded_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tools as they are kept; schemas as far as there is room for them."""
    kept: list[dict[str, Any]] = []
    room = MAX_SCHEMAS_CHARS
    for tool in tools[:MAX_TOOLS]:
        told: dict[str, Any] = {
            "name": bounded(str(tool.get("name", "")), 128),
            "description": bounded(str(tool.get("description", "")), MAX_DESCRIPTION_CHARS),
        }
        schema = json.dumps(tool.get("input_schema") or {})
        if len(schema) <= room and is_storable(schema):
            room -= len(schema)
            told["input_schema"] = json.loads(schema)
        if tool.get("read_only"):
            told["read_only"] = True
        kept.append(told)
    return kept
