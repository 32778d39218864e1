"""The database of `bench api`: devices that have talked for a year, the same with each run.

Written straight into SQLite, table by table: what the server would write, without its transactions.
"""

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine, insert

from mimi_mqtt.store.devices import search_text
from mimi_mqtt.store.histogram import BUCKETS, bucket_of
from mimi_mqtt.store.search import row_words
from mimi_mqtt.store.tables import AMOUNTS, LATENCIES, SUMS, Device
from mimi_mqtt.store.words import indexed

TURNS_EACH: Final = 4
"""Turns of a conversation."""
DAYS: Final = 365
TALKING: Final = 1_000
"""Devices that talk, of those there are."""
RARE: Final = "kaleidoscope"
"""A word that one turn of some ten thousand has."""
COMMON: Final = "light"
"""A word that every seventh turn has."""
CHINESE: Final = "客厅"
"""A word of two characters."""
CLIENT_ID: Final = "bench"

_TEMPLATES: Final = 2_000
_ROWS: Final = 5_000
_LATENCY_MS: Final = 900.0
_AGENTS: Final = ("default", "chef")
_WORDS: Final = (
    *("turn", "on", "off", "the", "light", "in", "kitchen", "hall", "office", "please", "what", "is", "time"),
    *("weather", "tomorrow", "set", "a", "timer", "for", "ten", "minutes", "play", "some", "music", "by"),
    *("tell", "me", "story", "about", "cat", "dog", "moon", "sea", "remind", "to", "call", "mother", "at"),
    *("seven", "how", "far", "away", "sun", "who", "wrote", "this", "book", "translate", "good", "morning"),
    *("into", "french", "stop", "thank", "you", "louder", "quieter"),
)
_OTHERS: Final = (
    *("打开客厅的灯", "明天天气怎么样", "Включи свет на кухне", "Bật đèn phòng khách", "電気をつけて"),
)


@dataclass(frozen=True, slots=True)
class Filled:
    """The content of the database; `some` are ids of conversations."""

    devices: int
    talking: int
    conversations: int
    turns: int
    some: tuple[str, ...]
    last_day: date


@dataclass(frozen=True, slots=True)
class _Template:
    heard: str
    reply: str
    words: str
    timings: str
    bucket: int
    outcome: str


def device_id(number: int) -> str:
    """The id of a device."""
    return f"02-00-00-{number >> 16:02x}-{number >> 8 & 0xFF:02x}-{number & 0xFF:02x}"


def fill(path: Path, devices: int, turns: int, now: datetime) -> Filled:
    """Fills the database at `path`, which has its tables; the last turn was at `now`, in UTC."""
    rng = random.Random(7)
    _add_devices(path, devices, now)
    templates = [_template(rng) for _ in range(_TEMPLATES)]
    talking = min(devices, TALKING)
    conversations = turns // TURNS_EACH
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "cache_size=-200000", "foreign_keys=OFF"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("BEGIN")
        _add_conversations(db, conversations, talking, templates, now)
        _add_statistics(db, conversations, talking, templates, now)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode=WAL")
    some = tuple(f"bench-{rng.randrange(conversations)}" for _ in range(50)) if conversations else ()
    return Filled(devices, talking, conversations, conversations * TURNS_EACH, some, now.date())


def _add_devices(path: Path, devices: int, now: datetime) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for start in range(0, devices, _ROWS):
            rows = []
            for number in range(start, min(devices, start + _ROWS)):
                device = Device(
                    id=device_id(number), client_id=CLIENT_ID, name=f"Speaker {number}",
                    board="bread-compact-wifi", firmware_version="2.2.1", owner_id=f"u{number % 997}",
                    revision=number + 1, created_at=now, updated_at=now, last_seen_at=now,
                )  # fmt: skip
                device.search = search_text(device)
                rows.append(device.model_dump())
            connection.execute(insert(Device), rows)
    engine.dispose()


def _template(rng: random.Random) -> _Template:
    heard = " ".join(rng.choices(_WORDS, k=rng.randint(3, 9)))
    if rng.random() < 0.1:
        heard = rng.choice(_OTHERS)
    if rng.random() < 0.14:
        heard += f" {COMMON}"
    reply = " ".join(rng.choices(_WORDS, k=rng.randint(5, 25))).capitalize() + "."
    first_audio = rng.lognormvariate(0, 0.5) * _LATENCY_MS
    timings = {"endpoint": 120.0, "transcript": 300.0, "first_token": 500.0, "first_audio": first_audio}
    outcome = "failed" if rng.random() < 0.02 else "answered"
    return _Template(
        heard, reply, " ".join(indexed(heard, reply)), json.dumps(timings), bucket_of(first_audio), outcome
    )


def _began(number: int, conversations: int, now: datetime) -> datetime:
    """The beginning of a conversation: they are spread evenly over the year."""
    return now - timedelta(days=DAYS) * ((conversations - number) / conversations)


def _owner(talker: int) -> str:
    return f"u{talker % 997}"


def _agent(talker: int) -> str:
    return _AGENTS[talker % 5 == 0]


def _picked(number: int, turn: int) -> int:
    return (number * TURNS_EACH + turn) * 7_919 % _TEMPLATES


def _text(at: datetime) -> str:
    return at.replace(tzinfo=None).isoformat(" ", "microseconds")


def _add_conversations(
    db: sqlite3.Connection, conversations: int, talking: int, templates: list[_Template], now: datetime
) -> None:
    for start in range(0, conversations, _ROWS):
        numbers = range(start, min(conversations, start + _ROWS))
        db.executemany(
            "INSERT INTO conversations (id, device_id, started_at, last_turn_at, agent, owner_id, outcome, "
            "turns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    f"bench-{number}", device_id(number % talking), _text(at),
                    _text(at + timedelta(seconds=10 * TURNS_EACH)), _agent(number % talking),
                    _owner(number % talking), _gravest(number, templates), TURNS_EACH,
                )
                for number in numbers
                for at in [_began(number, conversations, now)]
            ),
        )  # fmt: skip
        db.executemany(
            "INSERT INTO turns (id, conversation_id, number, started_at, mode, heard, reply, outcome, "
            "timings_ms, tools_called, kind, agent, providers, heard_s, spoken_s) "
            "VALUES (?, ?, ?, ?, 'auto', ?, ?, ?, ?, '[]', 'utterance', ?, ?, 2.5, 4.0)",
            (
                (
                    number * TURNS_EACH + turn + 1, f"bench-{number}", turn + 1,
                    _text(at + timedelta(seconds=10 * turn)), _heard(number, turn, template), template.reply,
                    template.outcome, template.timings, _agent(number % talking),
                    '{"stt":"whisper","llm":"openai","tts":"piper"}',
                )
                for number, turn, template, at in _turns(numbers, templates, conversations, now)
            ),
        )  # fmt: skip
        db.executemany(
            "INSERT INTO turn_words (rowid, words) VALUES (?, ?)",
            (
                (
                    number * TURNS_EACH + turn + 1,
                    row_words(_words(number, turn, template), _owner(number % talking),
                              device_id(number % talking)),
                )
                for number, turn, template, _ in _turns(numbers, templates, conversations, now)
            ),
        )  # fmt: skip


def _turns(
    numbers: range, templates: list[_Template], conversations: int, now: datetime
) -> Iterator[tuple[int, int, _Template, datetime]]:
    for number in numbers:
        at = _began(number, conversations, now)
        for turn in range(TURNS_EACH):
            yield number, turn, templates[_picked(number, turn)], at


def _is_rare(number: int, turn: int) -> bool:
    return (number * TURNS_EACH + turn) % 10_007 == 0


def _heard(number: int, turn: int, template: _Template) -> str:
    return f"{template.heard} {RARE}" if _is_rare(number, turn) else template.heard


def _words(number: int, turn: int, template: _Template) -> list[str]:
    return [template.words, RARE] if _is_rare(number, turn) else [template.words]


def _gravest(number: int, templates: list[_Template]) -> str:
    outcomes = {templates[_picked(number, turn)].outcome for turn in range(TURNS_EACH)}
    return "failed" if "failed" in outcomes else "answered"


# ── statistics ───────────────────────────────────────────────────────────────────────────────────────────


class _Sums:
    def __init__(self) -> None:
        self.turns = self.failed = 0
        self.buckets = [0] * BUCKETS

    def row(self) -> list[float]:
        sums = {"turns": self.turns, "failed": self.failed}
        amounts = {"heard_s": 2.5 * self.turns, "spoken_s": 4.0 * self.turns}
        return [
            *(sums.get(name, 0) for name in SUMS), *(amounts.get(name, 0.0) for name in AMOUNTS),
            *self.buckets,
        ]  # fmt: skip


_PROVIDERS: Final = (("", ""), ("stt", "whisper"), ("llm", "openai"), ("tts", "piper"))


def _add_statistics(
    db: sqlite3.Connection, conversations: int, talking: int, templates: list[_Template], now: datetime
) -> None:
    """The sums of the turns, day by day: they are in the order of their days."""
    columns = ("device_id", "day", "owner_id", "agent", "role", "provider", *SUMS, *AMOUNTS, *LATENCIES)
    places = ", ".join("?" * len(columns))
    query = f"INSERT INTO daily_statistics ({', '.join(columns)}) VALUES ({places})"  # noqa: S608

    def save(day: date, of_day: dict[tuple[str, str, str], _Sums]) -> None:
        db.executemany(
            query,
            (
                (device, day.isoformat(), owner, agent, role, provider, *sums.row())
                for (device, owner, agent), sums in of_day.items()
                for role, provider in _PROVIDERS
            ),
        )

    of_day: dict[tuple[str, str, str], _Sums] = {}
    today: date | None = None
    for number in range(conversations):
        day = _began(number, conversations, now).astimezone(UTC).date()
        if today is not None and day != today:
            save(today, of_day)
            of_day = {}
        today = day
        talker = number % talking
        for key in ((device_id(talker), _owner(talker), _agent(talker)), ("", "", _agent(talker))):
            sums = of_day.setdefault(key, _Sums())
            for turn in range(TURNS_EACH):
                template = templates[_picked(number, turn)]
                sums.turns += 1
                sums.failed += template.outcome == "failed"
                sums.buckets[template.bucket] += 1
    if today is not None:
        save(today, of_day)
