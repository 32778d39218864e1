"""The process of one attack: reads an `Order` as JSON from standard input, prints a line when it begins, and
what it did as JSON.

It goes to 127.0.0.1 only, ends by itself when its time is over, and gives way to all other processes.
"""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import Final

from mimi_mqtt.cli.bench._gate_load import raise_descriptor_limit
from mimi_mqtt.cli.bench.attacks._catalog import ATTACKS
from mimi_mqtt.cli.bench.attacks._target import Order, Target

_NICE: Final = 10  # an attacker's processor is its own: it must not take the server's
_LATE_S: Final = 10.0


def main() -> None:
    """Carries the order out."""
    os.nice(_NICE)
    raise_descriptor_limit()
    order = Order(**json.loads(sys.stdin.readline()))
    print("began", flush=True)
    print(json.dumps(asyncio.run(_attack(order))), flush=True)


async def _attack(order: Order) -> dict[str, int]:
    target = Target(order)
    try:
        async with asyncio.timeout(order.seconds + _LATE_S):
            await ATTACKS[order.name](target)
    except TimeoutError:
        pass
    return asdict(target.did)


if __name__ == "__main__":
    main()
