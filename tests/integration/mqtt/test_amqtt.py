"""amqtt's client, an independent implementation of MQTT 3.1.1, against the running broker."""

import asyncio
import gc
import warnings

import pytest
from amqtt.client import MQTTClient

from mimi_mqtt.cli import doctor_mqtt
from mimi_mqtt.cli.doctor_mqtt import round_trip
from mimi_mqtt.transports.mqtt.pacing import Outcome, Work
from mimi_mqtt.transports.mqtt.server import MqttServer
from tests.integration.mqtt.conftest import Running
from tests.integration.mqtt.raw import PATIENCE_S

_CONFIG = {"auto_reconnect": False, "keep_alive": 60, "connection_timeout": int(PATIENCE_S)}


async def connected(mqtt: Running, client_id: str, *, clean: bool = True) -> MQTTClient:
    client = MQTTClient(client_id, config=_CONFIG)
    await client.connect(f"mqtt://admin:admin password@127.0.0.1:{mqtt.port}/", cleansession=clean)
    return client


async def test_every_qos_in_both_directions(mqtt: Running) -> None:
    async with asyncio.timeout(PATIENCE_S):
        client = await connected(mqtt, "amqtt")
        assert await client.subscribe([("amqtt/#", 2)]) == [2]
        for qos in (0, 1, 2):
            await client.publish(f"amqtt/{qos}", b"%d" % qos, qos)
            message = await client.deliver_message()
            assert message is not None
            assert (message.topic, message.qos) == (f"amqtt/{qos}", qos)
            assert bytes(message.data or b"") == b"%d" % qos
        await client.unsubscribe(["amqtt/#"])
        await client.ping()
        await client.disconnect()


async def test_retained_messages_and_a_session_that_is_resumed(mqtt: Running) -> None:
    async with asyncio.timeout(PATIENCE_S):
        sender = await connected(mqtt, "sender")
        await sender.publish("house/door", b"open", 1, retain=True)
        client = await connected(mqtt, "keeper", clean=False)
        await client.subscribe([("house/+", 1)])
        message = await client.deliver_message()
        assert message is not None
        assert bytes(message.data or b"") == b"open"
        await client.disconnect()
        await sender.publish("house/light", b"on", 1)
        again = await connected(mqtt, "keeper", clean=False)
        message = await again.deliver_message()
        assert message is not None
        assert (message.topic, bytes(message.data or b"")) == ("house/light", b"on")
        for each in (again, sender):
            await each.disconnect()


async def test_the_doctor_finds_a_broker_that_passes_messages_on(mqtt: Running) -> None:
    found = await round_trip(f"mqtt://127.0.0.1:{mqtt.port}", "admin", "admin password")
    assert (found.grade, found.what) == ("ok", "MQTT clients")


async def test_the_doctor_tells_of_a_refusal_and_never_of_the_password(mqtt: Running) -> None:
    found = await round_trip(f"mqtt://127.0.0.1:{mqtt.port}", "admin", "another password")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # amqtt leaves a refused connection to the collector
        gc.collect()
    assert found.grade == "fail"
    assert "another" not in found.detail + found.cure


async def test_the_doctor_tells_of_messages_that_are_lost(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_mqtt, "_TIMEOUT_S", 1)
    monkeypatch.setattr(MqttServer, "route", lambda *_: Outcome(Work()))
    found = await round_trip(f"mqtt://127.0.0.1:{mqtt.port}", "admin", "admin password")
    assert found.grade == "fail"
