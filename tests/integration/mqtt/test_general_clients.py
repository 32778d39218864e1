"""General clients: sessions, QoS, retained messages, wills, in raw packets."""

import asyncio
import json

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.wire.mqtt import (
    DISCONNECT,
    PINGREQ,
    PacketType,
    Will,
    encode_ack,
    encode_connect,
    encode_publish,
    encode_subscribe,
    encode_unsubscribe,
    parse_packet_id,
    parse_publish,
)
from tests.integration.mqtt.conftest import DEVICE, Running, StartServer
from tests.integration.mqtt.raw import RawClient


async def _payloads(client: RawClient, count: int) -> list[bytes]:
    return [(await client.publish_received()).payload for _ in range(count)]


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_delivery_has_the_lower_qos_of_both_sides(mqtt: Running, published: int, granted: int) -> None:
    receiver, sender = await mqtt.admin("receiver"), await mqtt.admin("sender")
    assert await receiver.subscribe(("t", granted)) == (granted,)
    await sender.send(encode_publish("t", b"x", published, packet_id=published and 1))
    message = await receiver.publish_received()
    assert message.qos == min(published, granted)
    assert message.retain is False


async def test_burst_then_disconnect_loses_nothing(mqtt: Running) -> None:
    receiver = await mqtt.admin("receiver")
    await receiver.subscribe(("burst", 2))
    for qos in (0, 1, 2):
        sender = await mqtt.admin(f"sender-{qos}")
        packets = [
            encode_publish("burst", b"%d" % index, qos, packet_id=qos and index + 1) for index in range(500)
        ]
        await sender.send(b"".join(packets) + DISCONNECT)
        sender.writer.close()
        received: list[bytes] = []
        while len(received) < 500:
            packet = await receiver.packet()
            assert packet is not None
            if packet.type is PacketType.PUBREL:
                await receiver.send(encode_ack(PacketType.PUBCOMP, parse_packet_id(packet)))
                continue
            message = parse_publish(packet)
            received.append(message.payload)
            if message.packet_id is not None:
                kind = PacketType.PUBACK if message.qos == 1 else PacketType.PUBREC
                await receiver.send(encode_ack(kind, message.packet_id))
        assert received == [b"%d" % index for index in range(500)]
        await receiver.settled()


async def test_messages_survive_subscribers_that_come_and_go(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"messages_per_s": 100_000, "connects_per_minute": 10_000})
    receiver = await mqtt.admin("receiver")
    await receiver.subscribe(("steady/#", 0))
    stop = asyncio.Event()

    async def churn(name: str) -> None:
        while not stop.is_set():
            client = await RawClient.open(mqtt.port)
            assert await client.connack(name, "admin", "admin password") == 0
            await client.subscribe((f"{name}/#", 0), ("steady/+", 1), (f"x/{name}", 2))
            await client.send(encode_unsubscribe(9, (f"{name}/#",)))
            if name.endswith("1"):
                client.reset()
            else:
                await client.close()

    churners = [asyncio.create_task(churn(f"churn-{index}")) for index in range(4)]
    sender = await mqtt.admin("sender")
    for index in range(300):
        await sender.publish(f"steady/{index % 7}", b"%d" % index)
    stop.set()
    await asyncio.gather(*churners)
    assert await _payloads(receiver, 300) == [b"%d" % index for index in range(300)]
    await mqtt.until(lambda: mqtt.server.sessions == 2 and mqtt.server.subscriptions == 1)


async def test_client_gets_one_copy_however_many_of_its_filters_match(mqtt: Running) -> None:
    client = await mqtt.admin()
    await client.subscribe(("a/#", 0), ("a/+", 1), ("a/b", 0))
    await (await mqtt.admin("sender")).publish("a/b", b"x")
    packets = await client.settled()
    assert [parse_publish(packet).qos for packet in packets] == [1]


async def test_subscribing_again_replaces_the_qos(mqtt: Running) -> None:
    client = await mqtt.admin()
    await client.subscribe(("t", 2))
    await client.subscribe(("t", 0))
    await client.send(encode_publish("t", b"x", 1, packet_id=77))
    assert (await client.publish_received()).qos == 0


async def test_a_client_that_subscribes_and_publishes_without_waiting_gets_its_message(mqtt: Running) -> None:
    client = await mqtt.admin()
    await client.send(encode_subscribe(1, (("t", 0),)) + encode_publish("t", b"x"))
    await client.expect(PacketType.SUBACK)
    assert (await client.publish_received()).payload == b"x"


async def test_unsubscribed_filters_are_forgotten(mqtt: Running) -> None:
    client = await mqtt.admin()
    await client.subscribe(("t/#", 0))
    await client.send(encode_unsubscribe(3, ("t/#", "never/had")))
    assert parse_packet_id(await client.expect(PacketType.UNSUBACK)) == 3
    await client.publish("t/1", b"x")
    assert await client.settled() == []


async def test_retained_message_reaches_later_subscribers_until_it_is_cleared(mqtt: Running) -> None:
    sender = await mqtt.admin("sender")
    await sender.publish("house/door", b"open", retain=True)
    for qos in (0, 1):
        late = await mqtt.admin(f"late-{qos}")
        await late.subscribe(("house/+", qos))
        message = await late.publish_received()
        assert (message.payload, message.retain, message.qos) == (b"open", True, qos)
    await sender.publish("house/door", b"", retain=True)
    last = await mqtt.admin("last")
    await last.subscribe(("house/+", 0))
    assert await last.settled() == []


async def test_retained_messages_are_bounded(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED", 3)
    mqtt = await start_server()
    sender = await mqtt.admin()
    await sender.publish("r/0", b"y", retain=True)
    for index in range(5):
        await sender.publish(f"r/{index}", b"x", retain=True)
    await sender.send(encode_subscribe(1, (("r/#", 0),)))
    await sender.expect(PacketType.SUBACK)
    assert len(await sender.settled()) == 3


async def test_clients_that_fill_the_retained_messages_do_not_keep_devices_states_out(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED", 1)
    mqtt = await start_server()
    guest, admin = await mqtt.connect("guest"), await mqtt.admin()
    for index in range(2):
        await guest.publish(f"r/{index}", b"x", retain=True)
    mqtt.server.publish(f"mimi/devices/{DEVICE}/state", b"{}", retain=True)
    await admin.subscribe(("mimi/devices/+/state", 0))
    assert (await admin.publish_received()).retain


async def test_device_messages_are_never_retained(mqtt: Running) -> None:
    sender = await mqtt.admin("sender")
    for leaf in ("up", "down", "command", "reply"):
        await sender.publish(f"mimi/devices/aa-bb-cc-00-11-22/{leaf}", b"{}", retain=True)
    await sender.publish("mimi/devices/aa-bb-cc-00-11-22/state", b"{}", retain=True)
    await sender.send(encode_subscribe(1, (("mimi/devices/#", 0),)))
    await sender.expect(PacketType.SUBACK)
    topics = [parse_publish(packet).topic for packet in await sender.settled()]
    assert topics == ["mimi/devices/aa-bb-cc-00-11-22/state"]


async def test_will_is_published_when_the_connection_dies_and_only_then(mqtt: Running) -> None:
    watcher = await mqtt.admin("watcher")
    await watcher.subscribe(("last/#", 1))
    await watcher.publish("r", b"x", retain=True)
    calm = await mqtt.admin("calm", will=Will("last/calm", b"-"))
    await calm.send(DISCONNECT)
    assert await calm.closed() == []
    dying = await mqtt.admin("dying", will=Will("last/dying", b"gone", 1, True))
    dying.reset()
    message = await watcher.publish_received()
    assert (message.topic, message.payload, message.qos) == ("last/dying", b"gone", 1)
    junk = await mqtt.admin("junk", will=Will("last/junk", b"junk"))
    await junk.send(b"\xff\xff")
    assert (await watcher.publish_received()).topic == "last/junk"
    silent = await mqtt.admin("silent", keepalive_s=10, will=Will("last/silent", b""))
    mqtt.pass_time(16)
    assert (await watcher.publish_received()).topic == "last/silent"
    assert await silent.closed() == []
    late = await mqtt.admin("late")
    await late.subscribe(("last/#", 0))
    assert (await late.publish_received()).retain


async def test_takeover_publishes_the_old_connections_will(mqtt: Running) -> None:
    watcher = await mqtt.admin("watcher")
    await watcher.subscribe(("last", 0))
    old = await mqtt.admin("same", will=Will("last", b"old"))
    await mqtt.admin("same")
    assert await old.closed() == []
    assert (await watcher.publish_received()).payload == b"old"


async def test_takeover_waits_until_what_the_old_connection_sent_is_dealt_with(mqtt: Running) -> None:
    watcher = await mqtt.admin("watcher")
    await watcher.subscribe(("burst", 0), ("last", 0))
    old = await mqtt.admin("same", clean_session=False, will=Will("last", b"will"))
    await old.subscribe(("t", 1))
    await old.send(b"".join(encode_publish("burst", b"%d" % index) for index in range(300)))
    new = await mqtt.admin("same", clean_session=False)
    assert new.session_present
    assert await _payloads(watcher, 301) == [*(b"%d" % index for index in range(300)), b"will"]
    await watcher.publish("t", b"for the new one")
    assert await _payloads(new, 1) == [b"for the new one"]


async def test_connection_that_was_never_answered_has_no_will(start_server: StartServer) -> None:
    """The second one waits for the first, whose account is beyond its rate, when the third takes over."""
    mqtt = await start_server(shares={"messages_per_s": 5})
    watcher = await mqtt.admin("watcher")
    await watcher.subscribe(("last", 0))
    first = await mqtt.connect("same", will=Will("last", b"first"))
    await first.send(encode_publish("t", b"") * 22)
    second, third = await mqtt.open(), await mqtt.open()
    for takes_over, payload in ((second, b"second"), (third, b"third")):
        before = len(mqtt.server._general._tasks)
        await takes_over.send(encode_connect("same", will=Will("last", payload)))
        await mqtt.until(lambda count=before: len(mqtt.server._general._tasks) > count)  # type: ignore[misc]
    assert await second.closed() == []
    mqtt.pass_time(60)
    await third.expect(PacketType.CONNACK)
    assert await _payloads(watcher, 1) == [b"first"]
    assert await watcher.settled() == []


async def test_flood_of_tiny_packets_leaves_the_others_their_turn(mqtt: Running) -> None:
    flooder, bystander = await mqtt.admin("flooder"), await mqtt.device()
    flooder.writer.write(PINGREQ * 100_000)
    answers = 0

    async def count() -> None:
        nonlocal answers
        while await flooder.packet() is not None:
            answers += 1

    counting = asyncio.create_task(count())
    rounds = 0
    while answers < 100:
        await bystander.round_trip()
        rounds += 1
    assert rounds > 5
    counting.cancel()
    flooder.reset()


async def test_persistent_session_keeps_subscriptions_and_messages(mqtt: Running) -> None:
    away = await mqtt.admin("away", clean_session=False)
    assert not away.session_present
    await away.subscribe(("t/#", 1))
    await away.send(DISCONNECT)
    await away.closed()
    sender = await mqtt.admin("sender")
    for index in range(3):
        await sender.publish(f"t/{index}", b"%d" % index)
    await sender.send(encode_publish("t/lost", b"QoS 0"))
    await sender.settled()
    back = await mqtt.admin("away", clean_session=False)
    assert back.session_present
    assert await _payloads(back, 3) == [b"0", b"1", b"2"]
    await sender.publish("t/4", b"now")
    assert await _payloads(back, 1) == [b"now"]


async def test_longest_packet_reaches_a_persistent_session_that_comes_back(start_server: StartServer) -> None:
    """The client would be cut off by it as too slow, at each of its connections."""
    mqtt = await start_server(max_packet_bytes=4_000_000, max_write_buffer_bytes=16_384)
    away = await mqtt.admin("away", clean_session=False)
    await away.subscribe(("t", 1))
    await away.send(DISCONNECT)
    await away.closed()
    sender = await mqtt.admin("sender")
    longest = bytes(4_000_000 - len(encode_publish("t", b"", 1, packet_id=1)) - 3)
    await sender.publish("t", longest)
    await sender.publish("t", b"next")
    back = await mqtt.open(receive_buffer=4_096)
    assert await back.connack("away", "admin", "admin password", clean_session=False) == 0
    assert await _payloads(back, 2) == [longest, b"next"]
    assert mqtt.server.counters.limits["slow_reader"] == 0


async def test_unacknowledged_messages_are_sent_again_after_a_reconnect(mqtt: Running) -> None:
    first = await mqtt.admin("client", clean_session=False)
    await first.subscribe(("t", 2))
    sender = await mqtt.admin("sender")
    await sender.publish("t", b"one")
    await sender.send(encode_publish("t", b"two", 2, packet_id=50))
    one, two = await first.publish_received(), await first.publish_received()
    await first.send(encode_ack(PacketType.PUBREC, two.packet_id or 0))
    await first.expect(PacketType.PUBREL)
    first.reset()
    again = await mqtt.admin("client", clean_session=False)
    repeated = await again.publish_received()
    assert (repeated.payload, repeated.dup, repeated.packet_id) == (b"one", True, one.packet_id)
    assert parse_packet_id(await again.expect(PacketType.PUBREL)) == two.packet_id
    await again.send(encode_ack(PacketType.PUBACK, one.packet_id or 0))
    await again.send(encode_ack(PacketType.PUBCOMP, two.packet_id or 0))
    await again.settled()
    last = await mqtt.admin("client", clean_session=False)
    assert await last.settled() == []


async def test_qos2_publish_is_delivered_once_across_a_reconnect(mqtt: Running) -> None:
    watcher = await mqtt.admin("watcher")
    await watcher.subscribe(("t", 0))
    for _ in range(2):
        client = await mqtt.admin("client", clean_session=False)
        await client.send(encode_publish("t", b"once", 2, dup=True, packet_id=8))
        await client.expect(PacketType.PUBREC)
        client.reset()
    client = await mqtt.admin("client", clean_session=False)
    await client.send(encode_ack(PacketType.PUBREL, 8))
    await client.expect(PacketType.PUBCOMP)
    assert await _payloads(watcher, 1) == [b"once"]
    assert await watcher.settled() == []


async def test_clean_connect_ends_the_persistent_session(mqtt: Running) -> None:
    await (await mqtt.admin("client", clean_session=False)).subscribe(("t", 1))
    await mqtt.admin("client")
    back = await mqtt.admin("client", clean_session=False)
    assert not back.session_present


async def test_persistent_takeover_gives_a_connection_that_works(mqtt: Running) -> None:
    old = await mqtt.admin("client", clean_session=False)
    await old.subscribe(("t", 1))
    for _ in range(5):
        new = await mqtt.admin("client", clean_session=False)
        assert new.session_present
        assert await old.closed() == []
        old = new
    await new.publish("u", b"x")
    sender = await mqtt.admin("sender")
    await sender.publish("t", b"heard")
    assert await _payloads(new, 1) == [b"heard"]


async def test_persistent_session_expires_when_its_client_stays_away(mqtt: Running) -> None:
    client = await mqtt.admin("client", clean_session=False)
    await client.subscribe(("t", 1))
    await client.close()
    await mqtt.until(lambda: mqtt.server.connections["general"] == 0)
    mqtt.pass_time(limits.OFFLINE_SESSION_S - 1)
    assert mqtt.server.sessions == 1
    mqtt.pass_time(2)
    assert mqtt.server.sessions == 0


async def test_number_of_absent_persistent_sessions_is_bounded(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_OFFLINE_SESSIONS", 3)
    mqtt = await start_server()
    for index in range(5):
        client = await mqtt.admin(f"client-{index}", clean_session=False)
        await client.close()
        await mqtt.until(lambda: mqtt.server.connections["general"] == 0)
        mqtt.pass_time(1)
    assert mqtt.server.sessions == 3
    assert (await mqtt.admin("client-4", clean_session=False)).session_present


async def test_absent_clients_queue_is_bounded(mqtt: Running) -> None:
    client = await mqtt.admin("client", clean_session=False)
    await client.subscribe(("t", 1))
    await client.close()
    sender = await mqtt.admin("sender")
    for _ in range(400):
        await sender.publish("t", b"x" * 1000)
    assert mqtt.server.counters.limits["offline_queue"] > 100
    back = await mqtt.admin("client", clean_session=False)
    assert len(await back.settled()) == limits.MAX_IN_FLIGHT


async def test_messages_beyond_the_window_follow_the_acknowledgements(mqtt: Running) -> None:
    receiver, sender = await mqtt.admin("receiver"), await mqtt.admin("sender")
    await receiver.subscribe(("t", 1))
    for index in range(limits.MAX_IN_FLIGHT + 2):
        await sender.publish("t", b"%d" % index)
    packets = [parse_publish(packet) for packet in await receiver.settled()]
    assert len(packets) == limits.MAX_IN_FLIGHT
    for packet in packets[:2]:
        await receiver.send(encode_ack(PacketType.PUBACK, packet.packet_id or 0))
    assert await _payloads(receiver, 2) == [b"100", b"101"]


async def test_status_is_retained_while_the_server_runs_and_told_when_it_stops(mqtt: Running) -> None:
    watcher = await mqtt.admin()
    await watcher.subscribe(("mimi/status", 0))
    status = await watcher.publish_received()
    assert status.retain
    assert json.loads(status.payload)["state"] == "online"
    await mqtt.server.aclose()
    last = [parse_publish(packet) for packet in await watcher.closed()]
    assert [json.loads(message.payload)["state"] for message in last] == ["offline"]


async def test_server_publishes_to_whoever_subscribed(mqtt: Running) -> None:
    admin, guest = await mqtt.admin(), await mqtt.connect("guest")
    await admin.subscribe(("mimi/devices/+/state", 1))
    await guest.subscribe(("#", 0))
    mqtt.server.publish("mimi/devices/aa-bb-cc-00-11-22/state", b"{}", retain=True)
    assert (await admin.publish_received()).qos == 0
    assert await guest.settled() == []


async def test_nobody_publishes_where_the_broker_speaks(mqtt: Running) -> None:
    admin = await mqtt.admin()
    await admin.subscribe(("$SYS/#", 0))
    await admin.publish("$SYS/broker/uptime", b"1")
    assert await admin.settled() == []


async def test_dollar_topics_but_those_of_the_broker_are_refused(mqtt: Running) -> None:
    admin = await mqtt.admin()
    assert await admin.subscribe(("$other/#", 0), ("$SYS/#", 0)) == (0x80, 0)
