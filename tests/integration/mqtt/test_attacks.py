"""What an attacker may try against the running broker, and what must not come of it."""

import asyncio
import gc

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.wire.mqtt import (
    PacketType,
    Will,
    encode_connect,
    encode_publish,
    encode_subscribe,
    parse_publish,
)
from tests.integration.mqtt.conftest import DEVICE, DOWN, OTHER, UP, Running, StartServer


async def test_wrong_password_with_a_device_id_changes_nothing_for_the_device(mqtt: Running) -> None:
    victim = await mqtt.device()
    for password in ("wrong", "", None):
        attacker = await mqtt.open()
        assert await attacker.connack(DEVICE, DEVICE, password) == 4
        assert await attacker.closed() == []
    assert await victim.round_trip() == []
    mqtt.sink.channels[DEVICE].send(b"still there")
    assert (await victim.publish_received()).payload == b"still there"
    assert mqtt.sink.events == [("opened", DEVICE)]


@pytest.mark.parametrize("clean_session", [True, False])
async def test_wrong_password_with_a_general_client_id_changes_nothing(
    mqtt: Running, clean_session: bool
) -> None:
    victim = await mqtt.admin("house", clean_session=clean_session)
    assert await victim.subscribe(("home/#", 1)) == (1,)
    attacker = await mqtt.open()
    assert await attacker.connack("house", "admin", "guess", clean_session=clean_session) == 4
    sender = await mqtt.admin("sender")
    await sender.publish("home/light", b"on")
    assert (await victim.publish_received()).payload == b"on"


async def test_another_user_under_the_same_client_id_neither_ends_nor_resumes_it(mqtt: Running) -> None:
    victim = await mqtt.admin("house", clean_session=False)
    assert await victim.subscribe(("home/#", 1)) == (1,)
    for username in (None, DEVICE):
        stranger = await mqtt.connect("house", username, clean_session=False)
        assert not stranger.session_present
    sender = await mqtt.admin("sender")
    await sender.publish("home/light", b"on")
    assert (await victim.publish_received()).payload == b"on"
    assert await stranger.settled() == []


async def test_nobody_gets_in_without_a_name_when_anonymous_is_off(mqtt: Running) -> None:
    mqtt.accounts.anonymous = False
    client = await mqtt.open()
    assert await client.connack("x") == 5


async def test_silent_connection_is_dropped_in_time(mqtt: Running) -> None:
    silent = await mqtt.open()
    await mqtt.until(lambda: mqtt.server.counters.pending == 1)
    mqtt.pass_time(4.9)
    assert mqtt.server.counters.pending == 1
    mqtt.pass_time(0.2)
    assert await silent.closed() == []
    assert mqtt.server.counters.refused["timeout"] == 1


async def test_slow_connect_is_dropped_however_it_trickles(mqtt: Running) -> None:
    slow = await mqtt.open()
    await mqtt.until(lambda: mqtt.server.counters.pending == 1)
    for byte in encode_connect(DEVICE, username=DEVICE, password=b"right")[:-1]:
        await slow.send(bytes((byte,)))
        mqtt.pass_time(0.05)
    mqtt.pass_time(5)
    assert await slow.closed() == []


@pytest.mark.parametrize(
    "opening",
    [
        encode_connect("x" * 5000),
        b"\x10\xff\xff\xff\x7f",
        b"\x10\xff\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xc0\x00",
        b"\x00" * 64,
        encode_publish(UP, b"{}"),
    ],
)
async def test_oversized_or_foreign_opening_is_dropped_without_an_answer(
    mqtt: Running, opening: bytes
) -> None:
    client = await mqtt.open()
    await client.send(opening)
    assert await client.closed() == []
    assert mqtt.server.counters.refused["malformed"] == 1
    assert mqtt.server.counters.pending == 0


async def test_nothing_behind_connect_is_looked_at_before_the_password(mqtt: Running) -> None:
    attacker = await mqtt.open()
    connect = encode_connect(DEVICE, username=DEVICE, password=b"wrong")
    await attacker.send(connect + b"\xc0\x00" * 50_000)
    packets = await attacker.closed()
    assert [packet.body for packet in packets] in ([b"\x00\x04"], [])  # RST may overtake the answer
    assert mqtt.server.counters.refused["credentials"] == 1
    assert mqtt.server.counters.bytes_in == 0


async def test_everything_behind_connect_is_taken_with_the_right_password(mqtt: Running) -> None:
    for client_id in (DEVICE, "desk"):
        client = await mqtt.open()
        username, password = (DEVICE, b"right") if client_id == DEVICE else ("admin", b"admin password")
        await client.send(
            encode_connect(client_id, username=username, password=password)
            + encode_publish(UP, b"x" * 90) * 100
        )
        await client.expect(PacketType.CONNACK)
        await mqtt.until(lambda: mqtt.server.counters.messages_in == 100)
        mqtt.server.counters.messages_in = 0


async def test_pending_connections_are_bounded(start_server: StartServer) -> None:
    mqtt = await start_server(max_pending_connects=4)  # of which two are kept for addresses of devices
    silent = [await mqtt.open() for _ in range(2)]
    await mqtt.until(lambda: mqtt.server.counters.pending == 2)
    assert await (await mqtt.open()).closed() == []
    mqtt.pass_time(6)
    for client in silent:
        assert await client.closed() == []
    assert await (await mqtt.device()).round_trip() == []


async def test_full_broker_says_unavailable_but_lets_a_device_take_over(start_server: StartServer) -> None:
    mqtt = await start_server(max_connections=2)
    await mqtt.device()
    await mqtt.admin()
    late = await mqtt.open()
    assert await late.connack(OTHER, OTHER, "other") == 3
    assert await late.closed() == []
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 2)
    again = await mqtt.device()
    assert await again.round_trip() == []


async def test_thousand_failed_logins_leak_nothing(mqtt: Running) -> None:
    async def fail(index: int) -> None:
        client = await mqtt.open()
        name = (DEVICE, "admin", "nobody")[index % 3]
        code = await client.connack_if_any(f"{name}-{index % 7}", name, "wrong", clean_session=index % 2 == 0)
        assert code in (4, None), "refused, and after a few hundred closed at once"
        if index % 5:
            await client.close()
        else:
            client.reset()

    await fail(0)
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)
    gc.collect()
    tasks, objects = len(asyncio.all_tasks()), len(gc.get_objects())
    for start in range(0, 1000, 50):
        await asyncio.gather(*(fail(index) for index in range(start, start + 50)))
        mqtt.clients.clear()
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)
    await mqtt.until(lambda: len(asyncio.all_tasks()) == tasks)
    refused = mqtt.server.counters.refused
    assert refused["credentials"] >= limits.BAD_CONNECTIONS_AT_ONCE
    assert refused["credentials"] + refused["failing"] == 1001
    assert mqtt.server.counters.pending == 0
    assert mqtt.server.sessions == 0
    mqtt.server.sweep(mqtt.clock.now)
    gc.collect()
    assert len(gc.get_objects()) - objects < 500


async def test_resets_around_connack_leak_nothing(mqtt: Running) -> None:
    for index in range(60):
        client = await mqtt.open()
        await client.send(encode_connect(f"c{index}", username="admin", password=b"admin password"))
        if index % 2:
            await client.packet()
        client.reset()
    await mqtt.until(lambda: mqtt.server.connections == {"device": 0, "general": 0, "sockets": 0})
    assert mqtt.server.sessions == 0


@pytest.mark.parametrize(
    "topic_filter", ["#", "+/devices/#", "mimi/#", f"mimi/devices/{OTHER}/down", "$SYS/#", UP]
)
async def test_a_device_that_subscribes_to_more_is_sent_only_its_own(
    mqtt: Running, topic_filter: str
) -> None:
    device = await mqtt.device()
    assert await device.subscribe((topic_filter, 1), (DOWN, 2)) == (1, 1)
    other, admin = await mqtt.device(OTHER), await mqtt.admin()
    await admin.publish("a", b"not a device's", retain=True)
    await admin.publish(UP, b"a device's, but not to it")
    mqtt.sink.channels[OTHER].send(b"another device's")
    assert [parse_publish(packet).payload for packet in await other.round_trip()] == [b"another device's"]
    mqtt.sink.channels[DEVICE].send(b"its own")
    assert [parse_publish(packet).payload for packet in await device.round_trip()] == [b"its own"]


@pytest.mark.parametrize(
    "topic_filter", ["#", "+/devices/#", "mimi/#", f"mimi/devices/{OTHER}/#", "$SYS/#", "a"]
)
async def test_testers_cannot_subscribe_beyond_their_device(mqtt: Running, topic_filter: str) -> None:
    tester = await mqtt.connect("mosq", DEVICE)
    assert await tester.subscribe((topic_filter, 0), (f"mimi/devices/{DEVICE}/#", 1)) == (0x80, 1)
    other = await mqtt.device(OTHER)
    await other.send(encode_publish(f"mimi/devices/{OTHER}/up", b'{"type":"secret"}'))
    await other.round_trip()
    assert await tester.settled() == []


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("client_id", [DEVICE, "tester"])
async def test_publish_to_another_devices_topic_reaches_nobody(
    mqtt: Running, qos: int, client_id: str
) -> None:
    watcher = await mqtt.admin()
    assert await watcher.subscribe(("#", 2)) == (2,)
    await watcher.publish_received()  # mimi/status
    attacker = await mqtt.connect(client_id, DEVICE)
    for leaf in ("up", "down", "command", "state"):
        topic = f"mimi/devices/{OTHER}/{leaf}"
        await attacker.send(encode_publish(topic, b"{}", qos, True, packet_id=qos and 9))
        if qos:
            await attacker.expect(PacketType.PUBACK if qos == 1 else PacketType.PUBREC)
            await attacker.send(b"\x62\x02\x00\x09" if qos == 2 else b"")
            if qos == 2:
                await attacker.expect(PacketType.PUBCOMP)
    await (
        attacker.round_trip() if client_id == DEVICE else attacker.subscribe((f"mimi/devices/{DEVICE}/x", 0))
    )
    assert mqtt.sink.messages == []
    assert await watcher.settled() == []
    late = await mqtt.admin("late")
    await late.send(encode_subscribe(1, (("mimi/devices/#", 0),)))
    await late.expect(PacketType.SUBACK)
    assert await late.settled() == []
    assert mqtt.server.counters.limits["forbidden_publish"] == 4


async def test_retained_messages_reach_only_those_whose_own_filter_matches(mqtt: Running) -> None:
    admin = await mqtt.admin()
    await admin.publish(f"mimi/devices/{OTHER}/state", b'{"secret":1}', retain=True)
    await admin.publish("house/alarm", b"code", retain=True)
    assert set(await admin.subscribe(("mimi/#", 0), ("house/#", 0))) == {0}
    for username, clean in ((DEVICE, True), (DEVICE, False), (None, True), (None, False)):
        stranger = await mqtt.connect(f"stranger-{clean}", username, clean_session=clean)
        assert await stranger.settled() == []
    anonymous = await mqtt.connect("guest")
    await anonymous.send(encode_subscribe(1, (("#", 0), ("+/devices/+/state", 0))))
    await anonymous.expect(PacketType.SUBACK)
    seen = [parse_publish(packet).topic for packet in await anonymous.settled()]
    assert seen == ["house/alarm"]


@pytest.mark.parametrize(
    ("client_id", "username"),
    [(DEVICE, DEVICE), ("tester", DEVICE), ("guest", None)],
    ids=["device", "tester", "guest"],
)
async def test_will_cannot_pass_the_access_rules(mqtt: Running, client_id: str, username: str | None) -> None:
    watcher = await mqtt.admin()
    assert await watcher.subscribe(("#", 0)) == (0,)
    await watcher.publish_received()
    client = await mqtt.open()
    password = "right" if username else None
    will = Will(f"mimi/devices/{OTHER}/up", b"{}", 0, True)
    assert await client.connack(client_id, username, password, will=will) == 5
    assert await client.closed() == []
    assert await watcher.settled() == []


async def test_oversized_will_is_refused_with_the_connect(mqtt: Running) -> None:
    client = await mqtt.open()
    await client.send(encode_connect(DEVICE, username=DEVICE, password=b"right", will=Will(UP, b"x" * 5000)))
    assert await client.closed() == []


async def test_anonymous_never_sees_or_touches_the_mimi_tree(mqtt: Running) -> None:
    guest = await mqtt.connect("guest")
    assert await guest.subscribe(("mimi/#", 0), ("mimi", 0), ("#", 0), ("+/devices/+/up", 1)) == (
        0x80,
        0x80,
        0,
        1,
    )
    await guest.publish(f"mimi/devices/{DEVICE}/command", b"{}")
    device = await mqtt.device()
    await device.send(encode_publish(UP, b"{}"))
    await device.round_trip()
    admin = await mqtt.admin()
    await admin.publish("mimi/status", b"x")
    await admin.publish("hello", b"y")
    assert (await guest.publish_received()).topic == "hello"
    assert await guest.settled() == []


async def test_a_megabyte_ends_a_devices_connection_before_it_is_read(mqtt: Running) -> None:
    device = await mqtt.device()
    await device.send(encode_publish(UP, b'{"type":"' + b"x" * 1_000_000)[:20_000])
    assert await device.closed() == []
    assert mqtt.sink.messages == []
    assert mqtt.sink.events == [("opened", DEVICE), ("closed", DEVICE)]


async def test_a_megabyte_ends_a_general_clients_connection(mqtt: Running) -> None:
    admin = await mqtt.admin()
    await admin.send(encode_publish("a", b"x" * 1_000_000)[:20_000])
    assert await admin.closed() == []


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00\x00",
        b"\xf0\x00",
        b"\x30\x02\x00\x00",  # empty topic
        b"\x30\x04\x00\x02a#",
        b"\x30\x04\x00\x02a\x00",
        b"\x36\x05\x00\x01a\x00\x01",  # QoS 3
        b"\x32\x05\x00\x01a\x00\x00",  # packet id 0
        b"\x82\x05\x00\x01\x00\x00\x00",  # empty filter
        b"\x82\x07\x00\x01\x00\x02#a\x00",
        b"\x82\x02\x00\x01",
        b"\x80\x06\x00\x01\x00\x01a\x00",  # wrong flags
        b"\x20\x02\x00\x00",
        encode_connect("again"),
    ],
)
@pytest.mark.parametrize("role", ["device", "admin"])
async def test_junk_ends_only_its_own_connection(mqtt: Running, junk: bytes, role: str) -> None:
    bystander = await mqtt.device(OTHER)
    client = await (mqtt.device() if role == "device" else mqtt.admin())
    await client.send(junk)
    assert await client.closed() == []
    assert await bystander.round_trip() == []


async def test_device_that_does_not_read_is_cut_off_with_bounded_memory(start_server: StartServer) -> None:
    mqtt = await start_server(max_write_buffer_bytes=16_384)
    slow = await mqtt.open(receive_buffer=4096)
    assert await slow.connack(DEVICE, DEVICE, "right") == 0
    slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
    channel = mqtt.sink.channels[DEVICE]
    sent = 0
    while mqtt.sink.channels:
        channel.send(b"x" * 4000)
        sent += 1
        await asyncio.sleep(0)
        assert sent < 10_000
    assert mqtt.server.counters.limits["slow_reader"] == 1
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)


@pytest.mark.parametrize("qos", [0, 1])
async def test_general_client_that_does_not_read_is_cut_off(start_server: StartServer, qos: int) -> None:
    mqtt = await start_server(max_write_buffer_bytes=16_384, max_packet_bytes=8_192)
    slow = await mqtt.open(receive_buffer=4096)
    assert await slow.connack("slow", "admin", "admin password") == 0
    assert await slow.subscribe(("flood", qos)) == (qos,)
    slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
    sender = await mqtt.admin("sender")
    for _ in range(3000):
        await sender.publish("flood", b"x" * 4000)
        if mqtt.server.counters.limits["slow_reader"]:
            break
    assert mqtt.server.counters.limits["slow_reader"] == 1
    await mqtt.until(lambda: mqtt.server.connections["general"] == 1)
    await sender.publish("flood", b"the others go on")


async def test_device_flood_is_limited_then_cut_off(start_server: StartServer) -> None:
    mqtt = await start_server(device_messages_per_s=1)
    device = await mqtt.device()
    await device.send(encode_publish(UP, b"{}") * 30)
    await mqtt.until(lambda: mqtt.server.counters.limits["message_rate"] == 26)
    assert len(mqtt.sink.messages) == limits.BURST_FACTOR
    mqtt.clock.now += 2
    await device.send(encode_publish(UP, b"{}"))
    await mqtt.sink.wait_for(lambda: len(mqtt.sink.messages) == limits.BURST_FACTOR + 1)
    await device.send(encode_publish(UP, b"{}") * 60)
    assert await device.closed() == []
    assert ("closed", DEVICE) in mqtt.sink.events


async def test_unreleased_qos2_publishes_are_bounded(mqtt: Running) -> None:
    sender = await mqtt.admin()
    for packet_id in range(1, limits.MAX_UNRELEASED + 2):
        await sender.send(encode_publish("a", b"", 2, packet_id=packet_id))
    answers = await sender.closed()
    assert len(answers) <= limits.MAX_UNRELEASED


async def test_subscriptions_of_one_client_are_bounded(mqtt: Running) -> None:
    admin = await mqtt.admin()
    codes = await admin.subscribe(*((f"t/{index}", 0) for index in range(limits.MAX_FILTERS + 5)))
    assert codes.count(0x80) == 5


async def test_revoked_device_is_disconnected_everywhere(mqtt: Running) -> None:
    device, tester = await mqtt.device(), await mqtt.connect("tester", DEVICE, clean_session=False)
    bystander = await mqtt.device(OTHER)
    mqtt.server.disconnect(DEVICE, "revoked")
    assert await device.closed() == []
    assert await tester.closed() == []
    assert await bystander.round_trip() == []
    await mqtt.until(lambda: mqtt.server.sessions == 0)
