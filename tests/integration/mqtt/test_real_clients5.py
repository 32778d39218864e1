"""mosquitto_pub, mosquitto_sub, paho and aiomqtt by MQTT 5 against the running broker."""

import asyncio
import threading
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.integration.mqtt.conftest import DEVICE, UP, Running
from tests.integration.mqtt.raw import PATIENCE_S
from tests.integration.mqtt.test_real_clients import ADMIN, mosquitto_pub, mosquitto_sub

FIVE = ("-V", "mqttv5")
LOGIN = {"username": "admin", "password": "admin password"}


async def _line(output: asyncio.StreamReader) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return (await output.readline()).decode().strip()


# ── Mosquitto's tools ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_mosquitto_clients_exchange_properties(mqtt: Running, qos: str) -> None:
    wanted = ("-F", "%t %p %C %R %D %P")
    async with mosquitto_sub(mqtt, *ADMIN, *FIVE, "-t", "house/+", "-q", qos, *wanted) as output:
        await mosquitto_pub(
            mqtt, *ADMIN, *FIVE, "-t", "house/light", "-m", "on", "-q", qos,
            "-D", "publish", "user-property", "room", "kitchen",
            "-D", "publish", "content-type", "text/plain",
            "-D", "publish", "response-topic", "house/answer", "-D", "publish", "correlation-data", "7",
        )  # fmt: skip
        assert await _line(output) == "house/light on text/plain house/answer 7 room:kitchen"


async def test_mosquitto_clients_share_a_subscription(mqtt: Running) -> None:
    async with (
        mosquitto_sub(mqtt, *ADMIN, *FIVE, "-t", "$share/g/jobs", "-q", "1") as one,
        mosquitto_sub(mqtt, *ADMIN, "-V", "mqttv311", "-t", "$share/g/jobs", "-q", "1") as other,
    ):
        group = next(iter(mqtt.server._broker._table._groups.values()))
        await mqtt.until(lambda: len(group) == 2)
        for number in range(4):
            await mosquitto_pub(mqtt, *ADMIN, *FIVE, "-t", "jobs", "-m", str(number), "-q", "1")
        lines = [await _line(each) for each in (one, other) for _ in range(2)]
        assert sorted(lines) == [f"jobs {number}" for number in range(4)]


async def test_mosquitto_sub_resumes_its_session_by_expiry_interval(mqtt: Running) -> None:
    session = ("-i", "keeper", "-c", "-x", "60", "-q", "1", "-t", "t")
    async with mosquitto_sub(mqtt, *ADMIN, *FIVE, *session):
        pass
    await mqtt.until(lambda: mqtt.server.connections["general"] == 0)
    await mosquitto_pub(mqtt, *ADMIN, *FIVE, "-t", "t", "-m", "kept", "-q", "1")
    async with mosquitto_sub(mqtt, *ADMIN, *FIVE, *session) as output:
        assert await _line(output) == "t kept"


async def test_mosquitto_pub_as_the_device_itself(mqtt: Running) -> None:
    login = ("-u", DEVICE, "-P", "right", "-i", DEVICE)
    await mosquitto_pub(mqtt, *FIVE, *login, "-t", UP, "-m", "{}", "-q", "2")
    assert mqtt.sink.messages == [(DEVICE, b"{}")]


# ── paho ─────────────────────────────────────────────────────────────────────────────────────────────────


class Paho5:
    """A paho client by MQTT 5, on its own thread."""

    def __init__(self, client_id: str, **options: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[paho.MQTTMessage] = asyncio.Queue()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = threading.Event()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, **options
        )
        self.client.username_pw_set(*LOGIN.values())
        self.client.on_message = lambda _, __, message: self._tell(self._messages, message)
        self.client.on_connect = lambda _, __, flags, code, known: self._tell(
            self._answers, (flags, code, known)
        )
        self.client.on_subscribe = lambda _, __, ___, codes, known: self._tell(self._answers, (codes, known))
        self.client.on_unsubscribe = lambda _, __, ___, codes, known: self._tell(
            self._answers, (codes, known)
        )
        self.client.on_disconnect = lambda _, __, ___, code, known: self._tell(self._answers, (code, known))

    def _tell(self, queue: "asyncio.Queue[Any]", what: Any) -> None:
        self._loop.call_soon_threadsafe(queue.put_nowait, what)

    async def connect(self, port: int, **options: Any) -> Any:
        await asyncio.to_thread(self.client.connect, "127.0.0.1", port, **options)
        self.client.loop_start()
        return await self.answer()

    async def answer(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await self._answers.get()

    async def message(self) -> paho.MQTTMessage:
        async with asyncio.timeout(PATIENCE_S):
            return await self._messages.get()

    async def stop(self) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)


def properties(kind: int, **known: Any) -> Any:
    made: Any = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in known.items():
        setattr(made, name, value)
    return made


async def test_paho_with_properties_identifiers_and_options(mqtt: Running) -> None:
    client = Paho5("paho")
    _, code, known = await client.connect(mqtt.port)
    assert code == "Success"
    assert known.SharedSubscriptionAvailable == 1
    client.client.subscribe(
        "paho/#", options=SubscribeOptions(qos=2, retainAsPublished=True),
        properties=properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=42),
    )  # fmt: skip
    codes, _ = await client.answer()
    assert [str(code) for code in codes] == ["Granted QoS 2"]
    for qos in (0, 1, 2):
        made = properties(PacketTypes.PUBLISH, UserProperty=[("a", "1"), ("a", "2")], CorrelationData=b"\0")
        client.client.publish(f"paho/{qos}", b"x", qos, retain=True, properties=made)
        message = await client.message()
        found: Any = message.properties
        assert (message.topic, message.qos, message.retain) == (f"paho/{qos}", qos, True)
        assert (found.UserProperty, found.SubscriptionIdentifier) == ([("a", "1"), ("a", "2")], [42])
    client.client.unsubscribe(["paho/#", "never"])
    codes, _ = await client.answer()
    assert [str(code) for code in codes] == ["Success", "No subscription found"]
    await client.stop()


async def test_paho_is_told_why_it_was_disconnected(mqtt: Running) -> None:
    client = Paho5("paho", reconnect_on_failure=False)
    await client.connect(mqtt.port)
    other = Paho5("paho")
    await other.connect(mqtt.port)
    code, _ = await client.answer()
    assert code == "Session taken over"
    await other.stop()
    await asyncio.to_thread(client.client.loop_stop)


async def test_paho_resumes_a_session_by_expiry_interval(mqtt: Running) -> None:
    options = {
        "clean_start": False, "properties": properties(PacketTypes.CONNECT, SessionExpiryInterval=60),
    }  # fmt: skip
    first = Paho5("house")
    await first.connect(mqtt.port, **options)
    first.client.subscribe("t", 2)
    await first.answer()
    await first.stop()
    await mosquitto_pub(mqtt, *ADMIN, *FIVE, "-t", "t", "-m", "kept", "-q", "2")
    again = Paho5("house")
    flags, _, _ = await again.connect(mqtt.port, **options)
    assert flags.session_present
    assert (await again.message()).payload == b"kept"
    await again.stop()


# ── aiomqtt ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_aiomqtt_asks_and_is_answered(mqtt: Running) -> None:
    async with asyncio.timeout(PATIENCE_S):
        v5: dict[str, Any] = {**LOGIN, "protocol": aiomqtt.ProtocolVersion.V5}
        async with (
            aiomqtt.Client("127.0.0.1", mqtt.port, **v5) as asks,
            aiomqtt.Client("127.0.0.1", mqtt.port, **v5) as answers,
        ):
            await asks.subscribe("answers/me", qos=1)
            await answers.subscribe("questions/+", qos=1)
            made = properties(PacketTypes.PUBLISH, ResponseTopic="answers/me", CorrelationData=b"1")
            await asks.publish("questions/time", "what?", qos=1, properties=made)
            question = await anext(answers.messages)
            asked: Any = question.properties
            back = properties(PacketTypes.PUBLISH, CorrelationData=asked.CorrelationData)
            await answers.publish(asked.ResponseTopic, "noon", qos=1, properties=back)
            answer = await anext(asks.messages)
            known: Any = answer.properties
            assert (answer.payload, known.CorrelationData) == (b"noon", b"1")


async def test_aiomqtt_over_a_long_silence_keeps_to_the_servers_keepalive(mqtt: Running) -> None:
    """It asks for no keepalive and is told one, which paho takes over."""
    v5: dict[str, Any] = {**LOGIN, "protocol": aiomqtt.ProtocolVersion.V5, "keepalive": 0}
    async with asyncio.timeout(PATIENCE_S), aiomqtt.Client("127.0.0.1", mqtt.port, **v5) as client:
        assert client._client.keepalive == 600
