"""Attacks in rotation on a server whose devices talk: none may be kept from an answer, and nothing grows.

A real server (`mimi-mqtt serve`, offline providers) runs in a process of its own, five simulated devices ask
it something every few seconds, and attackers come from other addresses of 127.0.0.0/8, two at a time, each
for `--each` seconds, until `--seconds` are over. All of it is bounded and ends by itself. Aims: no hello or
turn is lost, hello within 100 ms, first sound at most 400 ms later than alone, memory back to within 20 MiB,
at most 100 KB of log a minute.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench.attacks._attacker import ATTACKS
from mimi_mqtt.cli.bench.attacks._server import Server, server_in
from mimi_mqtt.cli.bench.attacks._target import Order
from mimi_mqtt.cli.bench.attacks._victims import QUESTION, RATE, Victims
from mimi_mqtt.cli.device.speech import synthesise

_WARM_UP_S: Final = 10.0
_RECOVERY_S: Final = 30.0
_AT_ONCE: Final = 2
_LATE_S: Final = 30.0
_FIGURES: Final = ("runs", "lost", "worst_hello_ms", "worst_first_sound_ms")
_PASSWORD: Final = "kept from strangers"  # noqa: S105  (of a server that lives for this bench)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --seconds, --each, --devices, all bounded, and --only."""
    bounded(
        parser,
        ("--seconds", 10, 7_200, 300, "how long attacks go on"),
        ("--each", 5, 120, 15, "how long one attack goes on"),
        ("--alone", 10, 300, 30, "how long the devices talk alone before"),
        ("--devices", 1, 20, 5, "devices that talk"),
    )
    parser.add_argument(
        "--only", choices=sorted(ATTACKS), action="append", metavar="ATTACK",
        help=f"only this attack; may be given again ({', '.join(sorted(ATTACKS))})",
    )  # fmt: skip


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs the attacks."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, object]:
    names = args.only or list(ATTACKS)
    sound = await synthesise(QUESTION, RATE, "en", "offline")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(
            server_in(
                folder,
                MIMI_ACCOUNTS__ADMIN_PASSWORD=_PASSWORD,
                MIMI_ACCOUNTS__ANONYMOUS="true",
                MIMI_ASSISTANT__LANGUAGE="en",
            )
        )
        victims = Victims(args.devices, folder / "sessions")
        talking = True
        tasks = [
            asyncio.create_task(each.talk(server.ota, sound, lambda: talking, victims.note_sessions))
            for each in victims.each
        ]
        stack.callback(lambda: [task.cancel() for task in tasks])
        await asyncio.sleep(_WARM_UP_S)  # caches fill, pools start
        began = time.monotonic()
        await asyncio.sleep(args.alone)
        attacked = time.monotonic()
        before = _state(server)
        rotation = _Rotation(server, victims, folder / "sessions", names, args.each)
        await rotation.run(attacked + args.seconds)
        ended = time.monotonic()
        await asyncio.sleep(_RECOVERY_S)
        after = _state(server)
        talking = False
        await asyncio.wait(tasks, timeout=60.0)
        refusals = await server.refusals()
        attacked_log = after["log_bytes"] - before["log_bytes"]
        figures = victims.between(attacked, ended)
        return {
            "bench": "attacks",
            "seconds": round(ended - attacked),
            "devices": args.devices,
            "alone": victims.between(began, attacked).to_json(),
            "attacked": figures.to_json(),
            "lost_first": figures.lost[:10],
            "memory_mib_before": round(before["memory_mib"], 1),
            "memory_mib_most": round(rotation.most_memory_mib, 1),
            "memory_mib_30_s_after": round(after["memory_mib"], 1),
            "memory_mib_by_round": rotation.memory_mib,
            "descriptors_before": before["descriptors"],
            "descriptors_30_s_after": after["descriptors"],
            "log_kb_per_minute": round(attacked_log / 1000 / max(1.0, (ended - attacked) / 60), 1),
            "refused": refusals,
            "by_attack": rotation.by_attack,
        }


def _state(server: Server) -> dict[str, Any]:
    return {
        "memory_mib": server.memory_mib,
        "descriptors": server.descriptors,
        "log_bytes": server.log_bytes,
    }


class _Rotation:
    """Attacks one after another, two at a time."""

    def __init__(
        self, server: Server, victims: Victims, sessions: Path, names: list[str], each_s: float
    ) -> None:
        self._server = server
        self._victims = victims
        self._sessions = sessions
        self._names = names
        self._each_s = each_s
        self._number = 0
        self.by_attack: dict[str, dict[str, object]] = {}
        self.memory_mib: list[float] = []
        """Memory at the end of each round of all attacks."""
        self.most_memory_mib = 0.0

    async def run(self, until: float) -> None:
        """Attacks until the monotonic time `until`."""
        sampling = asyncio.create_task(self._sample())
        try:
            lanes = min(_AT_ONCE, len(self._names))
            await asyncio.gather(*(self._lane(until) for _ in range(lanes)))
        finally:
            sampling.cancel()

    async def _lane(self, until: float) -> None:
        while (left := until - time.monotonic()) > 1.0:
            name = self._names[self._number % len(self._names)]
            self._number += 1
            if self._number % len(self._names) == 0:
                self.memory_mib.append(round(self._server.memory_mib, 1))
            await self._attack(name, min(self._each_s, left))

    async def _attack(self, name: str, seconds: float) -> None:
        network = 1 + self._number % 250  # addresses of its own each time
        server = self._server
        order = Order(name, server.http, server.mqtt, server.udp, seconds, network, str(self._sessions))
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mimi_mqtt.cli.bench.attacks._attacker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds + _LATE_S):
                out, _ = await process.communicate(json.dumps(asdict(order)).encode() + b"\n")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        did = json.loads(out) if out.strip() else {"failed": process.returncode}
        self._note(name, did, began)

    def _note(self, name: str, did: dict[str, Any], began: float) -> None:
        figures = self._victims.between(began, time.monotonic())
        worst = [heard.ms for heard in figures.hellos if heard.ms is not None]
        sounds = [heard.ms for heard in figures.turns if heard.ms is not None]
        entry = self.by_attack.setdefault(name, dict.fromkeys(_FIGURES, 0.0))
        entry["runs"] = _number(entry["runs"]) + 1
        entry["worst_hello_ms"] = round(max([*worst, _number(entry["worst_hello_ms"])]), 1)
        entry["worst_first_sound_ms"] = round(max([*sounds, _number(entry["worst_first_sound_ms"])]), 1)
        for key in ("opened", "refused", "sent", "caught", "failed"):
            if key in did:
                entry[key] = _number(entry.get(key, 0)) + did[key]
        entry["lost"] = _number(entry.get("lost", 0)) + len(figures.lost)
        print(json.dumps({"attack": name, **did, **figures.to_json()}), file=sys.stderr, flush=True)

    async def _sample(self) -> None:
        while True:
            self.most_memory_mib = max(self.most_memory_mib, self._server.memory_mib)
            await asyncio.sleep(1.0)


def _number(value: object) -> float:
    return value if isinstance(value, (int, float)) else 0.0
