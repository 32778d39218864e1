"""Attacks on the audio channel: datagrams that claim to be another's, and long speech of many devices."""

import asyncio
import json
import os
import random
import socket
import struct
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.bench.attacks._account_attacks import say_hello
from mimi_mqtt.cli.bench.attacks._target import Target, account
from mimi_mqtt.cli.device.client import DeviceOptions, converse
from mimi_mqtt.cli.device.speech import synthesise
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink
from mimi_mqtt.wire.mqtt import encode_publish
from mimi_mqtt.wire.topics import device_topic

_RATE: Final = 16_000
_LONG: Final = "the quick brown fox jumps over the lazy dog and runs around the house again and again. " * 8
_SPOKEN_S: Final = 28
_SPEAKERS: Final = 6


async def datagrams(target: Target) -> None:
    """Random audio under the identities of the victims' sessions, each 100 datagrams a second."""
    chance = random.Random(target.order.network)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((target.address(), 0))
        while target.on():
            for ssrc in _sessions(target):
                payload = os.urandom(chance.randrange(20, 160))
                sequence = chance.randrange(1, 400)
                header = struct.pack(">BBHIII", 1, 0, len(payload), ssrc, chance.randrange(1 << 20), sequence)
                try:
                    sock.sendto(header + payload, ("127.0.0.1", target.order.udp))
                except OSError:
                    continue
                target.did.sent += 1
            _catch(target, sock)
            await asyncio.sleep(0.01)
        _catch(target, sock)


async def reflection(target: Target) -> None:
    """A device sends one small good datagram from the address of somebody else, and has the server speak.

    The victim is another loopback address, at which what arrives is counted.
    """
    found = await account(target)
    if found is None:
        return
    device, password = found
    while target.on():
        control = await target.login(device, device, password)
        hello = None if control is None else await say_hello(target, control, device)
        if control is None or hello is None:
            await asyncio.sleep(0.5)
            continue
        with control, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
            elsewhere.setblocking(False)
            elsewhere.bind((target.address(77), 0))
            match hello["udp"]:
                case {"key": str(key), "nonce": str(nonce)}:
                    header = pack_uplink(bytes.fromhex(nonce), 0, 1, 9)
                    packet = AudioCipher(bytes.fromhex(key)).encrypt(header, b"\xf8\xff\xfe" + bytes(6))
                    elsewhere.sendto(packet, ("127.0.0.1", target.order.udp))
                    target.did.sent_bytes += len(packet)
            word = {"session_id": hello["session_id"], "type": "listen", "state": "detect"}
            asking = json.dumps(word | {"text": "what time is it"}).encode()
            await target.send(control, encode_publish(device_topic(device, "up"), asking))
            until = asyncio.get_running_loop().time() + 3.0
            while target.on() and asyncio.get_running_loop().time() < until:
                _catch(target, elsewhere)
                await asyncio.sleep(0.02)


async def speeches(target: Target) -> None:
    """Six devices speak for half a minute each, all at once."""
    speech = (await synthesise(_LONG, _RATE, "en", "offline"))[: _SPOKEN_S * _RATE]
    ota = f"http://127.0.0.1:{target.order.http}/xiaozhi/ota/"

    async def one(number: int) -> None:
        options = DeviceOptions(
            ota=ota, mac=f"02:dd:00:00:{target.order.network:02x}:{number:02x}", pcm=speech,
            sample_rate=_RATE, timeout_s=90.0, source=target.address(number),
        )  # fmt: skip
        while target.on():
            target.did.sent += 1
            await converse(options)
            await asyncio.sleep(0.5)

    tasks = [asyncio.create_task(one(number)) for number in range(_SPEAKERS)]
    await asyncio.sleep(max(0.0, target.until - asyncio.get_running_loop().time()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _catch(target: Target, sock: socket.socket) -> None:
    try:
        while datagram := sock.recv(2_048):
            target.did.caught += 1
            target.did.caught_bytes += len(datagram)
    except OSError:  # nothing more for now
        return


def _sessions(target: Target) -> list[int]:
    path = Path(target.order.sessions)
    return [int(line) for line in path.read_text("ascii").split()] if path.exists() else []
