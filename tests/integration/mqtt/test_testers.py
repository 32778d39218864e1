"""Testers who play a device, administrators who push, and what is mirrored to whom."""

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.wire.mqtt import DISCONNECT, encode_publish, parse_publish
from tests.integration.mqtt.conftest import DEVICE, DOWN, OTHER, UP, Running, StartServer

HELLO = b'{"type":"hello","version":3}'
ANSWER = b'{"type":"hello","udp":{"key":"0123456789abcdef","nonce":"01","port":1}}'
HIDDEN = b'{"type":"hello","udp":{"key":"***","nonce":"***","port":1}}'


async def test_tester_speaks_as_the_device_and_hears_the_answer_in_clear(mqtt: Running) -> None:
    mqtt.sink.reply = ANSWER
    tester = await mqtt.connect("mosq", DEVICE)
    await tester.subscribe((DOWN, 1))
    await tester.publish_qos0(UP, HELLO)
    answer = await tester.publish_received()
    assert (answer.topic, answer.payload) == (DOWN, ANSWER)
    assert mqtt.sink.messages == [(DEVICE, HELLO)]
    channel = mqtt.sink.channels[DEVICE]
    assert (channel.transport, channel.local_host) == ("mqtt", "127.0.0.1")
    assert channel.peer_host is None


async def test_answer_to_a_tester_is_redacted_for_everyone_else(mqtt: Running) -> None:
    mqtt.sink.reply = ANSWER
    watcher = await mqtt.admin()
    await watcher.subscribe(("mimi/devices/#", 0))
    tester = await mqtt.connect("mosq", DEVICE)
    await tester.publish(UP, HELLO)
    seen = [await watcher.publish_received(), await watcher.publish_received()]
    assert [message.topic for message in seen] == [UP, DOWN]
    assert b"0123456789abcdef" not in seen[1].payload


async def test_testers_channel_survives_between_two_commands_and_then_expires(mqtt: Running) -> None:
    for _ in range(2):
        pub = await mqtt.connect("mosquitto_pub", DEVICE)
        await pub.publish(UP, HELLO)
        await pub.send(DISCONNECT)
        await pub.closed()
        mqtt.pass_time(limits.TESTER_CHANNEL_S - 1)
    assert mqtt.sink.events == [("opened", DEVICE)]
    assert len(mqtt.sink.messages) == 2
    mqtt.pass_time(2)
    assert mqtt.sink.events == [("opened", DEVICE), ("closed", DEVICE)]


async def test_testers_channel_lives_as_long_as_one_is_connected(mqtt: Running) -> None:
    sub = await mqtt.connect("mosquitto_sub", DEVICE, keepalive_s=0)
    pub = await mqtt.connect("mosquitto_pub", DEVICE)
    await pub.publish(UP, HELLO)
    await pub.close()
    for _ in range(5):
        mqtt.pass_time(limits.TESTER_CHANNEL_S)
    assert mqtt.sink.events == [("opened", DEVICE)]
    await sub.close()
    await mqtt.until(lambda: mqtt.server.connections["general"] == 0)
    mqtt.pass_time(limits.TESTER_CHANNEL_S + 1)
    assert mqtt.sink.events == [("opened", DEVICE), ("closed", DEVICE)]


async def test_testers_message_of_a_connected_device_is_answered_to_the_device(mqtt: Running) -> None:
    mqtt.sink.reply = ANSWER
    device = await mqtt.device()
    tester = await mqtt.connect("mosq", DEVICE)
    await tester.subscribe((DOWN, 0))
    await tester.publish_qos0(UP, HELLO)
    assert (await device.publish_received()).payload == ANSWER
    assert b"0123456789abcdef" not in (await tester.publish_received()).payload
    assert mqtt.sink.events == [("opened", DEVICE)]


async def test_device_that_connects_replaces_its_testers_channel(mqtt: Running) -> None:
    tester = await mqtt.connect("mosq", DEVICE)
    await tester.publish(UP, HELLO)
    await mqtt.device()
    assert mqtt.sink.events == [("opened", DEVICE), ("closed", DEVICE), ("opened", DEVICE)]


async def test_closing_a_testers_channel_leaves_the_tester_connected(mqtt: Running) -> None:
    tester = await mqtt.connect("mosq", DEVICE)
    await tester.publish(UP, HELLO)
    channel = mqtt.sink.channels[DEVICE]
    channel.close("idle")
    channel.send(b"{}")
    assert mqtt.sink.events == [("opened", DEVICE), ("closed", DEVICE)]
    await tester.publish(UP, HELLO)
    assert mqtt.sink.events[2:] == [("opened", DEVICE)]


async def test_testers_messages_are_limited_in_size_and_rate(start_server: StartServer) -> None:
    mqtt = await start_server(device_messages_per_s=1)
    tester = await mqtt.connect("mosq", DEVICE)
    await tester.publish(UP, b"x" * 20_000)
    assert mqtt.sink.messages == []
    for _ in range(limits.BURST_FACTOR + 3):
        await tester.publish(UP, HELLO)
    assert len(mqtt.sink.messages) == limits.BURST_FACTOR


async def test_testers_cannot_flood_the_session_of_a_connected_device(start_server: StartServer) -> None:
    mqtt = await start_server(device_messages_per_s=1)
    await mqtt.device()
    for _ in range(2):  # reconnecting does not help
        tester = await mqtt.connect("mosq", DEVICE)
        for _ in range(limits.BURST_FACTOR):
            await tester.publish(UP, HELLO)
        await tester.close()
        await mqtt.until(lambda: mqtt.server.connections["general"] == 0)
        mqtt.pass_time(0)
    assert len(mqtt.sink.messages) == limits.BURST_FACTOR


async def test_tester_may_send_commands_to_its_own_device_only(mqtt: Running) -> None:
    watcher = await mqtt.admin()
    await watcher.subscribe(("mimi/devices/+/command", 0))
    tester = await mqtt.connect("mosq", DEVICE)
    await tester.publish(f"mimi/devices/{OTHER}/command", b"no")
    await tester.publish(f"mimi/devices/{DEVICE}/command", b"yes")
    assert (await watcher.publish_received()).payload == b"yes"


async def test_administrator_pushes_to_a_device(mqtt: Running) -> None:
    device = await mqtt.device()
    admin = await mqtt.admin()
    await admin.publish(DOWN, b'{"type":"alert"}')
    assert (await device.publish_received()).payload == b'{"type":"alert"}'
    await admin.publish(DOWN, b"x" * (limits.MAX_PUSH_BYTES + 1))
    assert await device.round_trip() == []
    assert mqtt.server.counters.limits["push_size"] == 1


async def test_both_directions_of_a_device_are_mirrored_with_keys_hidden(mqtt: Running) -> None:
    mqtt.sink.reply = ANSWER
    watcher, tester = await mqtt.admin(), await mqtt.connect("mosq", DEVICE)
    await watcher.subscribe(("mimi/devices/#", 1))
    await tester.subscribe((f"mimi/devices/{DEVICE}/#", 0))
    device = await mqtt.device()
    await device.send(encode_publish(UP, b'{"type":"x","token":"secret"}'))
    assert (await device.publish_received()).payload == ANSWER
    for client in (watcher, tester):
        up, down = await client.publish_received(), await client.publish_received()
        assert (up.topic, down.topic, up.qos) == (UP, DOWN, 0)
        assert b"secret" not in up.payload
        assert b"0123456789abcdef" not in down.payload


async def test_nobody_else_sees_a_devices_messages(mqtt: Running) -> None:
    mqtt.sink.reply = ANSWER
    guest, other = await mqtt.connect("guest"), await mqtt.connect("mosq", OTHER)
    await guest.subscribe(("#", 0))
    await other.subscribe((f"mimi/devices/{OTHER}/#", 0))
    device = await mqtt.device()
    await device.send(encode_publish(UP, HELLO))
    await device.publish_received()
    for client in (guest, other):
        assert [parse_publish(packet) for packet in await client.settled()] == []
