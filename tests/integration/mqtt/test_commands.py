"""Commands by MQTT as people send them: mosquitto_pub asks on `…/command`, mosquitto_sub reads `…/reply`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.events import EventBus
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.transports.mqtt.command_topic import (
    MAX_IN_FLIGHT,
    MAX_REMEMBERED,
    MAX_REMEMBERED_USERS,
    REMEMBERED_S,
    CommandTopic,
)
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import PacketType, Will, encode_publish
from mimi_mqtt.wire.mqtt_properties import Properties
from tests.integration.mqtt.conftest import DEVICE, OTHER, Running, StartServer
from tests.integration.mqtt.raw import PATIENCE_S, RawClient
from tests.integration.mqtt.raw5 import RawClient5
from tests.integration.mqtt.test_real_clients import ADMIN, TESTER, mosquitto_pub, mosquitto_sub
from tests.unit.commands.fake_control import FakeControl

COMMAND, REPLY = f"mimi/devices/{DEVICE}/command", f"mimi/devices/{DEVICE}/reply"


@dataclass
class Setup:
    mqtt: Running
    control: FakeControl

    async def client(self, username: str = "admin", client_id: str = "desk") -> RawClient:
        """A client that sees the replies of DEVICE."""
        client = await self.mqtt.connect(client_id, username)
        await client.subscribe((REPLY, 0))
        return client


@pytest.fixture
async def setup(start_server: StartServer) -> Setup:
    control = FakeControl(known={DEVICE}, online={DEVICE}, sessions={DEVICE})
    return Setup(await start_server(commands=Commands(control, EventBus())), control)


async def _ask(client: RawClient, **fields: Any) -> None:
    await client.publish_qos0(COMMAND, json.dumps(fields).encode())


async def _reply(client: RawClient) -> dict[str, Any]:
    message = await client.publish_received()
    assert message.topic == REPLY
    answer: dict[str, Any] = json.loads(message.payload)
    return answer


@asynccontextmanager
async def _replies(setup: Setup, *who: str) -> AsyncIterator[asyncio.StreamReader]:
    async with mosquitto_sub(setup.mqtt, *who, "-t", REPLY, "-q", "1") as output:
        yield output


async def _line(output: asyncio.StreamReader) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        topic, _, payload = (await output.readline()).decode().partition(" ")
    assert topic == REPLY
    answer: dict[str, Any] = json.loads(payload)
    return answer


@pytest.mark.parametrize("who", [ADMIN, TESTER])
async def test_mosquitto_pub_makes_a_device_speak(setup: Setup, who: tuple[str, ...]) -> None:
    request = {"id": "1", "command": "say", "text": "Dinner is ready."}
    async with _replies(setup, *who) as output:
        await mosquitto_pub(setup.mqtt, *who, "-t", COMMAND, "-q", "1", "-m", json.dumps(request))
        answer = await _line(output)
    assert answer == {"id": "1", "command": "say", "status": "done", "result": {"how": "spoken"}}
    assert setup.control.asked == [("say", DEVICE, "Dinner is ready.")]


async def test_mosquitto_pub_calls_a_tool_of_a_device(setup: Setup) -> None:
    request = {"id": "2", "command": "call", "tool": "volume", "arguments": {"volume": 30}}
    async with _replies(setup, *ADMIN) as output:
        await mosquitto_pub(setup.mqtt, *ADMIN, "-t", COMMAND, "-m", json.dumps(request))
        assert (await _line(output))["result"] == {"text": "true"}
    assert setup.control.asked == [("call", DEVICE, "volume", "{'volume': 30}")]


async def test_a_watcher_sees_the_request_before_its_reply(setup: Setup) -> None:
    admin = await setup.mqtt.admin()
    await admin.subscribe((f"mimi/devices/{DEVICE}/#", 0))
    await _ask(admin, command="end")
    assert [(await admin.publish_received()).topic for _ in range(2)] == [COMMAND, REPLY]


async def test_mistakes_are_answered_with_what_is_allowed(setup: Setup) -> None:
    async with _replies(setup, *ADMIN) as output:
        for message, reason in (
            ("hello", "bad_arguments"),
            ('{"command": "dance"}', "unknown_command"),
            ('{"command": "say", "text": 7}', "bad_arguments"),
        ):
            await mosquitto_pub(setup.mqtt, *ADMIN, "-t", COMMAND, "-m", message)
            answer = await _line(output)
            assert (answer["status"], answer["reason"]) == ("refused", reason)
            assert answer["message"]
    assert setup.control.asked == []


async def test_a_tester_commands_no_other_device(setup: Setup) -> None:
    setup.control.known.add(OTHER)
    setup.control.online.add(OTHER)
    tester = await setup.mqtt.connect("phone", DEVICE)
    await tester.subscribe((f"mimi/devices/{DEVICE}/#", 0))
    await tester.publish(f"mimi/devices/{OTHER}/command", b'{"command":"say","text":"boo"}')
    assert await tester.settled() == []
    assert setup.control.asked == []


async def test_nobody_but_administrators_and_owners_commands(setup: Setup) -> None:
    device, guest = await setup.mqtt.device(), await setup.mqtt.connect("guest")
    for client in (device, guest):
        await client.publish_qos0(COMMAND, b'{"command":"disconnect"}')
    await device.round_trip()
    await guest.settled()
    admin = await setup.client()
    await _ask(admin, command="end")
    assert (await _reply(admin))["status"] == "done"
    assert setup.control.asked == [("end", DEVICE, "command")]


async def test_an_unknown_device_is_refused_on_its_own_reply_topic(setup: Setup) -> None:
    admin = await setup.mqtt.admin()
    await admin.subscribe((f"mimi/devices/{OTHER}/reply", 0))
    await admin.publish_qos0(f"mimi/devices/{OTHER}/command", b'{"command":"end"}')
    assert json.loads((await admin.publish_received()).payload)["reason"] == "unknown_device"


async def test_a_message_delivered_twice_is_carried_out_once_and_answered_twice(setup: Setup) -> None:
    admin = await setup.client()
    payload = b'{"id":"a","command":"say","text":"once"}'
    answers = []
    for dup in (False, True):
        await admin.send(encode_publish(COMMAND, payload, 1, dup=dup, packet_id=1))
        answers.append(await _reply(admin))
        await admin.expect(PacketType.PUBACK)
    assert answers[0] == answers[1]
    assert len(setup.control.asked) == 1
    # Another user's id is another id; so is the same one a minute later.
    owner = await setup.mqtt.connect("phone", DEVICE)
    await owner.publish_qos0(COMMAND, payload)
    await _reply(admin)
    setup.mqtt.pass_time(REMEMBERED_S + 1)
    await admin.publish_qos0(COMMAND, payload)
    await _reply(admin)
    assert len(setup.control.asked) == 3


async def test_a_repeated_message_whose_command_still_runs_is_answered_once(setup: Setup) -> None:
    admin = await setup.client()
    for _ in range(2):
        await _ask(admin, id="slow", command="call", tool="hang")
    await _ask(admin, id="next", command="end")
    assert (await _reply(admin))["id"] == "next"
    setup.control.answer.set()
    assert await _reply(admin) == {
        "id": "slow", "command": "call", "status": "done", "result": {"text": "at last"},
    }  # fmt: skip
    assert await admin.settled() == []
    assert [asked[0] for asked in setup.control.asked] == ["call", "end"]


async def test_an_id_is_not_used_for_two_requests(setup: Setup) -> None:
    admin = await setup.client()
    await _ask(admin, id="a", command="say", text="one")
    assert (await _reply(admin))["status"] == "done"
    await _ask(admin, id="a", command="say", text="two")
    assert (await _reply(admin))["reason"] == "bad_arguments"
    assert len(setup.control.asked) == 1


async def test_remembered_ids_are_bounded(setup: Setup) -> None:
    admin = await setup.client()
    for number in range(MAX_REMEMBERED + 1):
        setup.mqtt.clock.now += 0.1  # within the rate
        await _ask(admin, id=str(number), command="say", text="x")
        await _reply(admin)
    await _ask(admin, id=str(MAX_REMEMBERED), command="say", text="x")
    await _reply(admin)
    assert len(setup.control.asked) == MAX_REMEMBERED + 1  # the newest is known
    await _ask(admin, id="0", command="say", text="x")
    await _reply(admin)
    assert len(setup.control.asked) == MAX_REMEMBERED + 2  # the oldest is not


async def test_a_user_who_sends_many_requests_does_not_have_another_users_carried_out_twice(
    setup: Setup,
) -> None:
    admin = await setup.client()
    await _ask(admin, id="mine", command="say", text="once")
    first = await _reply(admin)
    owner = await setup.mqtt.connect("phone", DEVICE)
    for number in range(MAX_REMEMBERED + 1):
        setup.mqtt.clock.now += 0.1  # within the rate
        await _ask(owner, id=str(number), command="say", text="x")
        await _reply(admin)
    await _ask(admin, id="mine", command="say", text="once")
    assert await _reply(admin) == first
    assert [said[2] for said in setup.control.asked].count("once") == 1


async def test_users_whose_requests_are_remembered_are_bounded() -> None:
    answers: list[Message] = []
    control = FakeControl(known={DEVICE}, online={DEVICE}, sessions={DEVICE})
    commands = Commands(control, EventBus())
    topic = CommandTopic(commands, answers.append, Counters(lambda: 0.0), 9.0, lambda: 0.0)
    users = [f"user-{number}" for number in range(MAX_REMEMBERED_USERS + 1)]
    for user in (*users, users[-1], users[0]):
        request = Message(COMMAND, b'{"id":"1","command":"end"}')
        topic.received(Identity(Role.ADMIN, user), DEVICE, request)
    assert len(answers) == len(users) + 2
    assert len(control.asked) == len(users) + 1  # the last one is known, the first one no more


async def test_commands_in_flight_are_bounded(setup: Setup) -> None:
    devices = [f"aa-bb-cc-00-22-{number:02x}" for number in range(MAX_IN_FLIGHT + 1)]
    setup.control.known |= set(devices)
    setup.control.online |= set(devices)
    admin = await setup.mqtt.admin()
    await admin.subscribe(("mimi/devices/+/reply", 0))
    for device in devices:
        await admin.publish_qos0(
            f"mimi/devices/{device}/command", b'{"id":"x","command":"call","tool":"hang"}'
        )
    busy = await admin.publish_received()
    assert busy.topic == f"mimi/devices/{devices[-1]}/reply"
    assert json.loads(busy.payload)["reason"] == "busy"
    setup.control.answer.set()
    answers = [json.loads((await admin.publish_received()).payload) for _ in range(MAX_IN_FLIGHT)]
    assert [answer["status"] for answer in answers] == ["done"] * MAX_IN_FLIGHT
    # What was refused may be asked again under its id.
    await admin.publish_qos0(
        f"mimi/devices/{devices[-1]}/command", b'{"id":"x","command":"call","tool":"hang"}'
    )
    assert json.loads((await admin.publish_received()).payload)["status"] == "done"


async def test_a_flood_of_commands_is_dropped_and_counted(start_server: StartServer) -> None:
    control = FakeControl(known={DEVICE}, online={DEVICE})
    mqtt = await start_server(commands=Commands(control, EventBus()), device_messages_per_s=5)
    admin = await mqtt.admin()
    for _ in range(100):
        await admin.publish(COMMAND, b'{"command":"say","text":"x"}')
    await admin.settled()
    assert len(control.asked) == 20
    assert mqtt.server.counters.limits["command_rate"] == 80
    mqtt.pass_time(10)
    await admin.publish(COMMAND, b'{"command":"say","text":"x"}')
    await admin.settled()
    assert len(control.asked) == 21


async def test_a_command_may_be_a_will(setup: Setup) -> None:
    admin = await setup.client()
    dying = await setup.mqtt.admin("dying", will=Will(COMMAND, b'{"id":"will","command":"end"}'))
    dying.reset()
    assert (await _reply(admin))["id"] == "will"


async def test_commands_and_replies_are_never_retained(setup: Setup) -> None:
    admin = await setup.client()
    await admin.send(encode_publish(COMMAND, b'{"command":"say","text":"x"}', retain=True))
    await _reply(admin)
    late = await setup.mqtt.admin("late")
    await late.subscribe(("mimi/devices/#", 0))
    assert await late.settled() == []


async def test_a_server_that_stops_gives_waiting_commands_up(setup: Setup) -> None:
    admin = await setup.client()
    await _ask(admin, command="call", tool="hang")
    await setup.mqtt.until(lambda: bool(setup.control.asked))
    async with asyncio.timeout(PATIENCE_S):
        await setup.mqtt.server.aclose()


# ── response topics of MQTT 5 ────────────────────────────────────────────────────────────────────────────


def _request(payload: bytes, response_topic: str) -> bytes:
    properties = Properties(response_topic=response_topic, correlation_data=b"7")
    return mqtt5.encode_publish(COMMAND, payload, properties=properties)


@pytest.mark.parametrize(
    ("who", "topic"),
    [("admin", "house/answers"), (DEVICE, f"{REPLY}/phone"), ("admin", f"{REPLY}/desk")],
)
async def test_a_response_topic_is_answered_with_the_correlation_data(
    setup: Setup, who: str, topic: str
) -> None:
    watcher = await setup.client()
    asker = await RawClient5.connected(setup.mqtt, "asker", who)
    await asker.ask(topic)
    for payload, status in ((b'{"id":"1","command":"end"}', "done"), (b"{}", "refused")):
        for _ in range(2):
            await asker.send(_request(payload, topic))
            answer = await asker.heard()
            assert (answer.topic, answer.properties.correlation_data) == (topic, b"7")
            assert json.loads(answer.payload)["status"] == status
            assert (await watcher.publish_received()).payload == answer.payload
    assert [asked[0] for asked in setup.control.asked] == ["end"], "a repeated one is answered again"


async def test_a_response_topic_that_is_the_reply_topic_is_answered_once(setup: Setup) -> None:
    asker = await RawClient5.connected(setup.mqtt, "asker", DEVICE)
    await asker.ask(f"{REPLY}/#")
    await asker.send(_request(b'{"command":"end"}', REPLY))
    assert (await asker.heard()).properties.correlation_data == b"7"
    await asker.nothing()


@pytest.mark.parametrize(
    ("who", "topic"),
    [
        (DEVICE, "house/answers"),
        (DEVICE, f"mimi/devices/{OTHER}/reply"),
        (DEVICE, f"mimi/devices/{DEVICE}/down"),
        (DEVICE, f"mimi/devices/{DEVICE}/replys"),
        ("admin", f"mimi/devices/{DEVICE}/command"),
        ("admin", f"mimi/devices/{OTHER}/reply"),
        ("admin", f"mimi/devices/{DEVICE}/state"),
        ("admin", "mimi/status"),
        ("admin", "mimi"),
        ("admin", "$SYS/answers"),
        ("admin", "$share/g/answers"),
    ],
)
async def test_a_response_topic_beyond_the_askers_rights_gets_nothing_and_the_command_is_not_run(
    setup: Setup, who: str, topic: str
) -> None:
    watcher = await setup.mqtt.admin()
    await watcher.subscribe(("#", 0))
    assert (await watcher.publish_received()).topic == "mimi/status"
    asker = await RawClient5.connected(setup.mqtt, "asker", who)
    for payload in (b'{"id":"1","command":"end"}', b"{}"):
        await asker.send(_request(payload, topic))
        assert (await watcher.publish_received()).topic == COMMAND
        assert (await _reply(watcher))["status"] == "refused"
    assert await watcher.settled() == []
    assert setup.control.asked == []
