"""Attacks over WebSocket: control frames and fragments without an end, guesses of a password, and upgrades
that lead to nothing."""

import asyncio
import base64
import os
import socket
from contextlib import suppress
from typing import Final, NamedTuple

from mimi_mqtt.cli.bench.attacks._http_attacks import hold
from mimi_mqtt.cli.bench.attacks._target import Target, account, close_all, register
from mimi_mqtt.wire.mqtt import encode_connect

_MASK: Final = b"\0" * 4  # leaves the payload as it is
_PING: Final = b"\x89\xfd" + _MASK + b"x" * 125
_EMPTY_FRAGMENT: Final = b"\x00\x80" + _MASK
_FIRST_FRAGMENT: Final = b"\x02\x80" + _MASK
_AT_ONCE: Final = 4
_GUESSERS: Final = 20
_ADDRESSES: Final = 4
_MUTE_DEVICES: Final = 50
"""Devices of each address; an address may register 60 in an hour."""
_DEVICE_UPGRADE: Final = (
    "GET /xiaozhi/v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nProtocol-Version: 1\r\n"
)


async def websocket_pings(target: Target) -> None:
    """Four WebSockets without a login send pings and read no pong."""
    await _flood(target, _PING * 100)


async def websocket_pings_of_a_device(target: Target) -> None:
    """Four WebSockets of a device that is logged in send pings and read no pong."""
    found = await account(target)
    if found is not None:
        await _flood(target, _PING * 100, login=found)


async def websocket_fragments(target: Target) -> None:
    """Four WebSockets without a login send empty fragments of one message that never ends."""
    await _flood(target, _EMPTY_FRAGMENT * 2_000, _FIRST_FRAGMENT)


async def half_upgrades(target: Target) -> None:
    """1,100 connections of four addresses, each with half a request for a device's WebSocket."""
    await hold(target, target.order.http, _DEVICE_UPGRADE.encode(), addresses=_ADDRESSES)


async def mute_devices(target: Target) -> None:
    """Up to 200 devices of four addresses that are let in over WebSocket and never say hello; each comes
    again and again, to replace its own connection."""
    devices: list[_Mute] = []
    registering = asyncio.get_running_loop().create_task(_let_in(target, devices))
    held: dict[str, socket.socket] = {}
    try:
        number = 0
        while target.on():
            await target.pace(200.0)
            if not devices:
                continue
            device = devices[number % len(devices)]
            number += 1
            sock = await target.connect(target.order.http, device.source)
            if sock is None:
                continue
            request = (
                f"{_DEVICE_UPGRADE}Device-Id: {device.mac}\r\nClient-Id: client-{device.mac}\r\n"
                f"Authorization: Bearer {device.token}\r\n\r\n"
            )
            if not (await _answer(target, sock, request.encode())).startswith(b"HTTP/1.1 101"):
                target.did.refused += 1
                sock.close()
                continue
            if (old := held.pop(device.mac, None)) is not None:
                old.close()
            held[device.mac] = sock
    finally:
        registering.cancel()
        await asyncio.wait({registering})
        close_all([*held.values()])


class _Mute(NamedTuple):
    """A device that was let in; `source` is the number of its address."""

    mac: str
    source: int
    token: str


async def _let_in(target: Target, devices: list[_Mute]) -> None:
    """Registers devices, as many as the server takes from each address, and adds them to `devices`."""
    loop = asyncio.get_running_loop()
    for which in range(_MUTE_DEVICES):
        for source in range(_ADDRESSES):
            mac = f"02:cd:00:{source:02x}:{which:02x}:{target.order.network:02x}"
            with suppress(OSError):
                found = await loop.run_in_executor(
                    None, register, target.order.http, mac, target.address(source)
                )
                if found is not None:
                    devices.append(_Mute(mac, source, found[1]))


async def guesses_over_websocket(target: Target) -> None:
    """Guesses of the administrator's password over WebSocket, on 20 connections at once."""

    async def one(number: int) -> None:
        guess = 0
        while target.on():
            guess += 1
            sock = await _upgraded(target, receive_buffer=None)
            if sock is not None and not await _logged_in(target, sock, "admin", f"guess {number} {guess}"):
                target.did.refused += 1
            if sock is not None:
                sock.close()
            await asyncio.sleep(0.01)

    await asyncio.gather(*(one(number) for number in range(_GUESSERS)))


async def _flood(
    target: Target, frames: bytes, first: bytes = b"", login: tuple[str, str] | None = None
) -> None:
    async def one() -> None:
        while target.on():
            sock = await _upgraded(target, receive_buffer=4_096)
            if sock is None:
                await asyncio.sleep(0.1)
                continue
            if login is None or await _logged_in(target, sock, *login):
                if first:
                    await target.send(sock, first)
                while target.on():
                    if not await target.send(sock, frames):
                        break
                    await asyncio.sleep(0)
            sock.close()

    await asyncio.gather(*(one() for _ in range(_AT_ONCE)))


async def _upgraded(target: Target, receive_buffer: int | None) -> socket.socket | None:
    """A WebSocket at /mqtt; None when it is refused."""
    sock = await target.connect(target.order.http, 0, receive_buffer)
    if sock is None:
        return None
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        "GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    if (await _answer(target, sock, request.encode())).startswith(b"HTTP/1.1 101"):
        return sock
    sock.close()
    target.did.refused += 1
    return None


async def _logged_in(target: Target, sock: socket.socket, username: str, password: str) -> bool:
    """Sends CONNECT in a frame of its own; True when it is accepted."""
    connect = encode_connect(f"{username} x", username=username, password=password.encode(), keepalive_s=0)
    frame = b"\x82" + bytes((0x80 | len(connect),)) + _MASK + connect  # of less than 126 bytes
    return (await _answer(target, sock, frame)).endswith(b"\x20\x02\x00\x00")


async def _answer(target: Target, sock: socket.socket, said: bytes) -> bytes:
    with suppress(OSError, TimeoutError):
        if await target.send(sock, said):
            async with asyncio.timeout(2.0):
                return await asyncio.get_running_loop().sock_recv(sock, 4_096)
    return b""
