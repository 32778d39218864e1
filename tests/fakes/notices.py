"""Stand-ins for what surrounds notices: devices in any state, voices that need no synthesis, a memory."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mimi_mqtt.commands.kept_notices import KeepsNotices
from mimi_mqtt.errors import AudioError, ProviderUnavailable
from mimi_mqtt.session.reach import Reach
from mimi_mqtt.store.notices import NoticeRow
from mimi_mqtt.voice.notices.recording import Recording
from mimi_mqtt.voice.notices.sound import Sound
from mimi_mqtt.voice.ports import Announcement
from mimi_mqtt.wire.messages import Subtitle
from mimi_mqtt.wire.ogg import OpusPacket

FRAME = OpusPacket(b"\x58" * 20, 2_880)


@dataclass
class FakeDevices:
    """Implements `commands.ports.NoticeControl`: each device is in the state of `states`, else away."""

    states: dict[str, Reach] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    announced: list[tuple[str, Announcement]] = field(default_factory=list)
    notified: list[tuple[str, str, tuple[Subtitle, ...]]] = field(default_factory=list)
    alerts: list[tuple[str, str]] = field(default_factory=list)
    refuses: bool = False

    def knows(self, device_id: str) -> bool:
        return device_id not in self.unknown

    def reach(self, device_id: str) -> Reach:
        return self.states.get(device_id, Reach.AWAY)

    def speaker(self, device_id: str) -> tuple[str, str]:
        return "default", "en"

    def announce(self, device_id: str, announcement: Announcement) -> bool:
        if self.refuses or self.reach(device_id) is not Reach.TALKING:
            return False
        self.announced.append((device_id, announcement))
        return True

    def notify(self, device_id: str, url: str, subtitles: tuple[Subtitle, ...]) -> bool:
        if self.reach(device_id) is Reach.AWAY:
            return False
        self.notified.append((device_id, url, subtitles))
        return True

    def alert(self, device_id: str, status: str, message: str, emotion: str) -> bool:
        if self.reach(device_id) not in (Reach.NOTIFY, Reach.ALERT, Reach.TALKING):
            return False
        self.alerts.append((device_id, message))
        return True


@dataclass
class FakeVoices:
    """Implements `commands.ports.NoticeVoice`: each text is 20 frames (1.2 s), after `delay_s`.

    `fails` has it fail. `made` counts, and `live` are the recordings that somebody holds.
    """

    delay_s: float = 0.0
    fails: bool = False
    made: list[str] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)

    async def speak(self, text: str, agent: str, language: str) -> Recording:
        self.made.append(text)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.fails:
            raise ProviderUnavailable("voice", "it is down")
        return await self._recording(text)

    async def record(self, sound: Sound) -> Recording:
        if sound == b"noise":
            raise AudioError("this is no sound")
        return await self._recording("")

    async def _recording(self, text: str) -> Recording:
        recording = Recording()
        recording.hold()
        recording.plan([text])
        self.recordings.append(recording)

        async def work() -> None:
            recording.sentence(0)
            recording.add([FRAME] * 20)

        recording.make(work(), "fake speech")
        await recording.ended()
        return recording

    @property
    def held(self) -> int:
        """Holds that were not released."""
        return sum(recording._holders for recording in self.recordings)


@dataclass
class MemoryOfNotices(KeepsNotices):
    """Implements `KeepsNotices` without a database, as long as `stores` is set; survives what uses it."""

    rows: dict[str, NoticeRow] = field(default_factory=dict)
    sounds: dict[str, bytes] = field(default_factory=dict)
    stores: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.stores.set()

    async def load(self, now: datetime) -> tuple[Sequence[NoticeRow], Mapping[str, bytes]]:
        return [row for row in self.rows.values() if row.expires_at > now], dict(self.sounds)

    def keep(self, row: NoticeRow, sound: bytes = b"") -> None:
        self.rows[row.id] = row
        if sound:
            self.sounds[row.sound_id] = sound

    def forget(self, notice_id: str) -> None:
        self.rows.pop(notice_id, None)

    async def stored(self) -> None:
        await self.stores.wait()


def virtual_now() -> datetime:
    """The loop's time as a wall clock."""
    return datetime(2026, 8, 1, tzinfo=UTC) + timedelta(seconds=asyncio.get_running_loop().time())
