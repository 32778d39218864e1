"""Attacks on the HTTP port: requests whose answers are never read, halves of requests, silent connections."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from mimi_mqtt.cli.bench.attacks._target import Target, close_all, ota_request

_SILENT: Final = 1_100
_PIPELINES: Final = 500
_PER_S: Final = 500.0
"""Connections a second: what one attacker opens must not cost this machine more than it costs the server."""
_START: Final = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "


async def pipelined_metrics(target: Target) -> None:
    """Connections with twenty requests for /metrics each, whose answers are never read."""
    await _pipelined(target, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20)


async def pipelined_pages(target: Target) -> None:
    """Connections with 400 requests for the front page each, whose answers are never read."""
    await _pipelined(target, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n" * 400)


async def pipelined_ota(target: Target) -> None:
    """Connections of four addresses with fifty OTA requests each, whose answers are never read."""
    request = ota_request("02:aa:00:00:00:02", b"{}").replace(b"Connection: close\r\n", b"")
    await _pipelined(target, request * 50, addresses=4)


async def ota_flood(target: Target) -> None:
    """OTA requests of one device from one address, on a connection each."""
    request = ota_request("02:aa:00:00:00:01", b"{}")
    while target.on():
        await target.pace(_PER_S)
        sock = await target.connect(target.order.http)
        if sock is None:
            continue
        await target.send(sock, request)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.get_running_loop().sock_recv(sock, 65_536)
        sock.close()


async def silent_http(target: Target) -> None:
    """1,100 HTTP connections of one address that send nothing."""
    await hold(target, target.order.http, b"")


async def silent_http_everywhere(target: Target) -> None:
    """1,100 HTTP connections of 250 addresses that send nothing."""
    await hold(target, target.order.http, b"", addresses=250)


async def half_requests(target: Target) -> None:
    """1,100 HTTP connections of four addresses, each with half a request."""
    await hold(target, target.order.http, _START, addresses=4)


async def slow_heads(target: Target) -> None:
    """200 connections of four addresses whose request grows by a byte four times a second, without an end."""
    held: list[socket.socket] = []
    try:
        while target.on():
            while len(held) < 200 and target.on():
                sock = await target.connect(target.order.http, len(held) % 4)
                if sock is None:
                    break
                await target.send(sock, _START)
                held.append(sock)
            for sock in list(held):
                if not await target.send(sock, b"x"):
                    held.remove(sock)
                    sock.close()
                    target.did.refused += 1
            await asyncio.sleep(0.25)
    finally:
        close_all(held)


async def large_heads(target: Target) -> None:
    """Requests with a head of 120 KB."""
    await _one_by_one(target, _START + b"x" * 120_000 + b"\r\n\r\n")


async def two_lengths(target: Target) -> None:
    """Requests with both Content-Length and chunks, with another request hidden behind."""
    await _one_by_one(
        target,
        b"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    )


async def hold(target: Target, port: int, said: bytes, *, addresses: int = 1) -> None:
    """Holds 1,100 connections that have sent `said`; beyond, the oldest makes room for another."""
    held: list[socket.socket] = []
    number = 0
    try:
        while target.on():
            if len(held) >= _SILENT:
                held.pop(0).close()
            number += 1
            await target.pace(_PER_S)
            sock = await target.connect(port, number % addresses)
            if sock is None:
                await asyncio.sleep(0.01)
                continue
            held.append(sock)
            if said:
                await target.send(sock, said)
    finally:
        close_all(held)


async def _one_by_one(target: Target, request: bytes) -> None:
    while target.on():
        sock = await target.connect(target.order.http)
        if sock is not None:
            await target.send(sock, request)
            sock.close()
        await target.pace(100.0)


async def _pipelined(target: Target, requests: bytes, *, addresses: int = 1) -> None:
    """500 connections at once; beyond, the oldest makes room for another."""
    held: list[socket.socket] = []
    number = 0
    try:
        while target.on():
            if len(held) >= _PIPELINES:
                held.pop(0).close()
            number += 1
            await target.pace(_PER_S)
            sock = await target.connect(target.order.http, number % addresses, receive_buffer=4_096)
            if sock is None:
                await asyncio.sleep(0.005)
                continue
            held.append(sock)
            with suppress(OSError):
                sock.send(requests)  # what fits: waiting for one that reads no more would spare the server
                target.did.sent += 1
    finally:
        close_all(held)
