"""Shares of what the broker keeps and does for general clients: one account harms no other."""

import asyncio
import gc
from collections.abc import Callable
from itertools import pairwise

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.client import Client
from mimi_mqtt.transports.mqtt.connection import GeneralConnection
from mimi_mqtt.transports.mqtt.protocol import ClientProtocol
from mimi_mqtt.wire.mqtt import (
    DISCONNECT,
    MAX_PACKET_FILTERS,
    PINGREQ,
    PacketType,
    encode_publish,
    encode_subscribe,
    parse_publish,
)
from tests.integration.mqtt.conftest import DEVICE, UP, Running, StartServer
from tests.integration.mqtt.raw import RawClient

GUEST_SOURCE = "127.0.0.9"


async def guest(mqtt: Running, client_id: str = "guest", *, clean_session: bool = True) -> RawClient:
    client = await mqtt.open(source=GUEST_SOURCE)
    assert await client.connack(client_id, clean_session=clean_session) == 0
    return client


async def while_time_passes(mqtt: Running, condition: Callable[[], bool], step_s: float = 0.1) -> None:
    """Moves the server's clock, in small steps, until `condition` holds."""

    def later() -> bool:
        mqtt.clock.now += step_s / 100
        return condition()

    await mqtt.until(later)


async def test_filters_of_one_account_are_bounded_and_others_can_still_subscribe(
    start_server: StartServer,
) -> None:
    """Before, each connection had 500, and every message and every client that left walked all of them."""
    mqtt = await start_server(shares={"subscriptions_per_account": 50})
    granted = 0
    for number in range(3):
        client = await guest(mqtt, f"guest-{number}")
        codes = await client.subscribe(*((f"h/{number}/{index}", 0) for index in range(40)))
        granted += codes.count(0)
    assert granted == mqtt.server.subscriptions == 50
    admin = await mqtt.admin()
    assert await admin.subscribe(("#", 0)) == (0,)


async def test_filters_of_kept_sessions_count_until_the_session_ends(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"subscriptions_per_account": 2, "offline_sessions_per_account": 1})
    away = await guest(mqtt, "away", clean_session=False)
    await away.subscribe(("a", 0), ("b", 0))
    await away.send(DISCONNECT)
    await away.closed()
    assert await (await guest(mqtt)).subscribe(("c", 0)) == (0x80,)
    again = await guest(mqtt, "away")  # a clean session ends the kept one
    assert await again.subscribe(("c", 0)) == (0,)


async def test_deep_and_long_filters_are_refused(mqtt: Running) -> None:
    client = await mqtt.admin()
    fits = "/".join("a" * limits.MAX_FILTER_LEVELS)
    codes = await client.subscribe((fits, 0), (f"{fits}/a", 0), ("x" * (limits.MAX_FILTER_CHARS + 1), 0))
    assert codes == (0, 0x80, 0x80)


async def test_subscribe_with_thousands_of_filters_ends_the_connection(mqtt: Running) -> None:
    client = await guest(mqtt)
    filters = tuple((f"{index}", 0) for index in range(MAX_PACKET_FILTERS + 1))
    await client.send(encode_subscribe(1, filters))
    assert await client.closed() == []
    assert mqtt.server.counters.limits["bad_packet"] == 1


async def test_many_sessions_of_one_account_do_not_push_out_the_administrators(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, the oldest session of all went when there were too many, with all that waited for it."""
    monkeypatch.setattr(limits, "MAX_OFFLINE_SESSIONS", 8)
    mqtt = await start_server(shares={"offline_sessions_per_account": 3})
    admin = await mqtt.admin("away", clean_session=False)
    await admin.subscribe(("t", 1))
    await admin.send(DISCONNECT)
    await admin.closed()
    await (await mqtt.admin("sender")).publish("t", b"kept")
    for number in range(12):
        client = await guest(mqtt, f"guest-{number}", clean_session=False)
        await client.send(DISCONNECT)
        await client.closed()
    await mqtt.until(lambda: mqtt.server.connections["general"] == 1)
    mqtt.pass_time(1)
    assert mqtt.server.sessions == 5
    back = await mqtt.admin("away", clean_session=False)
    assert back.session_present
    assert (await back.publish_received()).payload == b"kept"


async def test_a_guest_that_fills_the_retained_messages_keeps_nobody_else_out(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED", 6)
    mqtt = await start_server(shares={"retained_messages_per_account": 4})
    client, admin = await guest(mqtt), await mqtt.admin()
    for number in range(10):
        await client.publish(f"r/{number}", b"x", retain=True)
    await admin.publish("house/door", b"open", retain=True)
    late = await mqtt.admin("late")
    await late.subscribe(("house/door", 0))
    assert (await late.publish_received()).payload == b"open"


async def test_messages_beyond_an_accounts_rate_wait_and_none_is_lost(start_server: StartServer) -> None:
    """Before, testers, guests and the administrator had no rate."""
    mqtt = await start_server(shares={"messages_per_s": 10})
    receiver, sender, device = await mqtt.admin(), await guest(mqtt, "sender"), await mqtt.device()
    await receiver.subscribe(("t", 0))
    for number in range(200):
        await sender.publish_qos0("t", b"%d" % number)
    refused = mqtt.server.counters
    await mqtt.until(lambda: refused.messages_in >= 30)
    await device.round_trip()
    assert refused.messages_in < 100, "a burst of 40, and what one turn of the loop lets through"
    received: list[bytes] = []

    async def receive() -> None:
        while len(received) < 200:
            received.append((await receiver.publish_received()).payload)

    receiving = asyncio.create_task(receive())
    await while_time_passes(mqtt, lambda: len(received) == 200 or receiving.done(), step_s=5)
    await receiving
    assert received == [b"%d" % number for number in range(200)]


async def test_one_accounts_flood_does_not_slow_another_account(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"messages_per_s": 10})
    flooder, admin = await guest(mqtt), await mqtt.admin()
    await flooder.send(encode_publish("t", b"x") * 2_000 + PINGREQ * 2_000)
    await mqtt.until(lambda: mqtt.server.counters.messages_in >= 30)
    await admin.publish("t", b"at once")
    assert mqtt.server.counters.messages_in < 100


async def test_a_client_that_the_server_reads_slowly_is_not_taken_for_silent(
    start_server: StartServer,
) -> None:
    mqtt = await start_server(shares={"messages_per_s": 0.001})
    client = await mqtt.open(source=GUEST_SOURCE)
    assert await client.connack("guest", keepalive_s=10) == 0
    await client.send(encode_publish("t", b"x") * 5)
    await mqtt.until(lambda: mqtt.server.counters.bytes_in >= 5 * len(encode_publish("t", b"x")))
    for _ in range(4):
        mqtt.pass_time(10)
    assert mqtt.server.connections["general"] == 1


async def test_what_an_ended_client_sent_is_given_up_when_its_account_is_over_its_rate(
    start_server: StartServer,
) -> None:
    mqtt = await start_server(shares={"messages_per_s": 0.001})
    client = await guest(mqtt)
    await client.send(encode_publish("t", b"x") * 50)
    await mqtt.until(lambda: mqtt.server.counters.bytes_in >= 50 * len(encode_publish("t", b"x")))
    client.reset()
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)
    assert mqtt.server.connections["general"] == 1
    mqtt.pass_time(limits.DRAIN_S + 1)
    await mqtt.until(lambda: mqtt.server.connections["general"] == 0)
    assert mqtt.server.counters.limits["drain"] == 1


async def test_retained_messages_are_sent_in_slices(
    start_server: StartServer,
) -> None:
    """Before, each subscription to `#` walked and sent all retained messages in one go."""
    mqtt = await start_server(shares={"messages_per_s": 100_000})
    admin = await mqtt.admin()
    for number in range(1_500):
        await admin.send(encode_publish(f"r/{number}", b"x", retain=True))
    await admin.settled()
    clients = [await guest(mqtt, f"guest-{number}") for number in range(3)]
    sent = [mqtt.server.counters.messages_out]
    for client in clients:
        await client.send(encode_subscribe(9, (("#", 0),)))

    def all_sent() -> bool:
        sent.append(mqtt.server.counters.messages_out)
        return sent[-1] - sent[0] == 3 * 1_500

    await mqtt.until(all_sent)
    assert max(after - before for before, after in pairwise(sent)) < 1_500, "in one turn of the loop"
    for client in clients:
        await client.expect(PacketType.SUBACK)
        topics = [parse_publish(await client.expect(PacketType.PUBLISH)).topic for _ in range(1_500)]
        assert topics == [f"r/{number}" for number in range(1_500)]


async def test_fan_out_is_charged_to_the_account_that_publishes(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"messages_per_s": 10})
    clients = [await guest(mqtt, f"guest-{number}") for number in range(20)]
    for client in clients:
        await client.send(encode_subscribe(1, (("t", 0),)))
    await mqtt.until(lambda: mqtt.server.subscriptions == 1 and mqtt.server.counters.bytes_in >= 20 * 8)
    await clients[0].send(encode_publish("t", b"x") * 1_000)
    device = await mqtt.device()
    await mqtt.until(lambda: mqtt.server.counters.messages_out >= 20)
    for _ in range(20):
        await device.publish(UP, b"{}")
    assert mqtt.server.counters.messages_out <= 40 * 20 // 3 + limits.TURN_COST * 20
    assert len(mqtt.sink.messages) == 20
    assert mqtt.sink.messages[0][0] == DEVICE


async def test_clients_that_left_need_no_garbage_collector(start_server: StartServer) -> None:
    """What a client leaves behind until the next full collection adds up over a thousand that come and go."""
    mqtt = await start_server()

    async def come_and_go(number: int) -> None:
        client = await mqtt.connect(f"x{number}")
        await client.subscribe(("a/+", 0))
        await client.close()
        mqtt.clients.clear()

    await come_and_go(0)
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)
    gc.collect()
    gc.disable()
    try:
        for number in range(20):
            await come_and_go(number)
        await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)
        await mqtt.until(lambda: mqtt.server.subscriptions == 0)
        alive = [
            thing for thing in gc.get_objects() if type(thing) in (GeneralConnection, Client, ClientProtocol)
        ]
        assert len(alive) <= 2, "one is perhaps on its way"
    finally:
        gc.enable()
