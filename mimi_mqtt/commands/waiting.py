"""Notices that are not told yet, by device, in the order in which they are to be told. Pure.

Bounded for each device and in all, and by the bytes of the recordings that they play.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from mimi_mqtt.store.notices import NoticeRow
from mimi_mqtt.voice.notices.recording import Recording

MAX_PER_DEVICE: Final = 16
"""Notices of one device that are not told yet."""
MAX_IN_ALL: Final = 10_000
"""Notices of all devices that are not told yet."""
TOLD_WITHIN: Final = timedelta(minutes=15)
"""Longest time from the expiry of a notice that is being told to its end."""
MAX_SOUND_BYTES: Final = 64 << 20
"""Bytes of all recordings that these play."""


class TooManyNotices(Exception):
    """A bound is reached; the text says which, and what to do."""


class NoticeState(Enum):
    """The present state of a notice that is not told yet."""

    WAITING = "waiting"
    NOTIFYING = "notifying"
    """Its sound is being made, or its address is open."""
    ANNOUNCED = "announced"
    """The device's session has it."""


@dataclass(slots=True, eq=False)
class Notice:
    """One text, or sound, for one device."""

    id: str
    device_id: str
    text: str = field(repr=False)
    created_at: datetime
    expires_at: datetime
    urgent: bool = False
    recording: Recording | None = None
    """The sound that is played in place of the text."""
    sound_id: str = ""
    """The SHA-256 of the whole recording; empty until it is there, and without one."""
    shown: bool = False
    tries: int = 0
    """Addresses that the device was given and did not fetch."""
    state: NoticeState = NoticeState.WAITING

    @property
    def row(self) -> NoticeRow:
        """The notice as the database keeps it."""
        return NoticeRow(
            self.id,
            self.device_id,
            self.text,
            self.sound_id,
            self.urgent,
            self.shown,
            self.tries,
            self.created_at,
            self.expires_at,
        )

    @classmethod
    def of(cls, row: NoticeRow, recording: Recording | None) -> "Notice":
        """The notice of a row."""
        return cls(
            row.id,
            row.device_id,
            row.text,
            row.created_at,
            row.expires_at,
            row.urgent,
            recording,
            row.sound_id,
            row.shown,
            row.tries,
        )


class WaitingList:
    """All notices that are not told yet."""

    def __init__(self) -> None:
        self._of: dict[str, list[Notice]] = {}
        self._count = 0
        self._players: Counter[Recording] = Counter()  # notices that play each

    def __len__(self) -> int:
        """Notices."""
        return self._count

    def __iter__(self) -> Iterator[Notice]:
        """Every notice."""
        return (notice for notices in list(self._of.values()) for notice in list(notices))

    def __contains__(self, notice: Notice) -> bool:
        return notice in self._of.get(notice.device_id, ())

    @property
    def sound_bytes(self) -> int:
        """Bytes of all recordings; one that several notices play counts once."""
        return sum(recording.size for recording in self._players)

    def check(self, device_id: str) -> None:
        """Raises TooManyNotices where no further notice may wait for the device."""
        if len(self._of.get(device_id, ())) >= MAX_PER_DEVICE:
            raise TooManyNotices(
                f"{MAX_PER_DEVICE} notices wait for {device_id}: it has to hear them first, or they expire"
            )
        if self._count >= MAX_IN_ALL:
            raise TooManyNotices(f"{MAX_IN_ALL} notices wait for all devices: ask again when some were heard")

    def check_sound(self) -> None:
        """Raises TooManyNotices where no further recording may wait."""
        if self.sound_bytes > MAX_SOUND_BYTES:
            raise TooManyNotices(
                f"the sounds that wait have {MAX_SOUND_BYTES >> 20} MiB: ask again when some were heard"
            )

    def add(self, notice: Notice) -> None:
        """Adds a notice: urgent ones come first, each kind in the order of its making. Raises
        TooManyNotices."""
        self.check(notice.device_id)
        notices = self._of.setdefault(notice.device_id, [])
        notices.append(notice)
        notices.sort(key=lambda each: (not each.urgent, each.created_at))
        self._count += 1
        if notice.recording is not None:
            self._players[notice.recording] += 1

    def of(self, device_id: str) -> tuple[Notice, ...]:
        """The device's notices, in the order in which they are to be told."""
        return tuple(self._of.get(device_id, ()))

    def remove(self, notice: Notice) -> bool:
        """Takes a notice out; False when it is not in."""
        notices = self._of.get(notice.device_id, [])
        if notice not in notices:
            return False
        notices.remove(notice)
        self._count -= 1
        if not notices:
            del self._of[notice.device_id]
        if notice.recording is not None:
            self._players[notice.recording] -= 1
            if not self._players[notice.recording]:
                del self._players[notice.recording]
        return True

    def expired(self, now: datetime) -> list[Notice]:
        """The waiting notices whose time is over; those being told have `TOLD_WITHIN` more."""
        return [
            notice
            for notice in self
            if notice.expires_at <= now
            and (notice.state is NoticeState.WAITING or notice.expires_at + TOLD_WITHIN <= now)
        ]


def expiry(now: datetime, expires_s: float) -> datetime:
    """The moment at which a notice that is made now expires."""
    return now + timedelta(seconds=expires_s)
