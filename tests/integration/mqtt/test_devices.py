"""A device's native connection: what stock firmware and desktop clients do."""

import contextlib
from collections.abc import Iterator

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.device import DeviceConnection
from mimi_mqtt.wire.mqtt import (
    DISCONNECT,
    PINGREQ,
    PacketType,
    encode_ack,
    encode_connect,
    encode_publish,
    encode_subscribe,
    encode_unsubscribe,
    parse_packet_id,
    parse_publish,
)
from tests.integration.mqtt.conftest import DEVICE, DOWN, LAST_WORDS, OTHER, UP, Running, StartServer

HELLO = b'{"type":"hello","version":3,"transport":"udp"}'


async def test_device_is_pushed_to_without_subscribing(mqtt: Running) -> None:
    mqtt.sink.reply = b'{"type":"hello"}'
    device = await mqtt.device()
    await device.send(encode_publish(UP, HELLO))
    answer = await device.publish_received()
    assert (answer.topic, answer.payload, answer.qos) == (DOWN, b'{"type":"hello"}', 0)
    assert mqtt.sink.messages == [(DEVICE, HELLO)]


async def test_channel_knows_its_device_transport_and_our_address(mqtt: Running) -> None:
    await mqtt.device()
    channel = mqtt.sink.channels[DEVICE]
    assert (channel.device_id, channel.transport, channel.local_host) == (DEVICE, "mqtt", "127.0.0.1")
    assert channel.peer_host == "127.0.0.1"


async def test_messages_sent_right_behind_connect_are_taken(mqtt: Running) -> None:
    device = await mqtt.open()
    big = b'{"type":"mcp","payload":"' + b"x" * 9000 + b'"}'
    await device.send(
        encode_connect(DEVICE, username=DEVICE, password=b"right")
        + encode_publish(UP, HELLO)
        + encode_publish(UP, big)
    )
    await device.expect(PacketType.CONNACK)
    await mqtt.sink.wait_for(lambda: len(mqtt.sink.messages) == 2)
    assert mqtt.sink.messages == [(DEVICE, HELLO), (DEVICE, big)]


async def test_desktop_client_subscribes_to_its_own_topic(mqtt: Running) -> None:
    device = await mqtt.device()
    assert await device.subscribe((DOWN, 1)) == (1,)
    assert await device.subscribe((DOWN, 2), (UP, 0), (DOWN, 0)) == (1, 0, 0)
    await device.send(encode_unsubscribe(7, (DOWN,)))
    assert parse_packet_id(await device.expect(PacketType.UNSUBACK)) == 7
    mqtt.sink.channels[DEVICE].send(b"{}")
    assert (await device.publish_received()).payload == b"{}"


async def test_qos1_publish_is_acknowledged(mqtt: Running) -> None:
    device = await mqtt.device()
    await device.publish(UP, HELLO)
    assert mqtt.sink.messages == [(DEVICE, HELLO)]


async def test_qos2_publish_is_delivered_once_however_often_it_is_repeated(mqtt: Running) -> None:
    device = await mqtt.device()
    for repetition in (False, True, True):
        await device.send(encode_publish(UP, HELLO, 2, dup=repetition, packet_id=5))
        assert parse_packet_id(await device.expect(PacketType.PUBREC)) == 5
    for _ in range(2):
        await device.send(encode_ack(PacketType.PUBREL, 5))
        assert parse_packet_id(await device.expect(PacketType.PUBCOMP)) == 5
    assert mqtt.sink.messages == [(DEVICE, HELLO)]
    await device.send(encode_publish(UP, b"{}", 2, packet_id=5))
    await device.expect(PacketType.PUBREC)
    assert len(mqtt.sink.messages) == 2


async def test_second_hello_on_the_same_connection_is_passed_on(mqtt: Running) -> None:
    device = await mqtt.device()
    await device.send(encode_publish(UP, HELLO) * 2)
    await device.round_trip()
    assert mqtt.sink.messages == [(DEVICE, HELLO)] * 2


async def test_packets_may_arrive_byte_by_byte(mqtt: Running) -> None:
    device = await mqtt.device()
    for byte in encode_publish(UP, HELLO):
        await device.send(bytes((byte,)))
    await device.round_trip()
    assert mqtt.sink.messages == [(DEVICE, HELLO)]


async def test_keepalive_expires_after_one_and_a_half_times(mqtt: Running) -> None:
    device = await mqtt.device(keepalive_s=240)
    mqtt.pass_time(359)
    assert mqtt.server.connections["device"] == 1
    await device.round_trip()
    mqtt.pass_time(359)
    assert mqtt.server.connections["device"] == 1
    mqtt.pass_time(2)
    assert await device.closed() == []
    assert mqtt.sink.events == [("opened", DEVICE), ("closed", DEVICE)]


async def test_keepalive_zero_never_expires(mqtt: Running) -> None:
    device = await mqtt.device(keepalive_s=0)
    mqtt.pass_time(1_000_000)
    assert await device.round_trip() == []


async def test_new_connection_of_the_device_takes_over_in_order(mqtt: Running) -> None:
    old = await mqtt.device()
    new = await mqtt.device()
    assert await old.closed() == []
    assert mqtt.sink.events == [("opened", DEVICE), ("closed", DEVICE), ("opened", DEVICE)]
    mqtt.sink.channels[DEVICE].send(b"to the new one")
    assert (await new.publish_received()).payload == b"to the new one"
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 1)
    assert mqtt.server.connections["device"] == 1


async def test_disconnect_ends_the_channel_and_later_sends_are_dropped(mqtt: Running) -> None:
    device = await mqtt.device(will=LAST_WORDS)
    channel = mqtt.sink.channels[DEVICE]
    await device.send(DISCONNECT)
    assert await device.closed() == []
    channel.send(b"{}")
    channel.close("again")
    assert mqtt.sink.events == [("opened", DEVICE), ("closed", DEVICE)]
    assert mqtt.sink.messages == []


async def test_a_devices_own_will_is_its_last_message(mqtt: Running) -> None:
    device = await mqtt.device(will=LAST_WORDS)
    device.reset()
    await mqtt.sink.wait_for(lambda: len(mqtt.sink.events) == 2)
    assert mqtt.sink.messages == [(DEVICE, LAST_WORDS.payload)]


async def test_closing_the_channel_ends_the_connection(mqtt: Running) -> None:
    device = await mqtt.device()
    mqtt.sink.channels[DEVICE].close("goodbye")
    assert await device.closed() == []
    assert not mqtt.server.connections["device"]


@pytest.mark.parametrize("level", [3, 6])
async def test_other_protocol_levels_are_refused_with_code_1(mqtt: Running, level: int) -> None:
    device = await mqtt.open()
    if level == 3:
        assert await device.connack(DEVICE, DEVICE, "right", protocol_level=3) == 1
    else:
        await device.send(b"\x10\x0e\x00\x04MQTT\x06\x02\x00\x3c\x00\x02ab")
        assert (await device.expect(PacketType.CONNACK)).body == b"\x00\x01"
    assert await device.closed() == []


async def test_client_id_that_is_missing_for_a_persistent_session_is_refused(mqtt: Running) -> None:
    client = await mqtt.open()
    assert await client.connack("", clean_session=False) == 2
    client = await mqtt.open()
    assert await client.connack("x" * 257) == 2


async def test_two_devices_do_not_hear_each_other(mqtt: Running) -> None:
    first, second = await mqtt.device(), await mqtt.device(OTHER)
    mqtt.sink.channels[DEVICE].send(b"one")
    mqtt.sink.channels[OTHER].send(b"two")
    assert [parse_publish(packet).payload for packet in await first.round_trip()] == [b"one"]
    assert [parse_publish(packet).payload for packet in await second.round_trip()] == [b"two"]


async def test_quecpython_client_subscribes_to_a_topic_of_its_own_making(mqtt: Running) -> None:
    device = await mqtt.device(keepalive_s=120)
    assert await device.subscribe(("devices/p2p/#", 0)) == (0,)
    mqtt.sink.channels[DEVICE].send(b"{}")
    assert (await device.publish_received()).topic == DOWN


async def test_espressif_client_subscribes_after_each_connect_and_stays_by_pings(mqtt: Running) -> None:
    for _ in range(2):
        device = await mqtt.device(keepalive_s=90)
        assert await device.subscribe((DOWN, 0)) == (0,)
        for _ in range(5):
            mqtt.pass_time(45)
            assert await device.round_trip() == []
    mqtt.pass_time(136)
    assert await device.closed() == []


async def test_a_device_may_subscribe_to_invalid_filters_as_little_as_anybody(mqtt: Running) -> None:
    device = await mqtt.device()
    await device.send(encode_subscribe(1, (("devices/#/p2p", 0),)))
    assert await device.closed() == []


async def test_messages_of_one_turn_of_the_loop_are_one_write_in_order(mqtt: Running) -> None:
    device = await mqtt.device()
    channel = mqtt.sink.channels[DEVICE]
    payloads = [b'{"type":"stt"}', b'{"type":"llm"}', b'{"type":"tts","state":"start"}']
    with written() as writes:
        for payload in payloads:
            channel.send(payload)
        assert channel.undelivered() > sum(map(len, payloads))
        for payload in payloads:
            assert (await device.publish_received()).payload == payload
    assert len(writes) == 1


async def test_answers_to_what_came_together_leave_together(mqtt: Running) -> None:
    mqtt.sink.reply = b'{"type":"hello"}'
    device = await mqtt.device()
    with written() as writes:
        await device.send(encode_publish(UP, HELLO) + PINGREQ + encode_publish(UP, HELLO, 1, packet_id=3))
        kinds = [(await device.packet()) for _ in range(4)]
    assert [packet and packet.type for packet in kinds] == [
        PacketType.PUBLISH, PacketType.PINGRESP, PacketType.PUBLISH, PacketType.PUBACK,
    ]  # fmt: skip
    assert len(writes) == 1


async def test_more_than_a_segment_does_not_wait_for_the_turn_of_the_loop(mqtt: Running) -> None:
    device = await mqtt.device()
    channel = mqtt.sink.channels[DEVICE]
    payloads = [bytes((ord("a") + index,)) * limits.JOINED_BYTES for index in range(3)]
    with written() as writes:
        for payload in payloads:
            channel.send(payload)
        assert len(writes) == 3
    for payload in payloads:
        assert (await device.publish_received()).payload == payload


@pytest.mark.parametrize("how", ["channel", "server"])
async def test_a_goodbye_right_before_the_end_arrives(mqtt: Running, how: str) -> None:
    device = await mqtt.device()
    channel = mqtt.sink.channels[DEVICE]
    channel.send(b'{"type":"goodbye","session_id":"x"}')
    if how == "channel":
        channel.close("idle")
    else:
        mqtt.server.disconnect(DEVICE, "its credentials were revoked")
    packets = await device.closed()
    assert [parse_publish(packet).payload for packet in packets] == [b'{"type":"goodbye","session_id":"x"}']


async def test_a_goodbye_behind_what_a_stalled_device_has_not_read_arrives(start_server: StartServer) -> None:
    mqtt = await start_server(max_write_buffer_bytes=8_000_000)
    device = await mqtt.open(receive_buffer=4_096)
    assert await device.connack(DEVICE, DEVICE, "right") == 0
    channel = mqtt.sink.channels[DEVICE]
    for _ in range(800):
        channel.send(b"x" * 8_000)
    channel.send(b'{"type":"goodbye"}')
    mqtt.server.disconnect(DEVICE, "its credentials were revoked")
    packets = await device.closed()
    assert len(packets) == 801
    assert parse_publish(packets[-1]).payload == b'{"type":"goodbye"}'
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)
    mqtt.pass_time(limits.LINGER_S)  # the connection that was waited for has closed by itself


async def test_a_closed_device_that_reads_nothing_is_dropped_after_a_while(start_server: StartServer) -> None:
    mqtt = await start_server(max_write_buffer_bytes=8_000_000)
    device = await mqtt.open(receive_buffer=4_096)
    assert await device.connack(DEVICE, DEVICE, "right") == 0
    for _ in range(800):
        mqtt.sink.channels[DEVICE].send(b"x" * 8_000)
    mqtt.server.disconnect(DEVICE, "its credentials were revoked")
    assert mqtt.server.connections["sockets"] == 1
    mqtt.pass_time(limits.LINGER_S)
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)


@contextlib.contextmanager
def written() -> Iterator[list[bytes]]:
    """Every write of a device's connection to its transport."""
    writes: list[bytes] = []
    flush = DeviceConnection._flush

    def recording(device: DeviceConnection) -> None:
        if device._outgoing:
            writes.append(device._outgoing)
        flush(device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceConnection, "_flush", recording)
        yield writes


async def test_a_goodbye_beyond_the_rate_still_takes_the_will_away(start_server: StartServer) -> None:
    mqtt = await start_server(device_messages_per_s=1)
    device = await mqtt.device(will=LAST_WORDS)
    await device.send(encode_publish("elsewhere", b"") * 20 + DISCONNECT)
    assert await device.closed() == []
    await mqtt.until(lambda: mqtt.server.connections["device"] == 0)
    assert mqtt.server.counters.limits["message_rate"] > 0
    assert mqtt.sink.messages == []


@pytest.mark.parametrize("behind", [b"\0\0", b"\xc0\1", b"\xe0\1\0"])
async def test_a_fault_right_behind_connect_ends_the_connection(mqtt: Running, behind: bytes) -> None:
    device = await mqtt.open()
    await device.send(encode_connect(DEVICE, username=DEVICE, password=b"right", will=LAST_WORDS) + behind)
    await device.expect(PacketType.CONNACK)
    assert await device.closed() == []
    await mqtt.sink.wait_for(lambda: len(mqtt.sink.messages) == 1)
