"""Attacks on the HTTP port: WebSockets and requests whose answers are never read, silent connections."""

import asyncio
import base64
import os
import socket
from contextlib import suppress
from typing import Final

from mimi_mqtt.cli.bench.attacks._target import Target, ota_request

_PING: Final = b"\x89\xfd" + b"\0" * 4 + b"x" * 125
_EMPTY_FRAGMENT: Final = b"\x00\x80" + b"\0" * 4
_FIRST_FRAGMENT: Final = b"\x02\x80" + b"\0" * 4


async def websocket_pings(target: Target) -> None:
    """Four WebSockets without a login send pings and read no pong."""
    await _websockets(target, _PING * 100)


async def websocket_fragments(target: Target) -> None:
    """Four WebSockets without a login send empty fragments of one message that never ends."""
    await _websockets(target, _EMPTY_FRAGMENT * 2_000, _FIRST_FRAGMENT)


async def pipelined_metrics(target: Target) -> None:
    """Connections with twenty requests for /metrics each, whose answers are never read."""
    await _pipelined(target, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20)


async def pipelined_pages(target: Target) -> None:
    """Connections with twenty requests for the front page each, whose answers are never read."""
    await _pipelined(target, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n" * 20)


async def ota_flood(target: Target) -> None:
    """OTA requests of one device from one address, on a connection each."""
    request = ota_request("02:aa:00:00:00:01", b"{}")
    while target.on():
        sock = await target.connect(target.order.http)
        if sock is None:
            await asyncio.sleep(0.01)
            continue
        await target.send(sock, request)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.get_running_loop().sock_recv(sock, 65_536)
        sock.close()


async def silent_http(target: Target) -> None:
    """1,100 HTTP connections of one address that send nothing."""
    await _silent(target, target.order.http, b"")


async def half_requests(target: Target) -> None:
    """1,100 HTTP connections of four addresses, each with half a request."""
    await _silent(target, target.order.http, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", addresses=4)


async def large_heads(target: Target) -> None:
    """Requests with a head of 120 KB."""
    head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 120_000 + b"\r\n\r\n"
    while target.on():
        sock = await target.connect(target.order.http)
        if sock is not None:
            await target.send(sock, head)
            sock.close()
        await asyncio.sleep(0.01)


async def _silent(target: Target, port: int, said: bytes, *, most: int = 1_100, addresses: int = 1) -> None:
    held: list[socket.socket] = []
    try:
        while target.on():
            if len(held) >= most:
                held.pop(0).close()
            sock = await target.connect(port, len(held) % addresses)
            if sock is None:
                await asyncio.sleep(0.01)
                continue
            held.append(sock)
            if said:
                await target.send(sock, said)
    finally:
        for sock in held:
            sock.close()


async def _pipelined(target: Target, requests: bytes) -> None:
    """500 connections at once; each is replaced when it was closed."""
    held: list[socket.socket] = []
    try:
        while target.on():
            if len(held) >= 500:
                held.pop(0).close()
            sock = await target.connect(target.order.http, 0, receive_buffer=4_096)
            if sock is None:
                await asyncio.sleep(0.005)
                continue
            held.append(sock)
            await target.send(sock, requests)
    finally:
        for sock in held:
            sock.close()


async def _websockets(target: Target, frames: bytes, first: bytes = b"") -> None:
    async def one() -> None:
        while target.on():
            sock = await target.connect(target.order.http, 0, receive_buffer=4_096)
            if sock is None or not await _upgrade(target, sock):
                await asyncio.sleep(0.1)
                continue
            if first:
                await target.send(sock, first)
            while target.on():
                if not await target.send(sock, frames):
                    break
                await asyncio.sleep(0)
            sock.close()

    await asyncio.gather(*(one() for _ in range(4)))


async def _upgrade(target: Target, sock: socket.socket) -> bool:
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        "GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    answer = b""
    with suppress(OSError, TimeoutError):
        await target.send(sock, request.encode())
        async with asyncio.timeout(2.0):
            answer = await asyncio.get_running_loop().sock_recv(sock, 4_096)
    if answer.startswith(b"HTTP/1.1 101"):
        return True
    sock.close()
    target.refused += 1
    return False
