"""Starts processes of attacks, and takes what they say they did."""

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Final

from mimi_mqtt.cli.bench.attacks._target import Did, Order
from mimi_mqtt.errors import StartupError

_LATE_S: Final = 30.0


async def attack(order: Order, began: asyncio.Event | None = None) -> Did:
    """Carries `order` out in a process of its own, which is gone afterwards; sets `began` when it starts to.

    Raises StartupError when it fails, TimeoutError when it does not end.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt.cli.bench.attacks._attacker",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise StartupError("the attacker has no pipes")
    try:
        stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        async with asyncio.timeout(order.seconds + _LATE_S):
            if await stdout.readline() and began is not None:
                began.set()
            out = await stdout.read()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or not out.strip():
        raise StartupError(f"the attack {order.name} ended with code {process.returncode}")
    return Did(**json.loads(out))
