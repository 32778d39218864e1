"""Attacks by MQTT 5: each is bounded, ends its own connection at most, and nobody else notices."""

import asyncio
import gc
from typing import Any

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.packet_queue import PacketQueue
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import PacketType, Will, encode_connect
from mimi_mqtt.wire.mqtt5 import Closing
from mimi_mqtt.wire.mqtt_properties import MAX_USER_PROPERTIES, Properties
from mimi_mqtt.wire.mqtt_reasons import Reason
from mimi_mqtt.wire.mqtt_strings import make_packet, variable_bytes
from tests.integration.mqtt.conftest import DEVICE, UP, Running, StartServer
from tests.integration.mqtt.raw5 import RawClient5

connected = RawClient5.connected

PUBLISH, SUBSCRIBE = "30", "82"


def packet(first: str, body: str) -> bytes:
    raw = bytes.fromhex(body)
    assert len(raw) < 128
    return bytes.fromhex(first) + bytes((len(raw),)) + raw


async def answer_to(mqtt: Running, raw: bytes, **options: Any) -> Closing:
    """The DISCONNECT that a guest gets for a packet, while a device and another client are served on."""
    device, other = await mqtt.device(), await connected(mqtt, "other")
    client = await connected(mqtt, "attacker", None, **options)
    await client.send(raw)
    closing = await client.told()
    await device.publish(UP, b"{}")
    await other.say("t", b"")
    return closing


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (packet(PUBLISH, "0001 61 7f 01 01"), Reason.MALFORMED_PACKET),  # a property length that lies
        (packet(PUBLISH, "0001 61 ffffff7f 01 01"), Reason.MALFORMED_PACKET),
        (packet(PUBLISH, "0001 61 ffffffff7f"), Reason.MALFORMED_PACKET),
        (packet(PUBLISH, "0001 61 04 0300 0561 6263"), Reason.MALFORMED_PACKET),
        (packet(PUBLISH, "0001 61 04 01 00 01 01"), Reason.PROTOCOL_ERROR),  # duplicate properties
        (packet(PUBLISH, "0001 61 08 09 0001 61 09 0001 62"), Reason.PROTOCOL_ERROR),
        (packet(PUBLISH, "0001 61 02 25 01"), Reason.PROTOCOL_ERROR),  # a property of CONNACK
        (packet(PUBLISH, "0001 61 03 23 0000"), Reason.TOPIC_ALIAS_INVALID),  # topic alias 0
        (packet(PUBLISH, "0000 03 23 ffff"), Reason.TOPIC_ALIAS_INVALID),  # over the maximum
        (packet(PUBLISH, "0000 00"), Reason.PROTOCOL_ERROR),  # no topic
        (packet(PUBLISH, "0001 61 06 08 0003 612f23"), Reason.PROTOCOL_ERROR),  # response topic a/#
        (packet(SUBSCRIBE, "0001 02 0b00 0001 61 00"), Reason.PROTOCOL_ERROR),  # subscription id 0
        (packet(SUBSCRIBE, "0001 04 0b01 0b02 0001 61 00"), Reason.PROTOCOL_ERROR),
        (packet(SUBSCRIBE, "0001 00 0001 61 c0"), Reason.MALFORMED_PACKET),  # reserved bits
        (packet("f0", "18 04 15 0001 6d"), Reason.PROTOCOL_ERROR),  # AUTH without a method
    ],
)
async def test_bad_packets_end_their_own_connection_with_a_reason(
    mqtt: Running, raw: bytes, reason: Reason
) -> None:
    closing = await answer_to(mqtt, raw)
    assert closing.reason is reason
    assert closing.properties.reason_string


async def test_user_properties_in_masses_end_the_connection(mqtt: Running) -> None:
    """64 kB of pairs of nothing: 13,000 of them in one packet would take long to read."""
    pairs = b"\x26\0\0\0\0" * 13_000
    raw = make_packet(0x30, b"\0\1a" + variable_bytes(len(pairs)) + pairs)
    closing = await answer_to(mqtt, raw)
    assert closing.reason is Reason.QUOTA_EXCEEDED
    assert str(MAX_USER_PROPERTIES) in (closing.properties.reason_string or "")


async def test_64_kb_of_user_properties_and_of_correlation_data_pass_and_count(mqtt: Running) -> None:
    receiver = await connected(mqtt, "receiver")
    await receiver.ask("t")
    sender = await connected(mqtt, "sender")
    big: dict[str, Any] = {"user_properties": (("k", "v" * 65_000),), "correlation_data": bytes(65_535)}
    await sender.say("t", b"", **big)
    message = await receiver.heard()
    assert message.properties == Properties(**big)


async def test_properties_count_in_the_queues_of_absent_clients(mqtt: Running) -> None:
    """Before properties counted, 400 messages of 100 kB would have waited for an absent client."""
    away = await connected(mqtt, "away", session_expiry_s=60)
    await away.ask("t")
    await away.goodbye()
    sender = await connected(mqtt, "sender", keepalive_s=300)
    for _ in range(8):
        await sender.say("t", b"", user_properties=(("k", "v" * 60_000),))
    assert mqtt.server.counters.limits["offline_queue"] == 4
    back = await connected(mqtt, "away", clean=False)
    assert len(await back.round_trip()) == 4


async def test_properties_count_in_the_shares_of_retained_messages(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED_BYTES", 400_000)
    mqtt = await start_server()
    sender = await connected(mqtt, "sender")
    pairs = (("k", "v" * 60_000),)
    kept = await sender.say("r/0", b"x", retain=True, user_properties=pairs)
    assert kept.properties.reason_string is None
    beyond = await sender.say("r/1", b"x", retain=True, user_properties=pairs)
    assert "not retained" in (beyond.properties.reason_string or "")


async def test_a_property_bomb_that_is_fanned_out_is_paid_for_by_its_sender(
    start_server: StartServer,
) -> None:
    mqtt = await start_server(shares={"messages_per_s": 100})
    for number in range(20):
        client = await connected(mqtt, f"receiver-{number}")
        await client.ask("t")
    bomber = await connected(mqtt, "bomber", None, source="127.0.0.9")
    bomb = mqtt5.encode_publish("t", b"", properties=Properties(user_properties=(("k", "v" * 60_000),)))
    sent = mqtt.server.counters.messages_out
    writing = asyncio.create_task(bomber.send(bomb * 200))
    await mqtt.until(lambda: mqtt.server.counters.messages_out - sent >= 20)
    admin = await connected(mqtt, "admin")
    for _ in range(50):
        await admin.say("other", b"at once")
    # A burst of 400 messages' worth: a bomb of 60 kB costs 8, and 2 x 8 more for its 20 receivers.
    assert mqtt.server.counters.messages_out - sent <= 20 * (400 / 24 + 2)
    writing.cancel()
    bomber.reset()


@pytest.mark.parametrize("bad", ["receive_maximum", "maximum_packet_bytes"])
async def test_connect_with_an_impossible_limit_is_refused(mqtt: Running, bad: str) -> None:
    limit: dict[str, Any] = {bad: 0}
    client, connack = await RawClient5.greeted(mqtt, username=None, **limit)
    assert connack.reason is Reason.PROTOCOL_ERROR
    assert await client.closed() == []


async def test_connect_with_an_authentication_method_is_refused_as_the_protocol_says(mqtt: Running) -> None:
    for username in (None, "admin"):
        client, connack = await RawClient5.greeted(
            mqtt, username=username, authentication_method="SCRAM-SHA-1", authentication_data=b"x"
        )
        assert connack.reason is Reason.BAD_AUTHENTICATION_METHOD
        assert "user name and password" in (connack.properties.reason_string or "")
        assert await client.closed() == []
    assert mqtt.server.counters.refused["authentication_method"] == 2
    client, connack = await RawClient5.greeted(mqtt, username=None, authentication_data=b"x")
    assert connack.reason is Reason.PROTOCOL_ERROR


async def test_a_flood_of_auth_packets_ends_at_the_first(mqtt: Running) -> None:
    auth = mqtt5.encode_closing(PacketType.AUTH, Reason.REAUTHENTICATE, Properties(authentication_method="m"))
    closing = await answer_to(mqtt, auth * 1_000)
    assert closing.reason is Reason.PROTOCOL_ERROR
    assert mqtt.server.counters.limits["bad_packet"] == 1
    raw = await mqtt.open()
    await raw.send(auth)
    assert await raw.closed() == []


async def test_connect_with_4_kib_of_properties_is_dropped_at_the_gate(mqtt: Running) -> None:
    client = await mqtt.open()
    connect = encode_connect(
        "x", protocol_level=5, properties=Properties(user_properties=(("k", "v" * 4_200),))
    )
    await client.send(connect)
    assert await client.closed() == []
    assert mqtt.server.counters.refused["malformed"] == 1
    assert (await RawClient5.greeted(mqtt, user_properties=(("k", "v" * 3_000),)))[1].reason is Reason.SUCCESS


async def test_a_malformed_connect_is_told_why(mqtt: Running) -> None:
    client = await mqtt.open()
    await client.send(packet("10", "0004 4d515454 05 02 003c 05 11 00000001 0001"))
    connack = mqtt5.parse_connack(await client.expect(PacketType.CONNACK))
    assert connack.reason is Reason.MALFORMED_PACKET
    assert connack.properties.reason_string == "client id is cut short"
    assert await client.closed() == []


async def test_unacknowledged_qos2_messages_are_bounded_over_reconnects(mqtt: Running) -> None:
    for number in range(2):
        client = await connected(mqtt, "client", clean=number == 0, session_expiry_s=60)
        ids = range(1 + number * 800, 801 + number * 800)
        for packet_id in ids:
            await client.send(mqtt5.encode_publish("t", b"", 2, packet_id=packet_id))
        if number == 0:
            for _ in ids:
                await client.expect(PacketType.PUBREC)
            client.reset()
    assert (await client.told()).reason is Reason.RECEIVE_MAXIMUM_EXCEEDED


async def test_will_delay_is_bounded_by_the_longest_session(mqtt: Running) -> None:
    watcher = await connected(mqtt, "watcher", keepalive_s=0)
    await watcher.ask("last")
    will = Will("last", b"at last", 1, False, Properties(will_delay_s=0xFFFFFFFF))
    client = await connected(mqtt, "client", will=will, session_expiry_s=0xFFFFFFFF)
    client.reset()
    await mqtt.until(lambda: mqtt.server.connections["general"] == 1)
    mqtt.clock.now += limits.OFFLINE_SESSION_S - 1
    await watcher.nothing()
    mqtt.pass_time(2)
    assert (await watcher.heard()).payload == b"at last"
    assert mqtt.server.sessions == 1


async def test_delayed_wills_in_masses_are_bounded_by_the_sessions_that_are_kept(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_OFFLINE_SESSIONS", 20)
    mqtt = await start_server(shares={"offline_sessions_per_account": 5, "connects_per_minute": 1_000})
    watcher = await connected(mqtt, "watcher")
    await watcher.ask("last/#")
    for number in range(12):
        will = Will(f"last/{number}", b"", 0, False, Properties(will_delay_s=30))
        client = await connected(mqtt, f"client-{number}", None, will=will, session_expiry_s=300)
        client.reset()
        await mqtt.until(lambda: mqtt.server.connections["general"] == 1)
    assert mqtt.server.sessions == 6
    early = [await watcher.heard() for _ in range(7)]
    assert [message.topic for message in early] == [f"last/{number}" for number in range(7)]
    mqtt.pass_time(31)
    assert [(await watcher.heard()).topic for _ in range(5)] == [f"last/{number}" for number in range(7, 12)]


async def test_will_of_a_session_is_checked_when_it_is_said(mqtt: Running) -> None:
    _, connack = await RawClient5.greeted(
        mqtt, "x", DEVICE, will=Will("house/door", b"", 0, False, Properties(will_delay_s=1))
    )
    assert connack.reason is Reason.NOT_AUTHORIZED


async def test_a_client_that_takes_tiny_packets_only_gets_answers_that_fit(mqtt: Running) -> None:
    client = await connected(mqtt, "tiny", None, maximum_packet_bytes=24)
    ack = await client.say("mimi/x", b"")
    assert (ack.reason, ack.properties.reason_string) == (Reason.NOT_AUTHORIZED, None)
    await client.send(mqtt5.encode_publish("t", b"", properties=Properties(topic_alias=1)))
    closing = await client.told()
    assert (closing.reason, closing.properties.reason_string) == (Reason.TOPIC_ALIAS_INVALID, None)


async def test_a_client_that_acknowledges_nothing_holds_a_bounded_queue(mqtt: Running) -> None:
    deaf = await connected(mqtt, "deaf", receive_maximum=1)
    await deaf.ask("t")
    sender = await connected(mqtt, "sender", keepalive_s=300)
    for _ in range(6):
        await sender.say("t", bytes(60_000))
    await mqtt.until(lambda: mqtt.server.counters.limits["slow_reader"] == 1)
    closing = await deaf.told()
    assert closing.reason is Reason.QUOTA_EXCEEDED
    assert "acknowledge messages sooner" in (closing.properties.reason_string or "")


async def test_expiring_messages_do_not_fill_an_absent_clients_queue_for_ever(mqtt: Running) -> None:
    away = await connected(mqtt, "away", session_expiry_s=300)
    await away.ask("t")
    await away.goodbye()
    sender = await connected(mqtt, "sender", keepalive_s=300)
    for _ in range(6):
        await sender.say("t", bytes(60_000), message_expiry_s=5)
    assert mqtt.server.counters.limits["offline_queue"] == 2
    mqtt.pass_time(6)
    await sender.say("t", b"fresh")
    assert mqtt.server.counters.limits["offline_queue"] == 2
    back = await connected(mqtt, "away", clean=False)
    assert (await back.heard()).payload == b"fresh"


async def test_retained_messages_that_expire_give_their_places_back(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"retained_messages_per_account": 2})
    sender = await connected(mqtt, "sender", keepalive_s=300)
    for number in range(2):
        await sender.say(f"r/{number}", b"x", retain=True, message_expiry_s=5)
    refused = await sender.say("r/2", b"x", retain=True)
    assert "not retained" in (refused.properties.reason_string or "")
    mqtt.pass_time(6)
    assert (await sender.say("r/2", b"x", retain=True)).properties.reason_string is None


async def test_user_properties_are_paid_for_by_whoever_sends_them(start_server: StartServer) -> None:
    """Acknowledgements are free otherwise; each of these takes as long to read as a message or two."""
    mqtt = await start_server(shares={"messages_per_s": 50})
    client = await connected(mqtt, "client", None, source="127.0.0.9")
    pairs = Properties(user_properties=(("", ""),) * MAX_USER_PROPERTIES)
    await client.send(mqtt5.encode_ack(PacketType.PUBREL, 1, Reason.SUCCESS, pairs) * 500)
    await client.expect(PacketType.PUBCOMP)
    admin = await connected(mqtt, "admin")
    before = mqtt.server.counters.bytes_out
    for _ in range(50):
        await admin.say("t", b"")
    answered = (mqtt.server.counters.bytes_out - before - 50 * 5) // 5
    assert answered < 200, "a burst of 200 messages' worth, of which each costs 3"


async def test_takeovers_in_a_row_hold_the_packets_of_the_last_one_only(start_server: StartServer) -> None:
    """Each waits for the one before it, whose account is beyond its rate; before, all of them kept 64 kB."""
    mqtt = await start_server(shares={"messages_per_s": 0.001})
    publishes = mqtt5.encode_publish("t", bytes(1_000)) * 40
    for _ in range(6):
        client = await mqtt.open(source="127.0.0.9")
        await client.send(encode_connect("same", protocol_level=5) + publishes)
        mqtt_in = mqtt.server.counters.bytes_in
        await mqtt.until(lambda before=mqtt_in: mqtt.server.counters.bytes_in > before)  # type: ignore[misc]
    await mqtt.until(lambda: len(mqtt.server._general._tasks) == 6)
    queues = [thing for thing in gc.get_objects() if isinstance(thing, PacketQueue) and thing.waiting > 0]
    assert len(queues) <= 2
