"""Shared subscriptions: one member of a group receives each message (MQTT 5 section 4.8.2)."""

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import DISCONNECT, PacketType, encode_publish, parse_publish
from mimi_mqtt.wire.mqtt5 import FilterRequest
from mimi_mqtt.wire.mqtt_reasons import Reason
from tests.integration.mqtt.conftest import DEVICE, OTHER, UP, Running, StartServer
from tests.integration.mqtt.raw5 import RawClient5

connected = RawClient5.connected
SHARED = "$share/workers/jobs/+"


async def payloads(client: RawClient5, count: int) -> list[bytes]:
    return [(await client.heard()).payload for _ in range(count)]


async def test_members_of_both_versions_take_turns(mqtt: Running) -> None:
    five, old = await connected(mqtt), await mqtt.admin("old")
    await five.ask(SHARED)
    assert await old.subscribe((SHARED, 1)) == (1,)
    sender = await connected(mqtt, "sender")
    for number in range(6):
        await sender.say("jobs/a", b"%d" % number)
    assert await payloads(five, 3) == [b"0", b"2", b"4"]
    assert [(await old.publish_received()).payload for _ in range(3)] == [b"1", b"3", b"5"]


async def test_members_that_are_away_are_skipped_until_all_are(mqtt: Running) -> None:
    away = await connected(mqtt, "away", session_expiry_s=60)
    await away.ask(SHARED)
    here = await connected(mqtt, "here", session_expiry_s=60)
    await here.ask(SHARED)
    await away.goodbye()
    sender = await connected(mqtt, "sender")
    for number in range(3):
        await sender.say("jobs/a", b"%d" % number)
    assert await payloads(here, 3) == [b"0", b"1", b"2"]
    await here.goodbye()
    for number in range(4):
        await sender.say("jobs/a", b"later %d" % number)
    away = await connected(mqtt, "away", clean=False, session_expiry_s=60)
    here = await connected(mqtt, "here", clean=False, session_expiry_s=60)
    waited = await payloads(away, 2) + await payloads(here, 2)
    assert sorted(waited) == [b"later 0", b"later 1", b"later 2", b"later 3"]
    await sender.say("jobs/a", b"back")
    assert b"back" in [
        mqtt5.parse_publish(packet).payload for client in (away, here) for packet in await client.round_trip()
    ]


async def test_a_member_that_is_busy_is_passed_over(mqtt: Running) -> None:
    slow = await connected(mqtt, "slow", receive_maximum=1)
    quick = await connected(mqtt, "quick")
    await slow.ask(SHARED)
    await quick.ask(SHARED)
    sender = await connected(mqtt, "sender")
    for number in range(5):
        await sender.say("jobs/a", b"%d" % number)
    assert mqtt5.parse_publish(await slow.expect(PacketType.PUBLISH)).payload == b"0"
    assert await payloads(quick, 4) == [b"1", b"2", b"3", b"4"]


async def test_messages_of_a_member_that_leaves_for_good_go_to_another(mqtt: Running) -> None:
    leaves = await connected(mqtt, "leaves", receive_maximum=2, session_expiry_s=60)
    await leaves.ask(SHARED)
    sender = await connected(mqtt, "sender")
    await sender.say("jobs/a", b"QoS 2, sent", qos=2)
    for number in range(3):
        await sender.say("jobs/a", b"%d" % number)
    assert len(await leaves.round_trip()) == 2
    stays = await connected(mqtt, "stays")
    await stays.ask(SHARED)
    await leaves.goodbye(expiry_s=0)
    assert sorted(await payloads(stays, 3)) == [b"0", b"1", b"2"]
    await stays.nothing()  # QoS 2 that may have arrived is not repeated


async def test_messages_of_a_member_whose_session_expires_go_to_another(mqtt: Running) -> None:
    away = await connected(mqtt, "away", session_expiry_s=5)
    await away.ask(SHARED)
    await away.goodbye()
    sender = await connected(mqtt, "sender")
    await sender.say("jobs/a", b"waits")
    stays = await connected(mqtt, "stays")
    await stays.ask(SHARED)
    mqtt.pass_time(6)
    assert await payloads(stays, 1) == [b"waits"]


async def test_a_message_that_goes_to_another_member_is_as_retained_as_it_asked(mqtt: Running) -> None:
    asked = FilterRequest(SHARED, 1, retain_as_published=True)
    away = await connected(mqtt, "away", session_expiry_s=5)
    await away.ask(asked)
    await away.goodbye()
    sender = await connected(mqtt, "sender")
    await sender.say("jobs/a", b"waits", retain=True)
    stays = await connected(mqtt, "stays")
    await stays.ask(asked)
    mqtt.pass_time(6)
    assert (await stays.heard()).retain


async def test_no_retained_messages_are_sent_for_a_shared_subscription(mqtt: Running) -> None:
    await (await connected(mqtt, "sender")).say("jobs/a", b"kept", retain=True)
    client, old = await connected(mqtt), await mqtt.admin("old")
    await client.ask(SHARED)
    await client.nothing()
    assert await old.subscribe((SHARED, 1)) == (1,)
    assert await old.round_trip() == []


async def test_a_member_may_have_a_subscription_of_its_own_beside(mqtt: Running) -> None:
    client = await connected(mqtt)
    await client.ask(SHARED, identifier=1)
    await client.ask("jobs/#", identifier=2)
    await (await connected(mqtt, "sender")).say("jobs/a", b"x")
    identifiers = [(await client.heard()).properties.subscription_ids for _ in range(2)]
    assert sorted(identifiers) == [(1,), (2,)]


async def test_groups_of_different_names_and_filters_each_get_a_message(mqtt: Running) -> None:
    clients = [await connected(mqtt, f"client-{number}") for number in range(3)]
    for client, wanted in zip(clients, ("$share/a/t", "$share/b/t", "$share/a/+"), strict=True):
        await client.ask(wanted)
    await (await connected(mqtt, "sender")).say("t", b"x")
    assert [await payloads(client, 1) for client in clients] == [[b"x"]] * 3


async def test_a_member_that_unsubscribes_gets_no_more(mqtt: Running) -> None:
    first, second = await connected(mqtt, "first"), await connected(mqtt, "second")
    for client in (first, second):
        await client.ask(SHARED)
    assert await first.leave(SHARED) == (Reason.SUCCESS,)
    sender = await connected(mqtt, "sender")
    for number in range(2):
        await sender.say("jobs/a", b"%d" % number)
    assert await payloads(second, 2) == [b"0", b"1"]
    await second.leave(SHARED)
    assert mqtt.server.subscriptions == 0
    assert (await sender.say("jobs/a", b"x")).reason is Reason.NO_MATCHING_SUBSCRIBERS


async def test_devices_messages_are_shared_among_watchers(mqtt: Running) -> None:
    watchers = [await connected(mqtt, f"watcher-{number}") for number in range(2)]
    for watcher in watchers:
        await watcher.ask("$share/g/mimi/devices/+/up")
    device = await mqtt.device()
    for number in range(4):
        await device.publish(UP, b"%d" % number)
    assert [await payloads(watcher, 2) for watcher in watchers] == [[b"0", b"2"], [b"1", b"3"]]


# ── attacks ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_access_looks_at_the_filter_within(mqtt: Running) -> None:
    guest = await connected(mqtt, "guest", None)
    tester = await connected(mqtt, "tester", DEVICE)
    hidden = ("$share/g/mimi/#", "$share/g/mimi/devices/+/up", "$share/g/$SYS/#", "$share/g/$share/g/mimi/#")
    assert (await guest.ask(*hidden)).reasons == (Reason.NOT_AUTHORIZED,) * 4
    others = (f"$share/g/mimi/devices/{OTHER}/up", "$share/g/mimi/devices/+/up", "$share/g/#")
    assert (await tester.ask(*others)).reasons == (Reason.NOT_AUTHORIZED,) * 3
    assert (await tester.ask(f"$share/g/{UP}")).reasons == (Reason.GRANTED_QOS_2,)
    assert (await guest.ask("$share/g/#")).reasons == (Reason.GRANTED_QOS_2,)
    await (await mqtt.device()).publish(UP, b"{}")
    await guest.nothing()


async def test_another_user_takes_no_message_away_from_a_group(mqtt: Running) -> None:
    """A stranger joins a group of the same name: it is a group of its own."""
    worker = await connected(mqtt, "worker")
    await worker.ask(SHARED)
    for number in range(3):
        await (await connected(mqtt, f"thief-{number}", None)).ask(SHARED)
    sender = await connected(mqtt, "sender")
    for number in range(4):
        await sender.say("jobs/a", b"%d" % number)
    assert await payloads(worker, 4) == [b"0", b"1", b"2", b"3"]


BAD_SHARES = ["$share/g", "$share//t", "$share/+/t", "$share/#", "$share/g/", "$share/a+/t"]


@pytest.mark.parametrize("bad", BAD_SHARES)
async def test_filters_that_name_no_group_are_refused(mqtt: Running, bad: str) -> None:
    client, old = await connected(mqtt), await mqtt.admin("old")
    packet = mqtt5.encode_subscribe(1, (FilterRequest(bad),))
    await client.send(packet)
    answer = await client.packet()
    assert answer is not None
    if answer.type is PacketType.SUBACK:
        assert mqtt5.parse_subscribe_answer(answer).reasons == (Reason.TOPIC_FILTER_INVALID,)
        assert await old.subscribe((bad, 0)) == (0x80,)
    else:
        assert mqtt5.parse_closing(answer).reason is Reason.TOPIC_FILTER_INVALID


async def test_groups_in_masses_count_to_their_account(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"subscriptions_per_account": 100})
    granted = 0
    for number in range(3):
        client = await connected(mqtt, f"client-{number}", None)
        answer = await client.ask(*(f"$share/{number}-{index}/t" for index in range(60)))
        granted += answer.reasons.count(Reason.GRANTED_QOS_2)
    assert granted == 100
    admin = await connected(mqtt, "admin")
    assert (await admin.ask("$share/g/t")).reasons == (Reason.GRANTED_QOS_2,)


async def test_groups_of_clients_that_left_are_gone(mqtt: Running) -> None:
    for number in range(3):
        client = await connected(mqtt, f"client-{number}")
        await client.ask(*(f"$share/{index}/t" for index in range(50)))
        await client.goodbye()
    await mqtt.until(lambda: mqtt.server.subscriptions == 0)


async def test_a_group_of_absent_members_costs_a_message_no_walk_over_them(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_OFFLINE_SESSIONS", 100)
    mqtt = await start_server(shares={"connects_per_minute": 1_000, "offline_sessions_per_account": 60})
    for number in range(40):
        client = await mqtt.admin(f"away-{number}", clean_session=False)
        await client.subscribe((SHARED, 1))
        await client.send(DISCONNECT)
        await client.closed()
    receivers = mqtt.server._broker.recipients("jobs/a")
    assert len(receivers) == 1
    assert receivers.visited < 10


async def test_a_slow_member_does_not_hold_up_its_group(mqtt: Running) -> None:
    """It never reads nor acknowledges; the group goes on."""
    deaf, works = await connected(mqtt, "deaf"), await connected(mqtt, "works")
    for client in (deaf, works):
        await client.ask(SHARED)
    sender = await mqtt.admin("sender")
    total = 2 * limits.MAX_IN_FLIGHT + 50
    for number in range(total):
        await sender.send(encode_publish("jobs/a", b"%d" % number, 1, packet_id=number + 1))
    heard = await payloads(works, total - limits.MAX_IN_FLIGHT)
    assert len(set(heard)) == total - limits.MAX_IN_FLIGHT


async def test_members_of_3_1_1_get_no_properties(mqtt: Running) -> None:
    old = await mqtt.admin("old")
    await old.subscribe((SHARED, 1))
    await (await connected(mqtt, "sender")).say("jobs/a", b"x", user_properties=(("k", "v"),))
    assert parse_publish(await old.expect(PacketType.PUBLISH)).payload == b"x"


async def test_messages_do_not_go_to_a_member_that_has_left_while_its_packets_wait(
    start_server: StartServer,
) -> None:
    """Its account is beyond its rate: for ten seconds every other message was lost."""
    mqtt = await start_server(shares={"messages_per_s": 5})
    leaves = await RawClient5.connected(mqtt, "leaves", None, source="127.0.0.9")
    stays = await RawClient5.connected(mqtt, "stays", None, source="127.0.0.8")
    for client in (leaves, stays):
        await client.ask("$share/g/jobs")
    await leaves.send(mqtt5.encode_publish("t", b"") * 100)
    await mqtt.until(lambda: mqtt.server.counters.messages_in > 10)
    leaves.reset()
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 1)
    await mqtt.turn_of_the_loop()
    assert mqtt.server.connections["general"] == 2
    sender = await RawClient5.connected(mqtt, "sender")
    for number in range(6):
        await sender.send(mqtt5.encode_publish("jobs", b"%d" % number))
    assert [(await stays.heard()).payload for _ in range(6)] == [b"%d" % number for number in range(6)]
