"""Attacks by somebody who has a device: its account takes all that it can get."""

import asyncio
import json
import socket
from contextlib import suppress
from typing import Final

from mimi_mqtt.cli.bench.attacks._target import Target, account, close_all, drain, register
from mimi_mqtt.wire.mqtt import PacketReader, PacketType, encode_publish, encode_subscribe, parse_publish
from mimi_mqtt.wire.topics import device_topic

HELLO: Final = (
    b'{"type":"hello","version":3,"transport":"udp","audio_params":'
    b'{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}'
)


async def reconnects(target: Target) -> None:
    """One device that connects and leaves without a pause."""
    found = await account(target)
    if found is None:
        return
    device, password = found
    while target.on():
        sock = await target.login(device, device, password)
        if sock is None:
            await asyncio.sleep(0.02)
        else:
            sock.close()


async def slots(target: Target) -> None:
    """One account holds as many connections as it gets, up to 1,000."""
    found = await account(target)
    if found is None:
        return
    device, password = found
    held: list[socket.socket] = []
    try:
        while target.on():
            sock = await target.login(f"tester {len(held)}", device, password)
            if sock is None or len(held) >= 1_000:
                await asyncio.sleep(0.05)
            if sock is not None:
                held.append(sock)
    finally:
        close_all(held)


async def subscriptions_of_a_device(target: Target) -> None:
    """One account opens up to 400 connections with 500 filters each, leaves with all at once, and comes
    again."""
    found = await account(target)
    if found is None:
        return
    device, password = found
    topic = device_topic(device, "state")
    while target.on():
        held: list[socket.socket] = []
        for number in range(400):
            if not target.on():
                break
            sock = await target.login(f"tester {number}", device, password, number)
            if sock is None:
                break
            held.append(sock)
            for packet in range(10):
                filters = tuple((f"{topic}/+/{packet}/{leaf}/#", 0) for leaf in range(50))
                if not await target.send(sock, encode_subscribe(packet + 1, filters)):
                    break
        close_all(held)
        await asyncio.sleep(0.1)


async def kept_sessions(target: Target) -> None:
    """One account leaves persistent sessions behind, up to 1,200."""
    found = await account(target)
    if found is None:
        return
    device, password = found
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
    """One device says hello a hundred times a second, more than its message rate allows."""
    found = await account(target)
    if found is None:
        return
    device, password = found
    packet = encode_publish(device_topic(device, "up"), HELLO)
    sock = await target.login(device, device, password)
    while target.on():
        if sock is None:
            await asyncio.sleep(0.5)
            sock = await target.login(device, device, password)
            continue
        drain(sock)
        if not await target.send(sock, packet):
            sock.close()
            sock = None
        await asyncio.sleep(0.01)
    if sock is not None:
        sock.close()


async def turns(target: Target) -> None:
    """Three devices ask, interrupt the answer, and ask again, ten times a second each."""

    async def one(number: int) -> None:
        found = await account(target, number)
        if found is None:
            return
        device, password = found
        while target.on():
            sock = await target.login(device, device, password, number)
            session = None if sock is None else await _session(target, sock, device)
            if sock is None or session is None:
                await asyncio.sleep(0.5)
                continue
            asks = {"session_id": session, "type": "listen", "state": "detect", "text": "what time is it"}
            asking = encode_publish(device_topic(device, "up"), json.dumps(asks).encode())
            stops = {"session_id": session, "type": "abort"}
            stopping = encode_publish(device_topic(device, "up"), json.dumps(stops).encode())
            while target.on() and await target.send(sock, asking):
                await asyncio.sleep(0.05)
                if not await target.send(sock, stopping):
                    break
                await asyncio.sleep(0.05)
                drain(sock)
            sock.close()

    await asyncio.gather(*(one(number) for number in range(3)))


async def registrations(target: Target) -> None:
    """New devices register from four addresses."""
    loop, number = asyncio.get_running_loop(), 0
    while target.on():
        number += 1
        mac = f"02:bb:{target.order.network:02x}:00:{number >> 8 & 255:02x}:{number & 255:02x}"
        found = None
        with suppress(OSError):
            found = await loop.run_in_executor(
                None, register, target.order.http, mac, target.address(number % 4)
            )
            target.did.sent += 1
        if found is None:
            target.did.refused += 1
            await asyncio.sleep(0.005)


async def _session(target: Target, sock: socket.socket, device: str) -> str | None:
    """The id of a session that a hello opens; None when it is not answered."""
    hello = await say_hello(target, sock, device)
    return None if hello is None else str(hello["session_id"])


async def say_hello(target: Target, sock: socket.socket, device: str) -> dict[str, object] | None:
    """The server's hello; None when none comes within two seconds."""
    packets = PacketReader(65_536)
    with suppress(OSError, TimeoutError):
        await target.send(sock, encode_publish(device_topic(device, "up"), HELLO))
        async with asyncio.timeout(2.0):
            while data := await asyncio.get_running_loop().sock_recv(sock, 65_536):
                for packet in packets.feed(data):
                    if packet.type is PacketType.PUBLISH:
                        said: dict[str, object] = json.loads(parse_publish(packet).payload)
                        if said.get("type") == "hello":
                            return said
    return None
