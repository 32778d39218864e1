"""Attacks on the broker by strangers: silent connections, guesses, clients without a user name."""

import asyncio
import os
import socket

from mimi_mqtt.cli.bench.attacks._http_attacks import hold
from mimi_mqtt.cli.bench.attacks._target import Target, close_all, drain
from mimi_mqtt.wire.mqtt import encode_connect, encode_publish, encode_subscribe


async def silent_mqtt(target: Target) -> None:
    """1,100 MQTT connections of one address that send nothing."""
    await hold(target, target.order.mqtt, b"")


async def silent_mqtt_everywhere(target: Target) -> None:
    """1,100 MQTT connections of 250 addresses, each with half a CONNECT."""
    half = encode_connect("x", username="x", password=b"x", keepalive_s=60)[:10]
    await hold(target, target.order.mqtt, half, addresses=250)


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


async def slots_everywhere(target: Target) -> None:
    """Clients without a user name from 250 addresses hold as many connections as they get, up to 1,500."""
    held: list[socket.socket] = []
    number = 0
    try:
        while target.on():
            number += 1
            sock = await target.login(f"anonymous {number}", None, None, number)
            if sock is None or len(held) >= 1_500:
                await asyncio.sleep(0.05)
            if sock is not None:
                held.append(sock)
    finally:
        close_all(held)


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
        close_all(held)
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
                drain(sock)
                if not await target.send(sock, message):
                    held.remove(sock)
                    sock.close()
            await asyncio.sleep(0)
    finally:
        close_all(held)


async def retained(target: Target) -> None:
    """A client without a user name retains messages on ever new topics, and has them sent to itself."""
    sock = await target.login("retainer", None, None)
    number = 0
    while target.on():
        if sock is None:
            await asyncio.sleep(0.1)
            sock = await target.login("retainer", None, None)
            continue
        number += 1
        ok = await target.send(sock, encode_publish(f"kept/{number}", b"x" * 1_000, retain=True))
        if number % 200 == 0:
            ok = ok and await target.send(sock, encode_subscribe(number % 60_000 + 1, (("kept/#", 0),)))
        drain(sock)
        if not ok:
            sock.close()
            sock = None
    if sock is not None:
        sock.close()
