"""Attacks on the broker: silent connections, guesses, and accounts that take all they can get."""

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from mimi_mqtt.cli.bench.attacks._target import Target, register
from mimi_mqtt.cli.bench.attacks._web_attacks import _silent
from mimi_mqtt.wire.mqtt import encode_connect, encode_publish, encode_subscribe
from mimi_mqtt.wire.topics import device_topic

_HELLO: Final = (
    b'{"type":"hello","version":3,"transport":"udp","audio_params":'
    b'{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}'
)


async def silent_mqtt(target: Target) -> None:
    """1,100 MQTT connections of one address that send nothing."""
    await _silent(target, target.order.mqtt, b"")


async def silent_mqtt_everywhere(target: Target) -> None:
    """1,100 MQTT connections of 250 addresses, each with half a CONNECT."""
    half = encode_connect("x", username="x", password=b"x", keepalive_s=60)[:10]
    await _silent(target, target.order.mqtt, half, addresses=250)


async def guesses(target: Target) -> None:
    """Guesses of the administrator's password, as fast as they are answered, on 50 connections at once."""

    async def one(number: int) -> None:
        guess = 0
        while target.on():
            guess += 1
            sock = await target.login(f"x{number}", "admin", f"guess {number} {guess}")
            if sock is not None:
                sock.close()
            await asyncio.sleep(0)

    await asyncio.gather(*(one(number) for number in range(50)))


async def reconnects(target: Target) -> None:
    """One device that connects and leaves without a pause."""
    account = await _account(target)
    if account is None:
        return
    device, password = account
    while target.on():
        sock = await target.login(device, device, password)
        if sock is None:
            await asyncio.sleep(0.02)
        else:
            sock.close()


async def slots(target: Target) -> None:
    """One account holds as many connections as it gets, up to 1,000."""
    account = await _account(target)
    if account is None:
        return
    device, password = account
    held: list[socket.socket] = []
    try:
        while target.on():
            sock = await target.login(f"tester {len(held)}", device, password)
            if sock is None or len(held) >= 1_000:
                await asyncio.sleep(0.05)
            if sock is not None:
                held.append(sock)
    finally:
        _close(held)


async def subscriptions(target: Target) -> None:
    """Clients without a user name take filters by the hundred, leave together, and come again."""
    while target.on():
        held: list[socket.socket] = []
        for number in range(100):
            if not target.on():
                break
            sock = await target.login(f"anonymous {number}", None, None, number // 40)
            if sock is None:
                break
            held.append(sock)
            for packet in range(10):
                filters = tuple((f"{number % 7}/+/{packet}/+/{leaf}/#", 0) for leaf in range(50))
                if not await target.send(sock, encode_subscribe(packet + 1, filters)):
                    break
        _close(held)
        await asyncio.sleep(0.1)


async def publishes(target: Target) -> None:
    """Twenty clients without a user name read everything, and each publishes as fast as it can."""
    readers = [await target.login(f"reader {number}", None, None, number) for number in range(20)]
    held = [sock for sock in readers if sock is not None]
    try:
        for sock in held:
            await target.send(sock, encode_subscribe(1, (("#", 0), ("+/+", 0))))
        message = encode_publish("house/noise", os.urandom(64)) * 50
        while target.on() and held:
            for sock in list(held):
                _read(sock)
                if not await target.send(sock, message):
                    held.remove(sock)
                    sock.close()
            await asyncio.sleep(0)
    finally:
        _close(held)


async def retained(target: Target) -> None:
    """A client without a user name retains messages on ever new topics, and has them sent to itself."""
    sock = await target.login("retainer", None, None)
    number = 0
    while target.on() and sock is not None:
        number += 1
        ok = await target.send(sock, encode_publish(f"kept/{number}", b"x" * 1_000, retain=True))
        if number % 200 == 0:
            ok = ok and await target.send(sock, encode_subscribe(number % 60_000 + 1, (("kept/#", 0),)))
        _read(sock)
        if not ok:
            sock.close()
            sock = await target.login("retainer", None, None)
    if sock is not None:
        sock.close()


async def kept_sessions(target: Target) -> None:
    """One account leaves persistent sessions behind, up to 1,200."""
    account = await _account(target)
    if account is None:
        return
    device, password = account
    for number in range(1_200):
        if not target.on():
            return
        sock = await target.login(f"session {number}", device, password, clean=False)
        if sock is None:
            await asyncio.sleep(0.02)
            continue
        await target.send(sock, encode_subscribe(1, ((device_topic(device, "state"), 1),)))
        sock.close()


async def hellos(target: Target) -> None:
    """One device says hello as fast as its message rate allows."""
    account = await _account(target)
    if account is None:
        return
    device, password = account
    packet = encode_publish(device_topic(device, "up"), _HELLO)
    sock = await target.login(device, device, password)
    while target.on():
        if sock is None:
            await asyncio.sleep(0.5)
            sock = await target.login(device, device, password)
            continue
        _read(sock)
        if not await target.send(sock, packet):
            sock.close()
            sock = None
        await asyncio.sleep(0.01)
    if sock is not None:
        sock.close()


async def registrations(target: Target) -> None:
    """New devices register from four addresses."""
    loop, number = asyncio.get_running_loop(), 0
    while target.on():
        number += 1
        mac = f"02:bb:{target.order.network:02x}:00:{number >> 8 & 255:02x}:{number & 255:02x}"
        with suppress(OSError):
            found = await loop.run_in_executor(None, register, target.order, mac, target.address(number % 4))
            target.sent += 1
            target.refused += found is None


async def _account(target: Target) -> tuple[str, str] | None:
    """Credentials of a device that the attacker registered."""
    mac = f"02:cc:00:00:00:{target.order.network:02x}"
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        return await loop.run_in_executor(None, register, target.order, mac, target.address())
    return None


def _read(sock: socket.socket) -> None:
    with suppress(OSError):
        while len(sock.recv(65_536)) == 65_536:
            pass


def _close(held: Sequence[socket.socket]) -> None:
    for sock in held:
        sock.close()
