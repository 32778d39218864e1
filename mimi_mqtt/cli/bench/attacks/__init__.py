"""Attacks in rotation on a server whose devices talk: none may be kept from an answer, and nothing grows.

A real server (`mimi-mqtt serve`, offline providers) runs in a process of its own, five simulated devices ask
it something every few seconds, another says hello five times a second, and attackers come from other
addresses of 127.0.0.0/8, `--at-once` at a time, each for `--each` seconds, until `--seconds` are over. All of
it is bounded and ends by itself. Aims: no hello or turn is lost, hello within 100 ms, first sound at most
400 ms later than alone, memory back to within 20 MiB, at most 100 KB of log a minute.
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench.attacks._catalog import ATTACKS
from mimi_mqtt.cli.bench.attacks._rotation import Rotation, slope_per_minute
from mimi_mqtt.cli.bench.attacks._server import server_in
from mimi_mqtt.cli.bench.attacks._victims import QUESTION, RATE, Victims
from mimi_mqtt.cli.device.speech import synthesise

_WARM_UP_S: Final = 10.0
_RECOVERY_S: Final = 30.0
_PASSWORD: Final = "kept from strangers"  # noqa: S105  (of a server that lives for this bench)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --seconds, --each, --at-once, --alone, --devices, all bounded, and --only."""
    bounded(
        parser,
        ("--seconds", 10, 7_200, 300, "how long attacks go on"),
        ("--each", 5, 120, 15, "how long one attack goes on"),
        ("--at-once", 1, 4, 2, "attacks that go on at once"),
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
        settings = {"ACCOUNTS__ADMIN_PASSWORD": _PASSWORD, "ACCOUNTS__ANONYMOUS": "true"}
        settings |= {"ASSISTANT__LANGUAGE": "en"}
        server = await stack.enter_async_context(server_in(folder, settings))
        victims = Victims(args.devices, folder / "sessions")
        rotation = Rotation(server, victims, folder / "sessions", names, args.each)
        async with victims.probed(server), victims.talking(server.ota, sound):
            await asyncio.sleep(_WARM_UP_S)  # caches fill, pools start
            began = time.monotonic()
            await asyncio.sleep(args.alone)
            attacked = time.monotonic()
            memory, descriptors, logged = server.memory_mib, server.descriptors, server.log_bytes
            await rotation.run(attacked + args.seconds, args.at_once)
            ended = time.monotonic()
            logged = server.log_bytes - logged
            await asyncio.sleep(_RECOVERY_S)
            memory_after, descriptors_after = server.memory_mib, server.descriptors
        figures = victims.between(attacked, ended)
        turns = {victim.source: len(victim.turns) for victim in victims.each}
        lost = {victim.source: sum(turn.ms is None for turn in victim.turns) for victim in victims.each}
        return {
            "bench": "attacks",
            "seconds": round(ended - attacked),
            "devices": args.devices,
            "alone": victims.between(began, attacked).to_json(),
            "attacked": figures.to_json(),
            "turns_by_device": turns,
            "lost_by_device": lost,
            "lost_first": figures.lost[:10],
            "memory_mib_before": round(memory, 1),
            "memory_mib_most": round(max((mib for _, mib in rotation.memory), default=0.0), 1),
            "memory_mib_30_s_after": round(memory_after, 1),
            "memory_mib_per_minute": round(slope_per_minute(rotation.memory), 3),
            "descriptors_before": descriptors,
            "descriptors_most": max(rotation.descriptors, default=0),
            "descriptors_30_s_after": descriptors_after,
            "log_kb_per_minute": round(logged / 1000 / max(1.0, (ended - attacked) / 60), 1),
            "refused": await server.refusals(),
            "by_attack": {name: tally.to_json() for name, tally in rotation.by_attack.items()},
        }
