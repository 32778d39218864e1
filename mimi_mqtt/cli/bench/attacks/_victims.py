"""Devices that talk while the server is attacked, and how soon they are answered."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device.actions import ChannelOpened, Send
from mimi_mqtt.cli.device.client import DeviceOptions, Told, converse
from mimi_mqtt.cli.device.options import TurnReport

RATE: Final = 16_000
QUESTION: Final = "what time is it"
_TIMEOUT_S: Final = 30.0
_PAUSE_S: Final = 1.5


@dataclass(slots=True)
class Heard:
    """A victim's hello or turn: `at` is monotonic seconds, `ms` None when no answer came."""

    at: float
    ms: float | None
    error: str = ""


@dataclass(slots=True)
class Victim:
    """One device: its hellos, and its turns by the time from the end of the speech to the first sound."""

    mac: str
    hellos: list[Heard] = field(default_factory=list)
    turns: list[Heard] = field(default_factory=list)
    ssrc: int = 0

    async def talk(
        self, ota: str, sound: Pcm, go_on: Callable[[], bool], changed: Callable[[], None]
    ) -> None:
        """Boots, says hello, asks, and leaves, again and again while `go_on`."""
        asked_at: float | None = None

        def tell(told: Told) -> None:
            nonlocal asked_at
            now = time.monotonic()
            match told:
                case Send(payload) if asked_at is None and json.loads(payload).get("type") == "hello":
                    asked_at = now
                case ChannelOpened(ssrc=ssrc):
                    if asked_at is not None:
                        self.hellos.append(Heard(asked_at, (now - asked_at) * 1000))
                    asked_at = None
                    self.ssrc = ssrc
                    changed()
                case TurnReport():
                    self.turns.append(Heard(now, told.first_audio_ms if told.ok else None, told.error))

        while go_on():
            asked_at = None
            before = len(self.turns)
            options = DeviceOptions(ota=ota, mac=self.mac, pcm=sound, sample_rate=RATE, timeout_s=_TIMEOUT_S)
            summary = await converse(options, tell)
            if len(self.turns) == before:  # it did not come so far
                self.turns.append(Heard(time.monotonic(), None, summary.error))
            await asyncio.sleep(_PAUSE_S)


class Victims:
    """Some devices that talk at once; their ssrc are written to `sessions` for attackers that saw them."""

    def __init__(self, count: int, sessions: Path) -> None:
        self.each = [Victim(f"02:00:00:00:00:{number + 1:02x}") for number in range(count)]
        self._sessions = sessions

    def note_sessions(self) -> None:
        """Writes the ssrc of all sessions, one a line."""
        draft = self._sessions.with_suffix(".new")
        draft.write_text("".join(f"{victim.ssrc}\n" for victim in self.each if victim.ssrc), "ascii")
        draft.replace(self._sessions)

    def between(self, began: float, ended: float) -> "Figures":
        """What was heard from `began` to `ended` (monotonic seconds)."""
        hellos = [heard for each in self.each for heard in each.hellos if began <= heard.at < ended]
        turns = [heard for each in self.each for heard in each.turns if began <= heard.at < ended]
        return Figures(hellos, turns)


@dataclass(frozen=True, slots=True)
class Figures:
    """Hellos and turns of some time."""

    hellos: list[Heard]
    turns: list[Heard]

    @property
    def lost(self) -> list[str]:
        """Errors of the hellos and turns that were not answered."""
        return [heard.error or "no answer" for heard in (*self.hellos, *self.turns) if heard.ms is None]

    def to_json(self) -> dict[str, object]:
        """Numbers, and percentiles in ms."""
        return {
            "turns": len(self.turns),
            "lost": len(self.lost),
            **_percentiles("hello", self.hellos),
            **_percentiles("first_sound", self.turns),
        }


def _percentiles(name: str, heard: list[Heard]) -> dict[str, float | None]:
    values = sorted(each.ms for each in heard if each.ms is not None)
    return {
        f"{name}_p50_ms": _at(values, 0.5),
        f"{name}_p99_ms": _at(values, 0.99),
        f"{name}_max_ms": _at(values, 1.0),
    }


def _at(values: list[float], share: float) -> float | None:
    return round(values[min(len(values) - 1, int(share * len(values)))], 1) if values else None
