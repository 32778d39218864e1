"""Devices that connect by MQTT 5 are served natively, with its reasons and within the limits they name."""

import contextlib
from typing import Any

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import PacketType, Will
from mimi_mqtt.wire.mqtt5 import FilterRequest
from mimi_mqtt.wire.mqtt_properties import Properties
from mimi_mqtt.wire.mqtt_reasons import Reason
from tests.integration.mqtt.conftest import DEVICE, DOWN, LAST_WORDS, UP, Running, StartServer
from tests.integration.mqtt.raw5 import RawClient5

HELLO = b'{"type":"hello"}'


async def device(mqtt: Running, **options: Any) -> RawClient5:
    return await RawClient5.connected(mqtt, DEVICE, DEVICE, **options)


async def test_a_device_is_greeted_heard_and_spoken_to(mqtt: Running) -> None:
    client = await device(mqtt)
    assert mqtt.server.connections["device"] == 1
    assert client.connack_properties == Properties(
        receive_maximum=limits.MAX_UNRELEASED,
        maximum_packet_bytes=mqtt.server.settings.max_device_packet_bytes,
    )
    mqtt.sink.reply = b'{"type":"stt"}'
    await client.send(mqtt5.encode_publish(UP, HELLO, properties=Properties(content_type="application/json")))
    message = await client.heard()
    assert (message.topic, message.payload, message.properties) == (DOWN, b'{"type":"stt"}', Properties())
    assert mqtt.sink.messages == [(DEVICE, HELLO)]


@pytest.mark.parametrize("qos", [1, 2])
async def test_publishes_are_acknowledged_and_those_elsewhere_refused(mqtt: Running, qos: int) -> None:
    client = await device(mqtt)
    assert (await client.say(UP, HELLO, qos)).reason is Reason.SUCCESS
    assert (await client.say("house/light", b"on", qos)).reason is Reason.NOT_AUTHORIZED
    assert mqtt.sink.messages == [(DEVICE, HELLO)]


async def test_qos2_is_taken_once(start_server: StartServer) -> None:
    mqtt = await start_server(device_messages_per_s=10_000)
    client = await device(mqtt)
    packet = mqtt5.encode_publish(UP, HELLO, 2, packet_id=7)
    await client.send(packet + packet + mqtt5.encode_ack(PacketType.PUBREL, 7))
    for kind in (PacketType.PUBREC, PacketType.PUBREC, PacketType.PUBCOMP):
        assert mqtt5.parse_ack(await client.expect(kind)).reason is Reason.SUCCESS
    assert mqtt.sink.messages == [(DEVICE, HELLO)]
    for number in range(10, limits.MAX_UNRELEASED + 11):
        await client.send(mqtt5.encode_publish(UP, HELLO, 2, packet_id=number))
    assert (await client.told()).reason is Reason.RECEIVE_MAXIMUM_EXCEEDED


async def test_a_devices_message_can_not_have_a_subscription_identifier(mqtt: Running) -> None:
    client = await device(mqtt)
    await client.send(mqtt5.encode_publish(UP, HELLO, properties=Properties(subscription_ids=(1,))))
    assert (await client.told()).reason is Reason.PROTOCOL_ERROR
    assert mqtt.sink.messages == []


async def test_every_filter_is_granted_and_changes_nothing(mqtt: Running) -> None:
    client = await device(mqtt)
    answer = await client.ask("devices/p2p/#", FilterRequest("mimi/#", 0), identifier=5)
    assert answer.reasons == (Reason.GRANTED_QOS_1, Reason.SUCCESS)
    assert await client.leave("devices/p2p/#") == (Reason.SUCCESS,)
    await (await mqtt.admin()).publish("devices/p2p/x", b"x")
    await client.nothing()


async def test_what_is_pushed_keeps_to_the_devices_limits(mqtt: Running) -> None:
    client = await device(mqtt, maximum_packet_bytes=100, topic_alias_maximum=1)
    for payload in (b"first", b"x" * 200, b"second"):
        mqtt.sink.channels[DEVICE].send(payload)
    first, second = await client.heard(), await client.heard()
    assert (first.topic, first.payload, first.properties.topic_alias) == (DOWN, b"first", 1)
    assert (second.topic, second.payload, second.properties.topic_alias) == ("", b"second", 1)
    assert mqtt.server.counters.limits["client_packet_size"] == 1


async def test_ends_have_their_reasons(mqtt: Running) -> None:
    first = await device(mqtt)
    second = await device(mqtt, keepalive_s=10)
    assert (await first.told()).reason is Reason.SESSION_TAKEN_OVER
    mqtt.pass_time(16)
    assert (await second.told()).reason is Reason.KEEP_ALIVE_TIMEOUT
    third = await device(mqtt)
    mqtt.server.disconnect(DEVICE, "its credentials were revoked")
    closing = await third.told()
    assert closing.reason is Reason.ADMINISTRATIVE_ACTION
    assert closing.properties.reason_string == "its credentials were revoked"
    fourth = await device(mqtt)
    await fourth.send(mqtt5.encode_publish("t", b"", properties=Properties(topic_alias=1)))
    assert (await fourth.told()).reason is Reason.TOPIC_ALIAS_INVALID
    fifth = await device(mqtt)
    await fifth.send(mqtt5.encode_closing(PacketType.AUTH))
    assert (await fifth.told()).reason is Reason.PROTOCOL_ERROR
    sixth = await device(mqtt)
    await mqtt.server.aclose()
    assert (await sixth.told()).reason is Reason.SERVER_SHUTTING_DOWN


async def test_a_packet_that_is_too_large_is_told_so(start_server: StartServer) -> None:
    mqtt = await start_server(max_device_packet_bytes=1_024)
    client = await device(mqtt)
    await client.send(mqtt5.encode_publish(UP, bytes(2_000)))
    assert (await client.told()).reason is Reason.PACKET_TOO_LARGE


@pytest.mark.parametrize(("how", "said"), [("reset", 1), ("goodbye", 0), ("with will", 1)])
async def test_will_is_the_devices_last_message(mqtt: Running, how: str, said: int) -> None:
    will = Will(*LAST_WORDS[:4], Properties(will_delay_s=60))
    client = await device(mqtt, will=will, session_expiry_s=300)
    assert client.connack_properties.session_expiry_s == 0, "a device has no session that is kept"
    if how == "reset":
        client.reset()
    else:
        await client.goodbye(Reason.SUCCESS if how == "goodbye" else Reason.DISCONNECT_WITH_WILL)
    await mqtt.until(lambda: mqtt.server.connections["device"] == 0)
    assert len(mqtt.sink.messages) == said


async def test_a_flood_is_cut_off_as_one_of_3_1_1(mqtt: Running) -> None:
    client = await device(mqtt)
    with contextlib.suppress(ConnectionError):
        await client.send(mqtt5.encode_publish(UP, b"{}") * 10_000)
    await mqtt.until(lambda: mqtt.server.connections["device"] == 0)
    assert mqtt.server.counters.limits["message_rate"] > 0


async def test_a_device_that_allows_too_short_packets_is_refused(mqtt: Running) -> None:
    client, connack = await RawClient5.greeted(mqtt, DEVICE, DEVICE, maximum_packet_bytes=10)
    assert connack.reason is Reason.PACKET_TOO_LARGE
    assert await client.closed() == []
    await mqtt.until(lambda: mqtt.server.connections["device"] == 0)
