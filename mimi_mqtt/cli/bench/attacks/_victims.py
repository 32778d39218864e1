"""Devices that talk while the server is attacked, and how soon they are let in, greeted and answered.

They have addresses of their own, 127.0.0.11 and up, from which no attack comes.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.bench.attacks._samples import ProbeOrder, Sample
from mimi_mqtt.cli.bench.attacks._server import Server
from mimi_mqtt.cli.device.actions import ChannelOpened
from mimi_mqtt.cli.device.client import DeviceOptions, Told, converse
from mimi_mqtt.cli.device.options import TurnReport
from mimi_mqtt.errors import StartupError

RATE: Final = 16_000
QUESTION: Final = "what time is it"
_TIMEOUT_S: Final = 30.0
_PAUSE_S: Final = 1.0
_PROBE_MAC: Final = "02:00:00:00:00:f0"
_PROBE_SOURCE: Final = "127.0.0.10"


@dataclass(slots=True)
class Heard:
    """A turn that began at `began` (monotonic seconds): `ms` from the end of the speech to the first sound,
    None when it was lost."""

    began: float
    ms: float | None
    error: str = ""


@dataclass(slots=True)
class Victim:
    """A device, and its turns so far."""

    mac: str
    source: str
    turns: list[Heard] = field(default_factory=list)
    ssrc: int = 0
    """The number of its audio as everybody on its network sees it; 0 before its first hello."""

    async def talk(
        self, ota: str, sound: Pcm, go_on: Callable[[], bool], changed: Callable[[], None]
    ) -> None:
        """Boots, says hello, asks and leaves, again and again while `go_on`; `changed` is called when `ssrc`
        is another."""

        def tell(told: Told) -> None:
            match told:
                case ChannelOpened(ssrc=ssrc):
                    self.ssrc = ssrc
                    changed()
                case TurnReport():
                    self.turns.append(Heard(began, told.first_audio_ms if told.ok else None, told.error))

        options = DeviceOptions(
            ota=ota, mac=self.mac, pcm=sound, sample_rate=RATE, timeout_s=_TIMEOUT_S, source=self.source
        )
        while go_on():
            began, before = time.monotonic(), len(self.turns)
            summary = await converse(options, tell)
            if len(self.turns) == before:  # it did not come so far
                self.turns.append(Heard(began, None, summary.error))
            await asyncio.sleep(_PAUSE_S)


class Victims:
    """Some devices that talk at once; their ssrc are written to `sessions` for attackers that saw them."""

    def __init__(self, count: int, sessions: Path) -> None:
        self.each = [
            Victim(f"02:00:00:00:00:{number + 1:02x}", f"127.0.0.{11 + number}") for number in range(count)
        ]
        self.samples: list[Sample] = []
        self._sessions = sessions

    def note_sessions(self) -> None:
        """Writes the ssrc of all sessions, one a line."""
        draft = self._sessions.with_suffix(".new")
        draft.write_text("".join(f"{victim.ssrc}\n" for victim in self.each if victim.ssrc), "ascii")
        draft.replace(self._sessions)

    @asynccontextmanager
    async def talking(self, ota: str, sound: Pcm) -> AsyncIterator[None]:
        """They talk until the end of the context, which awaits their last turns."""
        talking = True
        async with asyncio.TaskGroup() as group:
            for victim in self.each:
                group.create_task(victim.talk(ota, sound, lambda: talking, self.note_sessions))
            yield
            talking = False

    @asynccontextmanager
    async def probed(self, server: Server) -> AsyncIterator[None]:
        """The probe's samples come in until the end of the context. Raises StartupError when there are
        none."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mimi_mqtt.cli.bench.attacks._probe",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise StartupError("the probe has no pipes")
        order = ProbeOrder(server.http, server.mqtt, _PROBE_MAC, _PROBE_SOURCE)
        stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        reading = asyncio.create_task(self._take(stdout))
        try:
            yield
            stdin.close()
            async with asyncio.timeout(_TIMEOUT_S):
                await reading
                await process.wait()
        finally:
            reading.cancel()
            if process.returncode is None:
                process.kill()
            await process.wait()
        if not self.samples:
            raise StartupError("the probe was never answered")

    async def _take(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            self.samples.append(Sample(**json.loads(line)))

    def between(self, began: float, ended: float) -> "Figures":
        """Hellos and turns that began from `began` to `ended` (monotonic seconds)."""
        samples = [sample for sample in self.samples if began <= sample.at < ended]
        turns = [heard for each in self.each for heard in each.turns if began <= heard.began < ended]
        return Figures(
            [sample for sample in samples if sample.kind == "connect"],
            [sample for sample in samples if sample.kind == "hello"],
            turns,
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """Connects, hellos and turns of some time."""

    connects: list[Sample]
    hellos: list[Sample]
    turns: list[Heard]

    @property
    def lost(self) -> list[str]:
        """Errors of the connects, hellos and turns that were not answered."""
        samples = [heard.error for heard in (*self.connects, *self.hellos) if heard.ms is None]
        turns = [heard.error or "no answer" for heard in self.turns if heard.ms is None]
        return samples + turns

    @property
    def worst_hello_ms(self) -> float:
        """The longest wait for a hello, in ms; 0 when none was answered."""
        return max((heard.ms for heard in self.hellos if heard.ms is not None), default=0.0)

    @property
    def worst_connect_ms(self) -> float:
        """The longest connect, in ms; 0 when there was none."""
        return max((heard.ms for heard in self.connects if heard.ms is not None), default=0.0)

    @property
    def worst_first_sound_ms(self) -> float:
        """The longest wait for the first sound of an answer, in ms; 0 when there was none."""
        return max((heard.ms for heard in self.turns if heard.ms is not None), default=0.0)

    def to_json(self) -> dict[str, object]:
        """Numbers, and percentiles in ms."""
        return {
            "turns": len(self.turns),
            "lost": len(self.lost),
            **_percentiles("connect", [heard.ms for heard in self.connects]),
            **_percentiles("hello", [heard.ms for heard in self.hellos]),
            **_percentiles("first_sound", [heard.ms for heard in self.turns]),
        }


def _percentiles(name: str, times: list[float | None]) -> dict[str, float | None]:
    values = sorted(ms for ms in times if ms is not None)
    return {
        f"{name}_p50_ms": _at(values, 0.5),
        f"{name}_p99_ms": _at(values, 0.99),
        f"{name}_max_ms": _at(values, 1.0),
    }


def _at(values: list[float], share: float) -> float | None:
    return round(values[min(len(values) - 1, int(share * len(values)))], 1) if values else None
