"""Attacks on the broker by MQTT 5: properties that are long to read and to carry, and groups in masses."""

import asyncio
import socket

from mimi_mqtt.cli.bench.attacks._target import Target, close_all, drain
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import PacketType, encode_connect
from mimi_mqtt.wire.mqtt5 import FilterRequest
from mimi_mqtt.wire.mqtt_properties import MAX_USER_PROPERTIES, Properties
from mimi_mqtt.wire.mqtt_reasons import Reason

_SHORT = Properties(user_properties=(("", ""),) * MAX_USER_PROPERTIES)
_LONG = Properties(user_properties=(("k", "v" * 60_000),))


async def _clients(target: Target, count: int) -> list[socket.socket]:
    """Clients of MQTT 5 without a user name, from an address each."""
    held: list[socket.socket] = []
    for number in range(count):
        sock = await target.connect(target.order.mqtt, number)
        if sock is None:
            break
        if await target.send(sock, encode_connect(f"five {number}", keepalive_s=60, protocol_level=5)):
            held.append(sock)
        else:
            sock.close()
    return held


async def properties(target: Target) -> None:
    """Twenty clients read everything; each sends messages with user properties in masses, and of 60 kB."""
    while target.on():
        held = await _clients(target, 20)
        subscribe = mqtt5.encode_subscribe(1, (FilterRequest("#"),), 1)
        many = mqtt5.encode_publish("noise/a", b"", properties=_SHORT) * 20
        acks = mqtt5.encode_ack(PacketType.PUBREL, 1, Reason.SUCCESS, _SHORT) * 20
        large = mqtt5.encode_publish("noise/a", b"", properties=_LONG)
        for sock in held:
            await target.send(sock, subscribe)
        while target.on() and held:
            for sock in list(held):
                drain(sock)
                if not await target.send(sock, many + acks + large):
                    held.remove(sock)
                    sock.close()
            await asyncio.sleep(0)
        close_all(held)


async def shared_groups(target: Target) -> None:
    """Clients make groups of shared subscriptions by the hundred, publish to all of them, leave, and come
    again."""
    while target.on():
        held = await _clients(target, 20)
        for at, sock in enumerate(held):
            filters = tuple(FilterRequest(f"$share/{at}-{number}/noise/+", 1) for number in range(100))
            for packet_id in range(1, 5):
                await target.send(sock, mqtt5.encode_subscribe(packet_id, filters))
            drain(sock)
        message = mqtt5.encode_publish("noise/a", b"x" * 64) * 20
        for _ in range(20):
            for sock in held:
                drain(sock)
                await target.send(sock, message)
            if not target.on():
                break
        close_all(held)
        await asyncio.sleep(0.1)
