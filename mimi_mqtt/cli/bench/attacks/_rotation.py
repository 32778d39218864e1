"""Attacks one after another, some at a time, and what each did to the victims."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import psutil

from mimi_mqtt.cli.bench.attacks._launch import attack
from mimi_mqtt.cli.bench.attacks._server import Server
from mimi_mqtt.cli.bench.attacks._target import Did, Order
from mimi_mqtt.cli.bench.attacks._victims import Figures, Victims
from mimi_mqtt.errors import StartupError

_SAMPLE_S: Final = 1.0
_WARM_UP_SHARE: Final = 1 / 3  # tables fill to their bounds: not growth
_LEAST_S: Final = 5.0


@dataclass(slots=True)
class Tally:
    """All runs of one attack. What went on beside it shows in its figures, too."""

    runs: int = 0
    failed: int = 0
    """Runs that ended with an error of the attacker's."""
    lost: int = 0
    worst_connect_ms: float = 0.0
    worst_hello_ms: float = 0.0
    worst_first_sound_ms: float = 0.0
    did: Did = field(default_factory=Did)

    def add(self, did: Did | None, figures: Figures) -> None:
        """Adds one run; `did` None when it failed."""
        self.runs += 1
        self.failed += did is None
        self.lost += len(figures.lost)
        self.worst_connect_ms = max(self.worst_connect_ms, figures.worst_connect_ms)
        self.worst_hello_ms = max(self.worst_hello_ms, figures.worst_hello_ms)
        self.worst_first_sound_ms = max(self.worst_first_sound_ms, figures.worst_first_sound_ms)
        if did is not None:
            self.did.add(did)

    def to_json(self) -> dict[str, object]:
        """All figures, those of the attacker without zeros."""
        did = {name: number for name, number in asdict(self.did).items() if number}
        rounded = {
            "worst_connect_ms": round(self.worst_connect_ms, 1),
            "worst_hello_ms": round(self.worst_hello_ms, 1),
            "worst_first_sound_ms": self.worst_first_sound_ms,
        }
        return {"runs": self.runs, "failed": self.failed, "lost": self.lost, **rounded, **did}


class Rotation:
    """The attacks `names`, each for `each_s` seconds, over and over."""

    def __init__(
        self, server: Server, victims: Victims, sessions: Path, names: Sequence[str], each_s: float
    ) -> None:
        self._server = server
        self._victims = victims
        self._sessions = sessions
        self._names = names
        self._each_s = each_s
        self._number = 0
        self.by_attack: dict[str, Tally] = {}
        self.memory: list[tuple[float, float]] = []
        """The server's memory in MiB, by monotonic seconds."""
        self.descriptors: list[int] = []

    async def run(self, until: float, at_once: int) -> None:
        """Attacks until the monotonic time `until`."""
        sampling = asyncio.create_task(self._sample())
        try:
            await asyncio.gather(*(self._lane(until) for _ in range(min(at_once, len(self._names)))))
        finally:
            sampling.cancel()
            await asyncio.wait([sampling])

    async def _lane(self, until: float) -> None:
        while (left := until - time.monotonic()) > _LEAST_S:
            name = self._names[self._number % len(self._names)]
            self._number += 1
            await self._attack(name, min(self._each_s, left), self._number)

    async def _attack(self, name: str, seconds: float, number: int) -> None:
        server = self._server
        network = 1 + number % 250  # addresses of its own each time
        began = time.monotonic()
        order = Order(name, server.http, server.mqtt, server.udp, seconds, network, str(self._sessions))
        try:
            did = await attack(order)
        except (StartupError, TimeoutError):
            did = None
        figures = self._victims.between(began, time.monotonic())
        self.by_attack.setdefault(name, Tally()).add(did, figures)
        told = {"attack": name, **(asdict(did) if did is not None else {}), **figures.to_json()}
        print(json.dumps(told), file=sys.stderr, flush=True)

    async def _sample(self) -> None:
        while True:
            try:
                self.memory.append((time.monotonic(), self._server.memory_mib))
                self.descriptors.append(self._server.descriptors)
            except psutil.Error:
                return  # the server is gone: the victims tell
            await asyncio.sleep(_SAMPLE_S)


def slope_per_minute(samples: Sequence[tuple[float, float]]) -> float:
    """The least-squares slope of the last two thirds of `samples` (seconds, value), a minute."""
    late = samples[int(len(samples) * _WARM_UP_SHARE) :]
    if len(late) < 2:
        return 0.0
    middle_at = sum(at for at, _ in late) / len(late)
    middle = sum(value for _, value in late) / len(late)
    spread = sum((at - middle_at) ** 2 for at, _ in late)
    return 60 * sum((at - middle_at) * (value - middle) for at, value in late) / spread
