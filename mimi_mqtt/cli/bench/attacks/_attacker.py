"""The process of one attack: reads an `Order` as JSON from standard input, prints what it did as JSON.

It goes to 127.0.0.1 only, ends by itself when its time is over, and gives way to all other processes.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from mimi_mqtt.cli.bench._gate_load import raise_descriptor_limit
from mimi_mqtt.cli.bench.attacks import _audio_attacks as audio
from mimi_mqtt.cli.bench.attacks import _mqtt_attacks as mqtt
from mimi_mqtt.cli.bench.attacks import _web_attacks as web
from mimi_mqtt.cli.bench.attacks._target import Order, Target

ATTACKS: Final[dict[str, Callable[[Target], Awaitable[None]]]] = {
    attack.__name__: attack
    for attack in (
        web.websocket_pings, web.websocket_fragments, web.pipelined_metrics, web.pipelined_pages,
        web.ota_flood, web.silent_http, web.half_requests, web.large_heads,
        mqtt.silent_mqtt, mqtt.silent_mqtt_everywhere, mqtt.guesses, mqtt.reconnects, mqtt.slots,
        mqtt.subscriptions, mqtt.publishes, mqtt.retained, mqtt.kept_sessions, mqtt.hellos,
        mqtt.registrations, audio.datagrams, audio.speeches,
    )
}  # fmt: skip
_NICE: Final = 10  # an attacker's processor is its own: it must not take the server's
_LATE_S: Final = 10.0


def main() -> None:
    """Carries the order out."""
    os.nice(_NICE)
    raise_descriptor_limit()
    order = Order(**json.loads(sys.stdin.readline()))
    print(json.dumps(asyncio.run(_attack(order))), flush=True)


async def _attack(order: Order) -> dict[str, object]:
    target = Target(order)
    try:
        async with asyncio.timeout(order.seconds + _LATE_S):
            await ATTACKS[order.name](target)
    except TimeoutError:
        pass
    return {
        "name": order.name,
        "opened": target.opened,
        "refused": target.refused,
        "sent": target.sent,
        "caught": target.caught,
    }


if __name__ == "__main__":
    main()
