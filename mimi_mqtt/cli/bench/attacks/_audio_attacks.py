"""Attacks on the audio channel: datagrams that claim to be a victim's, and long speech of many devices."""

import asyncio
import os
import random
import socket
import struct
from pathlib import Path

from mimi_mqtt.cli.bench.attacks._target import Target
from mimi_mqtt.cli.device.client import DeviceOptions, converse
from mimi_mqtt.cli.device.speech import synthesise

_RATE = 16_000
_LONG = "the quick brown fox jumps over the lazy dog and then it runs around the house again and again. " * 5


async def datagrams(target: Target) -> None:
    """Random audio under the identities of the victims' sessions, 500 datagrams a second."""
    chance = random.Random(target.order.network)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((target.address(), 0))
        caught = 0
        while target.on():
            for ssrc in _sessions(target):
                payload = os.urandom(chance.randrange(20, 160))
                sequence = chance.randrange(1, 400)
                header = struct.pack(">BBHIII", 1, 0, len(payload), ssrc, chance.randrange(1 << 20), sequence)
                try:
                    sock.sendto(header + payload, ("127.0.0.1", target.order.udp))
                except OSError:
                    continue
                target.sent += 1
            try:
                while sock.recv(2_048):
                    caught += 1
            except OSError:
                pass
            await asyncio.sleep(0.01)
        target.caught = caught


async def speeches(target: Target) -> None:
    """Six devices speak for half a minute each, all at once."""
    speech = (await synthesise(_LONG, _RATE, "en", "offline"))[: 28 * _RATE]
    ota = f"http://127.0.0.1:{target.order.http}/xiaozhi/ota/"

    async def one(number: int) -> None:
        while target.on():
            mac = f"02:dd:00:00:{target.order.network:02x}:{number:02x}"
            await converse(DeviceOptions(ota=ota, mac=mac, pcm=speech, sample_rate=_RATE, timeout_s=90.0))
            target.sent += 1
            await asyncio.sleep(0.5)

    tasks = [asyncio.create_task(one(number)) for number in range(6)]
    await asyncio.sleep(max(0.0, target.until - asyncio.get_running_loop().time()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _sessions(target: Target) -> list[int]:
    path = Path(target.order.sessions)
    return [int(line) for line in path.read_text("ascii").split()] if path.exists() else []
