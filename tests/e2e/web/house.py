"""A house with a past, written into the database before its server starts: devices, and weeks of talk."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final

from mimi_mqtt.store.conversations import save_turns
from mimi_mqtt.store.devices import search_text
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device, SessionStatistics
from mimi_mqtt.store.turn_record import ProviderUse, TurnRecord
from tests.databases import sqlite_store


@dataclass(frozen=True, slots=True)
class Place:
    """A device and where it stands."""

    device_id: str
    name: str
    room: str
    board: str
    agent: str
    turns_a_day: int


PLACES: Final = (
    Place("24-6f-28-5a-10-01", "Kitchen speaker", "Kitchen", "bread-compact-wifi", "default", 14),
    Place("24-6f-28-5a-10-02", "Linh’s desk", "Office", "esp-box-3", "teacher", 9),
    Place("34-85-18-7c-20-03", "Phòng khách", "Living room", "lichuang-dev", "default", 11),
    Place("34-85-18-7c-20-04", "Hall panel", "Hall", "m5stack-core-s3", "default", 4),
    Place("48-27-e2-91-30-05", "Grandma’s radio", "Bedroom", "xmini-c3", "storyteller", 6),
)
_SAID: Final = (
    ("what time is it", "It is twenty past seven."),
    ("turn on the light in the kitchen", "The light is on."),
    ("how is the weather tomorrow", "Cloudy, with a high of nine degrees."),
    ("set a timer for ten minutes", "Ten minutes, starting now."),
    ("kể cho tôi nghe một câu chuyện", "Ngày xửa ngày xưa, có một cô bé sống bên dòng sông."),
    ("how far is the moon", "About 384,000 kilometres."),
)
_ERRORS: Final = (("timeout", "llm"), ("unavailable", "tts"), ("rate_limited", "llm"))


async def fill(folder: Path, *, days: int = 45, places: Sequence[Place] = PLACES, owner: str = "") -> None:
    """Writes the database of a server whose folder is `folder`; the last turn was some minutes ago."""
    data = folder / "data"
    store = sqlite_store(data)
    await store.open()
    now = datetime.now(UTC)
    rng = random.Random(11)
    try:
        async with store.write() as session:
            for number, place in enumerate(places):
                device = Device(
                    id=place.device_id, client_id=f"client-{number}", name=place.name, room=place.room,
                    board=place.board, firmware_version="2.2.1", owner_id=owner, revision=number + 1,
                    created_at=now - timedelta(days=days), updated_at=now,
                    last_seen_at=now - timedelta(minutes=7 * number + 2),
                )  # fmt: skip
                device.search = search_text(device)
                session.add(device)
        for place in places:
            await _talk(store, place, days, now, rng, owner)
    finally:
        await store.aclose()


async def _talk(store: Store, place: Place, days: int, now: datetime, rng: random.Random, owner: str) -> None:
    records, sessions = [], []
    for day in range(days):
        count = max(1, round(rng.gauss(place.turns_a_day, place.turns_a_day / 4)))
        until = now - timedelta(days=day)
        # In the small hours it talked between midnight and then, as each day has its conversations.
        midnight = datetime.combine(until.date(), time(), UTC)
        for conversation in range(max(1, count // 3)):
            ago = timedelta(minutes=20 + rng.randrange(1, 700 if day else 90))
            began = until - min(ago, (until - midnight) * (ago / timedelta(hours=12)))
            session_id = f"{place.device_id.replace('-', '')}{day:04x}{conversation:04x}"
            for number in range(1, 4):
                records.append(_turn(place, session_id, number, began, rng, owner))
            if day < 10:
                received = rng.randrange(300, 900)
                sessions.append(
                    SessionStatistics(
                        session_id=session_id, device_id=place.device_id, transport="udp",
                        started_at=began, ended_at=began + timedelta(minutes=1), reason="goodbye",
                        udp_seen=True, received=received, lost=round(received * rng.uniform(0, 0.02)),
                        jitter_ms=rng.uniform(4, 20), round_trip_ms=rng.uniform(6, 30),
                    )
                )  # fmt: skip
    async with store.write() as session:
        await save_turns(session, records)
        session.add_all(sessions)


def _turn(
    place: Place, session_id: str, number: int, began: datetime, rng: random.Random, owner: str
) -> TurnRecord:
    heard, reply = rng.choice(_SAID)
    first = rng.lognormvariate(6.95, 0.35)
    error, role = rng.choice(_ERRORS) if rng.random() < 0.03 else ("", "")
    uses = (
        ProviderUse("stt", "whisper-base", audio_s=2.4),
        ProviderUse(
            "llm", "openai", input_tokens=rng.randrange(400, 1600), output_tokens=rng.randrange(12, 90),
            cost=rng.uniform(0.0004, 0.002),
        ),
        ProviderUse("tts", "hibari", characters=len(reply), cost=len(reply) * 1e-5),
    )  # fmt: skip
    return TurnRecord(
        session_id, place.device_id, number, began + timedelta(seconds=12 * number), "auto", heard, reply,
        "failed" if error else "answered",
        {} if error else {
            "endpoint": first * 0.45, "transcript": first * 0.6, "first_token": first * 0.8,
            "first_sentence": first * 0.9, "first_audio": first, "stop": first + 2400,
        },
        kind="utterance", agent=place.agent, owner_id=owner, uses=uses, heard_s=2.4, spoken_s=2.9,
        providers={"stt": "whisper-base", "llm": "openai", "tts": "hibari"}, error=error, error_role=role,
    )  # fmt: skip
