"""MQTT 5 for general clients, in raw packets.

The tests of the first part cover what the version 5 suite of Eclipse's paho.mqtt.testing covers, and have its
names; time is moved, not waited for.
"""

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import PacketType, Will, encode_connect, encode_publish
from mimi_mqtt.wire.mqtt5 import FilterRequest
from mimi_mqtt.wire.mqtt_properties import Properties
from mimi_mqtt.wire.mqtt_reasons import Reason
from tests.integration.mqtt.conftest import DEVICE, DOWN, UP, Running, StartServer
from tests.integration.mqtt.raw5 import RawClient5

connected = RawClient5.connected


async def left(mqtt: Running) -> None:
    """Returns when every general client's connection has ended."""
    await mqtt.until(lambda: mqtt.server.connections["general"] == 0)


# ── the suite's list ─────────────────────────────────────────────────────────────────────────────────────


async def test_basic(mqtt: Running) -> None:
    client = await connected(mqtt)
    assert (await client.ask("TopicA")).reasons == (Reason.GRANTED_QOS_2,)
    await client.send(mqtt5.encode_publish("TopicA", b"qos 0"))
    assert (await client.heard()).payload == b"qos 0"
    await client.send(mqtt5.encode_publish("TopicA", b"qos 1", 1, packet_id=9))
    assert [(await client.packet()).type for _ in range(2)] == [PacketType.PUBLISH, PacketType.PUBACK]  # type: ignore[union-attr]
    other = await connected(mqtt, "other")
    await other.say("TopicA", b"qos 2", qos=2)
    message = await client.heard()
    assert (message.payload, message.qos, message.retain, message.dup) == (b"qos 2", 2, False, False)
    await client.goodbye()


async def test_a_second_connect_and_another_protocol_name_are_refused(mqtt: Running) -> None:
    client = await connected(mqtt)
    await client.send(bytes.fromhex("10 0d 0004 4d515454 05 02 0000 00 0000"))
    assert (await client.told()).reason is Reason.PROTOCOL_ERROR
    raw = await mqtt.open()
    await raw.send(bytes.fromhex("10 0b 0002 686a 05 02 0000 00 0000"))
    assert await raw.closed() == []


async def test_retained_message(mqtt: Running) -> None:
    pairs = (("a", "2"), ("c", "3"), ("a", "again"))
    sender = await connected(mqtt, "sender")
    for qos in (1, 2):
        await sender.say(f"fromb/qos {qos}", b"x", qos, retain=True, user_properties=pairs)
    client = await connected(mqtt)
    await client.ask("fromb/+")
    for qos in (1, 2):
        message = await client.heard()
        assert (message.qos, message.retain) == (qos, True)
        assert message.properties.user_properties == pairs


async def test_will_message(mqtt: Running) -> None:
    properties = Properties(user_properties=(("k", "v"),), content_type="text", message_expiry_s=60)
    watcher = await connected(mqtt, "watcher")
    await watcher.ask("last")
    dying = await connected(mqtt, "dying", will=Will("last", b"gone", 2, False, properties))
    dying.reset()
    message = await watcher.heard()
    assert (message.payload, message.qos) == (b"gone", 2)
    assert message.properties == properties
    calm = await connected(mqtt, "calm", will=Will("last", b"calm"))
    await calm.goodbye()
    told = await connected(mqtt, "told", will=Will("last", b"asked for"))
    await told.goodbye(Reason.DISCONNECT_WITH_WILL)
    assert (await watcher.heard()).payload == b"asked for"


@pytest.mark.parametrize("clean", [True, False])
async def test_zero_length_clientid(mqtt: Running, clean: bool) -> None:
    first = await connected(mqtt, "", clean=clean)
    second = await connected(mqtt, "", clean=clean)
    names = {client.connack_properties.assigned_client_id for client in (first, second)}
    assert len(names) == 2
    assert all(names)
    assert (await connected(mqtt, "mine")).connack_properties.assigned_client_id is None


async def test_assigned_clientid_is_good_for_resuming_its_session(mqtt: Running) -> None:
    first = await connected(mqtt, "", session_expiry_s=60)
    name = first.connack_properties.assigned_client_id
    assert name
    await first.ask("t")
    await first.goodbye()
    assert (await connected(mqtt, name, clean=False)).session_present


async def test_offline_message_queueing(mqtt: Running) -> None:
    client = await connected(mqtt, session_expiry_s=99_999)
    await client.ask("Topic/+")
    await client.goodbye()
    sender = await connected(mqtt, "sender")
    await sender.send(mqtt5.encode_publish("Topic/A", b"qos 0"))
    await sender.say("Topic/B", b"qos 1")
    await sender.say("Topic/C", b"qos 2", qos=2)
    client = await connected(mqtt, clean=False)
    assert client.session_present
    assert [(await client.heard()).payload for _ in range(2)] == [b"qos 1", b"qos 2"]
    await client.nothing()


async def test_overlapping_subscriptions(mqtt: Running) -> None:
    client = await connected(mqtt)
    await client.ask(FilterRequest("TopicA/#", 2), FilterRequest("TopicA/+", 1))
    await (await connected(mqtt, "sender")).say("TopicA/C", b"x", qos=2)
    assert (await client.heard()).qos == 2
    await client.nothing()


async def test_keepalive(mqtt: Running) -> None:
    watcher = await connected(mqtt, "watcher", keepalive_s=300)
    await watcher.ask("/TopicA")
    silent = await connected(mqtt, "silent", keepalive_s=5, will=Will("/TopicA", b"keepalive expiry"))
    mqtt.pass_time(8)
    closing = await silent.told()
    assert closing.reason is Reason.KEEP_ALIVE_TIMEOUT
    assert "PINGREQ" in (closing.properties.reason_string or "")
    assert (await watcher.heard()).payload == b"keepalive expiry"


async def test_redelivery_on_reconnect(mqtt: Running) -> None:
    client = await connected(mqtt, session_expiry_s=99_999)
    await client.ask("TopicA/#")
    sender = await connected(mqtt, "sender")
    await sender.say("TopicA/B", b"1", user_properties=(("k", "v"),))
    await sender.say("TopicA/C", b"2", qos=2)
    first = [mqtt5.parse_publish(await client.expect(PacketType.PUBLISH)) for _ in range(2)]
    client.reset()
    client = await connected(mqtt, clean=False)
    again = [mqtt5.parse_publish(await client.expect(PacketType.PUBLISH)) for _ in range(2)]
    assert again == [message._replace(dup=True) for message in first]


async def test_subscribe_failure(mqtt: Running) -> None:
    guest = await connected(mqtt, username=None)
    answer = await guest.ask("mimi/#", "$SYS/#", "house/#")
    assert answer.reasons == (Reason.NOT_AUTHORIZED, Reason.NOT_AUTHORIZED, Reason.GRANTED_QOS_2)
    assert "you may not read 'mimi/#'" in (answer.properties.reason_string or "")


async def test_dollar_topics(mqtt: Running) -> None:
    client = await connected(mqtt, username=None)
    await client.ask("+/+", "#")
    assert (await client.say("$Topic/A")).reason is Reason.NOT_AUTHORIZED
    await client.nothing()


async def test_unsubscribe(mqtt: Running) -> None:
    client = await connected(mqtt)
    await client.ask("a", "b", "c")
    assert await client.leave("a", "never/had") == (Reason.SUCCESS, Reason.NO_SUBSCRIPTION_EXISTED)
    sender = await connected(mqtt, "sender")
    assert [(await sender.say(topic)).reason for topic in ("a", "b")] == [
        Reason.NO_MATCHING_SUBSCRIBERS, Reason.SUCCESS,
    ]  # fmt: skip
    assert (await client.heard()).topic == "b"


async def test_session_expiry(mqtt: Running) -> None:
    client = await connected(mqtt, session_expiry_s=0)
    assert not client.session_present
    await client.ask("t")
    await client.goodbye()
    assert not (await connected(mqtt, clean=False)).session_present
    client = await connected(mqtt, session_expiry_s=5)
    await client.ask("t")
    await client.goodbye()
    mqtt.pass_time(4)
    client = await connected(mqtt, clean=False, session_expiry_s=5)
    assert client.session_present
    await client.goodbye()
    mqtt.pass_time(6)
    assert mqtt.server.sessions == 0
    client = await connected(mqtt, clean=False, session_expiry_s=1)
    assert not client.session_present
    await client.goodbye(expiry_s=5)
    mqtt.pass_time(3)
    client = await connected(mqtt, clean=False, session_expiry_s=1)
    assert client.session_present
    await client.goodbye(expiry_s=0)
    assert not (await connected(mqtt, clean=False)).session_present


async def test_session_that_expired_between_two_sweeps_is_not_resumed(mqtt: Running) -> None:
    client = await connected(mqtt, session_expiry_s=5)
    await client.goodbye()
    mqtt.clock.now += 6
    assert not (await connected(mqtt, clean=False)).session_present


async def test_shared_subscriptions(mqtt: Running) -> None:
    members = [await connected(mqtt, f"member-{number}") for number in range(2)]
    for member in members:
        await member.ask("$share/name/x", "TopicA")
    sender = await connected(mqtt, "sender")
    await sender.say("TopicA", b"to both")
    assert [(await member.heard()).payload for member in members] == [b"to both", b"to both"]
    for number in range(4):
        await sender.say("x", b"%d" % number)
    heard = [[(await member.heard()).payload for _ in range(2)] for member in members]
    assert heard == [[b"0", b"2"], [b"1", b"3"]]


async def test_client_topic_alias(mqtt: Running) -> None:
    client = await connected(mqtt)
    assert client.connack_properties.topic_alias_maximum == 0
    await client.send(mqtt5.encode_publish("t", b"", properties=Properties(topic_alias=1)))
    closing = await client.told()
    assert closing.reason is Reason.TOPIC_ALIAS_INVALID
    assert "send the topic" in (closing.properties.reason_string or "")


async def test_server_topic_alias(mqtt: Running) -> None:
    client = await connected(mqtt, username=None, topic_alias_maximum=1)
    await client.ask("#")
    sender = await connected(mqtt, "sender")
    for topic in ("TopicA", "TopicA", "another", "TopicA", "t"):
        await sender.say(topic)
    heard = [await client.heard() for _ in range(5)]
    assert [message.topic for message in heard] == ["TopicA", "", "another", "", "t"]
    assert [message.properties.topic_alias for message in heard] == [1, 1, None, 1, None]
    none = await connected(mqtt, "none")
    await none.ask("TopicA")
    for qos in (0, 1):
        await sender.send(mqtt5.encode_publish("TopicA", b"", qos, packet_id=qos or None))
        assert (await none.heard()).properties.topic_alias is None


async def test_topic_aliases_are_those_of_one_connection(mqtt: Running) -> None:
    sender = await connected(mqtt, "sender")
    for clean in (True, False):
        client = await connected(mqtt, clean=clean, topic_alias_maximum=5, session_expiry_s=60)
        await client.ask("TopicA")
        for topic in ("TopicA", ""):
            await sender.say("TopicA")
            message = await client.heard()
            assert (message.topic, message.properties.topic_alias) == (topic, 1)
        await client.goodbye()


async def test_maximum_packet_size(start_server: StartServer) -> None:
    mqtt = await start_server(max_packet_bytes=1_024)
    client = await connected(mqtt, maximum_packet_bytes=64)
    assert client.connack_properties.maximum_packet_bytes == 1_024
    await client.ask("t")
    sender = await connected(mqtt, "sender")
    for qos in (0, 1, 2):
        await sender.send(mqtt5.encode_publish("t", b"." * 64, qos, packet_id=qos or None))
    assert (await sender.say("t", b"." * 32)).reason is Reason.SUCCESS
    assert (await client.heard()).payload == b"." * 32
    await client.nothing()
    assert mqtt.server.counters.limits["client_packet_size"] == 3
    big = await connected(mqtt, "big")
    await big.send(mqtt5.encode_publish("t", b"." * 1_024))
    closing = await big.told()
    assert closing.reason is Reason.PACKET_TOO_LARGE
    assert "1024 are allowed" in (closing.properties.reason_string or "")


async def test_server_keep_alive(mqtt: Running) -> None:
    for asked, told in ((0, limits.MAX_KEEPALIVE_S), (1_000, limits.MAX_KEEPALIVE_S), (60, None)):
        client = await connected(mqtt, keepalive_s=asked)
        assert client.connack_properties.server_keepalive_s == told
    forever = await connected(mqtt, "forever", keepalive_s=0)
    mqtt.pass_time(limits.MAX_KEEPALIVE_S * 1.5 + 1)
    assert (await forever.told()).reason is Reason.KEEP_ALIVE_TIMEOUT


async def test_flow_control1(mqtt: Running) -> None:
    """The client sends more QoS 2 messages than the server's receive maximum."""
    client = await connected(mqtt)
    most = client.connack_properties.receive_maximum
    assert most == limits.MAX_UNRELEASED
    for number in range(1, most + 2):
        await client.send(mqtt5.encode_publish("t", b"", 2, packet_id=number))
    assert (await client.told()).reason is Reason.RECEIVE_MAXIMUM_EXCEEDED


async def test_flow_control2(mqtt: Running) -> None:
    """The server sends no more messages than the client's receive maximum."""
    client = await connected(mqtt, receive_maximum=2)
    await client.ask("t")
    sender = await connected(mqtt, "sender")
    for number in range(5):
        await sender.say("t", b"%d" % number)
    await sender.send(mqtt5.encode_publish("t", b"qos 0"))
    await sender.round_trip()
    first, second, third = [mqtt5.parse_publish(await client.expect(PacketType.PUBLISH)) for _ in range(3)]
    assert [first.payload, second.payload, third.payload] == [b"0", b"1", b"qos 0"]
    await client.nothing()
    await client.send(mqtt5.encode_ack(PacketType.PUBACK, second.packet_id or 0))
    assert (await client.heard()).payload == b"2"


async def test_will_delay(mqtt: Running) -> None:
    watcher = await connected(mqtt, "watcher")
    await watcher.ask("last/#")

    def will(name: str, delay_s: int) -> Will:
        return Will(f"last/{name}", name.encode(), 1, False, Properties(will_delay_s=delay_s))

    async def dies(name: str, delay_s: int, expiry_s: int) -> None:
        client = await connected(mqtt, name, will=will(name, delay_s), session_expiry_s=expiry_s)
        client.reset()
        await mqtt.until(lambda: mqtt.server.connections["general"] == 1)

    await dies("delayed", 3, 5)
    mqtt.pass_time(2)
    await watcher.nothing()
    mqtt.pass_time(2)
    assert (await watcher.heard()).payload == b"delayed"
    await dies("expires first", 30, 5)
    mqtt.pass_time(4)
    await watcher.nothing()
    mqtt.pass_time(2)
    assert (await watcher.heard()).payload == b"expires first"
    await dies("comes back", 3, 60)
    back = await connected(mqtt, "comes back", clean=False, session_expiry_s=60)
    assert back.session_present
    mqtt.pass_time(10)
    await watcher.nothing()
    await back.goodbye()
    await dies("starts anew", 30, 60)
    assert not (await connected(mqtt, "starts anew")).session_present
    assert (await watcher.heard()).payload == b"starts anew"
    await (await connected(mqtt, "no session", will=will("no session", 30))).close()
    assert (await watcher.heard()).payload == b"no session"


async def test_a_will_whose_delay_passed_between_two_sweeps_is_said_though_its_client_is_back(
    mqtt: Running,
) -> None:
    watcher = await connected(mqtt, "watcher")
    await watcher.ask("last")
    will = Will("last", b"late", 1, False, Properties(will_delay_s=3))
    dying = await connected(mqtt, will=will, session_expiry_s=60)
    dying.reset()
    await mqtt.until(lambda: mqtt.server.connections["general"] == 1)
    mqtt.clock.now += 4
    assert (await connected(mqtt, clean=False)).session_present
    assert (await watcher.heard()).payload == b"late"


async def test_a_will_is_said_though_a_clean_start_took_over_before_its_connection_was_through(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old connection has packets that its account's rate holds back."""
    monkeypatch.setattr(limits, "LINGER_S", 0.05)
    mqtt = await start_server(shares={"messages_per_s": 0.001})
    watcher = await connected(mqtt, "watcher")
    await watcher.ask("last")
    will = Will("last", b"taken over", 1, False, Properties(will_delay_s=30))
    old = await connected(mqtt, "same", None, will=will, session_expiry_s=60, source="127.0.0.9")
    await old.send(mqtt5.encode_publish("t", b"") * 5)
    await mqtt.until(lambda: mqtt.server.counters.messages_in == 1)
    await connected(mqtt, "same", None, source="127.0.0.9")
    assert (await watcher.heard()).payload == b"taken over"


async def test_request_response(mqtt: Running) -> None:
    asks, answers = await connected(mqtt, "asks"), await connected(mqtt, "answers")
    for client in (asks, answers):
        await client.ask(FilterRequest("t", 2, no_local=True))
    await asks.say("t", b"request", response_topic="t", correlation_data=b"33\x004")
    request = await answers.heard()
    assert (request.properties.response_topic, request.properties.correlation_data) == ("t", b"33\x004")
    await answers.say("t", b"response", correlation_data=request.properties.correlation_data)
    response = await asks.heard()
    assert (response.payload, response.properties.correlation_data) == (b"response", b"33\x004")
    for client in (asks, answers):
        await client.nothing()


async def test_subscribe_options_no_local(mqtt: Running) -> None:
    client, other = await connected(mqtt), await connected(mqtt, "other")
    for each in (client, other):
        await each.ask(FilterRequest("t", 2, no_local=True))
    await client.say("t", b"x")
    assert (await other.heard()).payload == b"x"
    await client.nothing()
    await client.ask(FilterRequest("+", 1))
    await client.send(mqtt5.encode_publish("t", b"by the other filter"))
    assert (await client.heard()).payload == b"by the other filter"


async def test_no_local_leaves_out_a_testers_own_messages_as_its_device(mqtt: Running) -> None:
    tester, other = [await connected(mqtt, name, DEVICE) for name in ("one", "two")]
    for each in (tester, other):
        await each.ask(FilterRequest(UP, 1, no_local=True))
    await tester.say(UP, b"{}")
    assert (await other.heard()).topic == UP
    await tester.nothing()


async def test_subscribe_options_retain_as_published(mqtt: Running) -> None:
    keeps, clears = await connected(mqtt, "keeps"), await connected(mqtt, "clears")
    old = await mqtt.admin("old")
    await keeps.ask(FilterRequest("t", 1, retain_as_published=True))
    await clears.ask(FilterRequest("t", 1))
    await old.subscribe(("t", 1))
    sender = await connected(mqtt, "sender")
    for retain in (False, True):
        await sender.say("t", b"x", retain=retain)
        assert (await keeps.heard()).retain is retain
        assert (await clears.heard()).retain is False
        assert (await old.publish_received()).retain is False


async def test_subscribe_options_retain_handling(mqtt: Running) -> None:
    sender = await connected(mqtt, "sender")
    for topic in ("a/1", "a/2"):
        await sender.say(topic, b"x", retain=True)
    for handling, counts in ((0, [2, 2]), (1, [2, 0]), (2, [0, 0])):
        client = await connected(mqtt)
        for count in counts:
            await client.ask(FilterRequest("a/+", 1, retain_handling=handling))
            assert [(await client.heard()).retain for _ in range(count)] == [True] * count
            await client.nothing()


async def test_subscribe_identifiers(mqtt: Running) -> None:
    client = await connected(mqtt)
    await client.ask("TopicA", identifier=456_789)
    both = await connected(mqtt, "both")
    await both.ask("TopicA", identifier=2)
    await both.ask("TopicA/#", identifier=3)
    sender = await connected(mqtt, "sender")
    for qos in (0, 1):
        await sender.send(mqtt5.encode_publish("TopicA", b"", qos, packet_id=qos or None))
        assert (await client.heard()).properties.subscription_ids == (456_789,)
        assert sorted((await both.heard()).properties.subscription_ids) == [2, 3]
    await client.ask("TopicA")
    await sender.send(mqtt5.encode_publish("TopicA", b""))
    assert (await client.heard()).properties.subscription_ids == ()


async def test_more_retained_messages_than_a_client_takes_at_once_all_come(start_server: StartServer) -> None:
    mqtt = await start_server(max_write_buffer_bytes=16_384, max_packet_bytes=8_192)
    sender = await connected(mqtt, "sender")
    topics = [f"kept/{number}" for number in range(10)]
    for topic in topics:
        await sender.say(topic, bytes(6_000), retain=True)
    client = await connected(mqtt)
    await client.ask("kept/+")
    assert [(await client.heard()).topic for _ in topics] == topics
    assert mqtt.server.counters.limits["slow_reader"] == 0


async def test_subscribe_identifiers_come_with_retained_messages(mqtt: Running) -> None:
    await (await connected(mqtt, "sender")).say("t", b"x", retain=True)
    client = await connected(mqtt)
    await client.ask("t", identifier=7)
    assert (await client.heard()).properties.subscription_ids == (7,)


async def test_user_properties(mqtt: Running) -> None:
    pairs = (("a", "2"), ("c", "3"), ("a", "1"), ("", "ü"))
    client, old = await connected(mqtt), await mqtt.admin("old")
    await client.ask("t")
    await old.subscribe(("t", 2))
    sender = await connected(mqtt, "sender")
    for qos in (0, 1, 2):
        packet = mqtt5.encode_publish(
            "t", b"x", qos, packet_id=qos or None, properties=Properties(user_properties=pairs)
        )
        await sender.send(packet)
        message = await client.heard()
        assert (message.qos, message.properties.user_properties) == (qos, pairs)
        plain = await old.publish_received()
        assert (plain.payload, plain.qos) == (b"x", qos)


async def test_payload_format_and_content_type(mqtt: Running) -> None:
    client = await connected(mqtt)
    await client.ask("t")
    sender = await connected(mqtt, "sender")
    await sender.say("t", b"", payload_format=1, content_type="My name")
    properties = (await client.heard()).properties
    assert (properties.payload_format, properties.content_type) == (1, "My name")


async def test_publication_expiry(mqtt: Running) -> None:
    client = await connected(mqtt, session_expiry_s=99_999)
    await client.ask("t")
    await client.goodbye(expiry_s=999_999_999)
    sender = await connected(mqtt, "sender", keepalive_s=300)
    for seconds in (1, 6):
        await sender.say("t", b"%d" % seconds, message_expiry_s=seconds)
        await sender.say("t", b"%d" % seconds, qos=2, message_expiry_s=seconds)
    mqtt.pass_time(3)
    client = await connected(mqtt, clean=False)
    for _ in range(2):
        message = await client.heard()
        assert (message.payload, message.properties.message_expiry_s) == (b"6", 3)
    await client.nothing()


async def test_publication_expiry_of_retained_messages(mqtt: Running) -> None:
    sender = await connected(mqtt, "sender", keepalive_s=300)
    await sender.say("short", b"x", retain=True, message_expiry_s=5)
    await sender.say("long", b"x", retain=True, message_expiry_s=50)
    mqtt.clock.now += 10
    client = await connected(mqtt)
    await client.ask("short", "long")
    message = await client.heard()
    assert (message.topic, message.properties.message_expiry_s) == ("long", 40)
    await client.nothing()


async def test_publication_expiry_that_is_not_used_up_arrives_as_it_was_sent(mqtt: Running) -> None:
    client = await connected(mqtt)
    await client.ask("t")
    await (await connected(mqtt, "sender")).say("t", message_expiry_s=77)
    assert (await client.heard()).properties.message_expiry_s == 77


# ── beyond the suite ─────────────────────────────────────────────────────────────────────────────────────


async def test_connack_says_what_the_broker_can_do(mqtt: Running) -> None:
    known = (await connected(mqtt)).connack_properties
    assert known == Properties(
        receive_maximum=limits.MAX_UNRELEASED,
        maximum_packet_bytes=mqtt.server.settings.max_packet_bytes,
        topic_alias_maximum=0,
        wildcards_available=1,
        subscription_ids_available=1,
        shared_available=1,
    )


async def test_endless_session_is_bounded_and_the_client_told(mqtt: Running) -> None:
    client = await connected(mqtt, session_expiry_s=0xFFFFFFFF)
    assert client.connack_properties.session_expiry_s == limits.OFFLINE_SESSION_S
    await client.goodbye()
    mqtt.pass_time(limits.OFFLINE_SESSION_S + 1)
    assert mqtt.server.sessions == 0


async def test_takeover_tells_the_old_connection(mqtt: Running) -> None:
    watcher = await connected(mqtt, "watcher")
    await watcher.ask("last")
    old = await connected(mqtt, "same", will=Will("last", b"old"))
    await connected(mqtt, "same")
    closing = await old.told()
    assert closing.reason is Reason.SESSION_TAKEN_OVER
    assert "give each client its own" in (closing.properties.reason_string or "")
    assert (await watcher.heard()).payload == b"old"


async def test_takeover_goes_on_with_what_waited_for_the_old_connection(mqtt: Running) -> None:
    old = await connected(mqtt, "same", receive_maximum=1, session_expiry_s=60)
    await old.ask("t")
    sender = await connected(mqtt, "sender")
    for number in range(3):
        await sender.say("t", b"%d" % number)
    new = await connected(mqtt, "same", clean=False)
    assert [(await new.heard()).payload for _ in range(3)] == [b"0", b"1", b"2"]


async def test_a_session_goes_on_in_the_other_version(mqtt: Running) -> None:
    five = await connected(mqtt, "both", session_expiry_s=60)
    await five.ask("t", identifier=9)
    await five.goodbye()
    await (await connected(mqtt, "sender")).say("t", b"x", user_properties=(("k", "v"),))
    old = await mqtt.admin("both", clean_session=False)
    assert old.session_present
    assert (await old.publish_received()).payload == b"x"
    await old.close()
    five = await connected(mqtt, "both", clean=False)
    again = await five.heard()
    assert (again.dup, again.properties.user_properties) == (True, (("k", "v"),))
    assert again.properties.subscription_ids == (9,)


async def test_server_that_stops_says_so(mqtt: Running) -> None:
    client = await connected(mqtt, will=Will("last", b"will"))
    await mqtt.server.aclose()
    closing = await client.told()
    assert closing.reason is Reason.SERVER_SHUTTING_DOWN
    assert closing.properties.reason_string == "the server stops: connect again in a while"


async def test_revoked_credentials_end_connection_session_and_will(mqtt: Running) -> None:
    watcher = await connected(mqtt, "watcher")
    await watcher.ask("mimi/devices/#")
    delayed = Will(UP, b"{}", 0, False, Properties(will_delay_s=30))
    away = await connected(mqtt, "away", DEVICE, will=delayed, session_expiry_s=300)
    away.reset()
    tester = await connected(mqtt, "tester", DEVICE, session_expiry_s=300)
    await mqtt.until(lambda: mqtt.server.connections["general"] == 2)
    mqtt.server.disconnect_testers(DEVICE, "its credentials were revoked")
    assert (await tester.told()).reason is Reason.ADMINISTRATIVE_ACTION
    await mqtt.until(lambda: mqtt.server.sessions == 1)
    mqtt.pass_time(31)
    await watcher.nothing()


async def test_publishes_that_are_not_allowed_are_told_so(mqtt: Running) -> None:
    guest = await connected(mqtt, username=None)
    for qos in (1, 2):
        ack = await guest.say("mimi/status", b"x", qos)
        assert ack.reason is Reason.NOT_AUTHORIZED
        assert ack.properties.reason_string == "you may not publish on 'mimi/status'"
    await guest.send(mqtt5.encode_publish("mimi/status", b"x"))
    await guest.nothing()
    quiet = await connected(mqtt, "quiet", None, request_problem=0)
    ack = await quiet.say("mimi/status", b"x")
    assert (ack.reason, ack.properties.reason_string) == (Reason.NOT_AUTHORIZED, None)
    answer = await quiet.ask("mimi/#")
    assert answer.properties.reason_string is None


async def test_refused_qos2_publish_leaves_its_packet_id_free(mqtt: Running) -> None:
    guest = await connected(mqtt, username=None)
    for topic, reason in (("mimi/x", Reason.NOT_AUTHORIZED), ("t", Reason.NO_MATCHING_SUBSCRIBERS)):
        await guest.send(mqtt5.encode_publish(topic, b"", 2, packet_id=5))
        assert mqtt5.parse_ack(await guest.expect(PacketType.PUBREC)).reason is reason


async def test_pubrel_for_an_unknown_packet_id_is_answered_so(mqtt: Running) -> None:
    client = await connected(mqtt)
    await client.send(mqtt5.encode_ack(PacketType.PUBREL, 77))
    ack = mqtt5.parse_ack(await client.expect(PacketType.PUBCOMP))
    assert (ack.packet_id, ack.reason) == (77, Reason.PACKET_ID_NOT_FOUND)


async def test_pubrec_with_a_failure_ends_the_exchange(mqtt: Running) -> None:
    client = await connected(mqtt, receive_maximum=1)
    await client.ask("t")
    sender = await connected(mqtt, "sender")
    for number in range(2):
        await sender.say("t", b"%d" % number, qos=2)
    message = await client.heard()
    refused = mqtt5.encode_ack(PacketType.PUBREC, message.packet_id or 0, Reason.QUOTA_EXCEEDED)
    await client.send(refused)
    assert (await client.heard()).payload == b"1"


async def test_retained_message_beyond_the_share_is_told_to_its_publisher(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"retained_messages_per_account": 1})
    client = await connected(mqtt)
    assert (await client.say("a", b"x", retain=True)).reason is Reason.NO_MATCHING_SUBSCRIBERS
    ack = await client.say("b", b"x", retain=True)
    assert ack.reason is Reason.NO_MATCHING_SUBSCRIBERS
    assert "retained_messages_per_account" in (ack.properties.reason_string or "")


@pytest.mark.parametrize("qos", [1, 2])
async def test_what_was_sent_but_not_retained_is_no_failure_and_is_sent_once(
    start_server: StartServer, qos: int
) -> None:
    """A failure has its client send again what the subscribers have."""
    mqtt = await start_server(shares={"retained_messages_per_account": 1})
    watcher = await connected(mqtt, "watcher")
    await watcher.ask("b")
    client = await connected(mqtt)
    await client.say("a", b"x", retain=True)
    ack = await client.say("b", b"x", qos, retain=True)
    assert ack.reason is Reason.SUCCESS
    assert "not retained" in (ack.properties.reason_string or "")
    assert (await watcher.heard()).payload == b"x"
    assert (await client.say("a", b"", retain=True)).reason is Reason.NO_MATCHING_SUBSCRIBERS
    ack = await client.say("b", b"y", qos, retain=True)
    assert (ack.reason, ack.properties.reason_string) == (Reason.SUCCESS, None)


async def test_subscriptions_beyond_the_share_are_told_so(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"subscriptions_per_account": 1})
    client = await connected(mqtt)
    answer = await client.ask("a", "b")
    assert answer.reasons == (Reason.GRANTED_QOS_2, Reason.QUOTA_EXCEEDED)
    assert "subscriptions_per_account subscriptions: end others" in (answer.properties.reason_string or "")


async def test_properties_of_commands_are_seen_by_watchers_and_mirrors_have_none(mqtt: Running) -> None:
    watcher = await connected(mqtt, "watcher")
    await watcher.ask("mimi/devices/#", identifier=4)
    device = await mqtt.device()
    await device.publish(UP, b"{}")
    message = await watcher.heard()
    assert (message.topic, message.properties) == (UP, Properties(subscription_ids=(4,)))
    sender = await connected(mqtt, "sender")
    assert (await sender.say(DOWN, b"{}", content_type="application/json")).reason is Reason.SUCCESS
    assert (await device.publish_received()).payload == b"{}"
    assert (await watcher.heard()).topic == DOWN


@pytest.mark.parametrize(
    ("username", "password", "reason"),
    [("admin", b"wrong", 0x86), (None, b"token", 0x87), ("nobody", b"x", 0x86)],
)
async def test_strangers_are_refused_with_a_reason(
    mqtt: Running, username: str | None, password: bytes, reason: int
) -> None:
    client, connack = await RawClient5.greeted(mqtt, username=username, password=password)
    assert connack.reason == reason
    assert connack.properties.reason_string
    assert await client.closed() == []


async def test_wills_and_client_ids_that_are_not_allowed_are_refused(mqtt: Running) -> None:
    _, connack = await RawClient5.greeted(mqtt, username=None, will=Will("mimi/status", b"x"))
    assert connack.reason is Reason.NOT_AUTHORIZED
    _, connack = await RawClient5.greeted(mqtt, "x" * 257)
    assert connack.reason is Reason.CLIENT_ID_NOT_VALID


async def test_full_and_hasty_are_told_apart(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"connections_per_account": 1, "connects_per_minute": 2})
    await connected(mqtt, "first")
    _, connack = await RawClient5.greeted(mqtt, "second")
    assert connack.reason is Reason.QUOTA_EXCEEDED
    await connected(mqtt, "first")
    _, connack = await RawClient5.greeted(mqtt, "first")
    assert connack.reason is Reason.CONNECTION_RATE_EXCEEDED
    mqtt.server.stop_accepting()


@pytest.mark.parametrize("behind", ["publish", "disconnect", "garbage"])
async def test_what_comes_behind_disconnect_has_no_effect(mqtt: Running, behind: str) -> None:
    watcher = await connected(mqtt, "watcher")
    await watcher.ask(FilterRequest("#", retain_handling=2))
    client = await connected(mqtt, will=Will("last", b""))
    await client.send(
        mqtt5.encode_closing(PacketType.DISCONNECT)
        + {
            "publish": mqtt5.encode_publish("t", b"too late"),
            "disconnect": mqtt5.encode_closing(PacketType.DISCONNECT, Reason.DISCONNECT_WITH_WILL),
            "garbage": b"\0" * 9,
        }[behind]
    )
    assert await client.closed() == []
    await mqtt.until(lambda: mqtt.server.connections["general"] == 1)
    await watcher.nothing()
    assert mqtt.server.counters.limits["bad_packet"] == 0


async def test_disconnect_may_not_ask_for_a_session_that_connect_did_not(mqtt: Running) -> None:
    client = await connected(mqtt, will=Will("t", b""))
    closing = mqtt5.encode_closing(PacketType.DISCONNECT, Reason.SUCCESS, Properties(session_expiry_s=5))
    await client.send(closing)
    assert (await client.told()).reason is Reason.PROTOCOL_ERROR
    await left(mqtt)
    assert mqtt.server.sessions == 0


async def test_answers_of_the_server_are_refused_from_a_client(mqtt: Running) -> None:
    for packet in (
        mqtt5.encode_connack(Reason.SUCCESS),
        mqtt5.encode_subscribe_answer(PacketType.SUBACK, 1, (Reason.SUCCESS,)),
        mqtt5.encode_closing(PacketType.DISCONNECT, Reason.SERVER_BUSY),
        mqtt5.encode_publish("t", b"", properties=Properties(subscription_ids=(1,))),
        encode_publish("t", b"", 1, packet_id=1),  # of MQTT 3.1.1: no property length
    ):
        client = await connected(mqtt)
        await client.send(packet)
        assert (await client.told()).reason in (Reason.PROTOCOL_ERROR, Reason.MALFORMED_PACKET)


async def test_a_client_that_allows_too_short_packets_is_refused(mqtt: Running) -> None:
    client, connack = await RawClient5.greeted(mqtt, maximum_packet_bytes=10)
    assert connack.reason is Reason.PACKET_TOO_LARGE
    assert await client.closed() == []
    silent = await mqtt.open()
    await silent.send(
        encode_connect(
            "tiny", username="admin", password=b"admin password", protocol_level=5,
            properties=Properties(maximum_packet_bytes=2),
        )
    )  # fmt: skip
    assert await silent.closed() == []
    await left(mqtt)
    assert mqtt.server.counters.refused["client_packet_size"] == 2
    client = await connected(mqtt, maximum_packet_bytes=30)
    await client.send(mqtt5.encode_subscribe(1, tuple(FilterRequest(f"t/{number}") for number in range(30))))
    assert (await client.told()).reason is Reason.PACKET_TOO_LARGE


async def test_a_fault_right_behind_connect_ends_the_connection(mqtt: Running) -> None:
    raw = await mqtt.open()
    await raw.send(encode_connect("hasty", username="admin", password=b"admin password") + b"\0\0")
    assert await raw.closed() == []


@pytest.mark.parametrize("kind", [PacketType.PUBACK, PacketType.PUBCOMP])
async def test_wrong_acknowledgements_end_the_connection_and_lose_no_message(
    mqtt: Running, kind: PacketType
) -> None:
    client = await connected(mqtt, session_expiry_s=60)
    await client.ask("t")
    await client.send(mqtt5.encode_publish("t", b"x", 2, packet_id=1))
    message = mqtt5.parse_publish(await client.expect(PacketType.PUBLISH))
    assert message.packet_id is not None
    await client.send(mqtt5.encode_ack(kind, message.packet_id))
    assert (await client.told()).reason is Reason.PROTOCOL_ERROR
    await left(mqtt)
    again = await connected(mqtt, clean=False, session_expiry_s=60)
    assert mqtt5.parse_publish(await again.expect(PacketType.PUBLISH)).dup
