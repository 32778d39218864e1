"""Faults inside the server: what fails for one stays that one's, and is seen in `/healthz` or `/metrics`."""

import asyncio
import socket
from typing import Any

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.connection import GeneralConnection
from mimi_mqtt.transports.mqtt.device import DeviceConnection
from mimi_mqtt.transports.mqtt.gate import Gate, GateConnection
from mimi_mqtt.wire.mqtt import encode_connect, encode_publish
from tests.integration.mqtt.conftest import (
    DEVICE,
    DOWN,
    LAST_WORDS,
    OTHER,
    UP,
    RecordingSink,
    Running,
    StartServer,
)

HELLO = b'{"type":"hello"}'


def fail(*args: object, **options: object) -> None:
    raise RuntimeError("a fault of the server")


def fail_for(victims: set[str], method: Any) -> Any:
    """`method`, which raises for the devices and clients that are in `victims` when it is called."""

    def called(self: Any, *args: Any) -> Any:
        names = {getattr(self, "device_id", None), getattr(self, "client_id", None)}
        return fail() if names & victims else method(self, *args)

    return called


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["reset", "disconnect", "close"])
async def test_no_connection_is_lost_to_max_connections_when_sessions_fail_at_its_end(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    mqtt = await start_server(max_connections=1)
    monkeypatch.setattr(RecordingSink, "control_closed", fail)
    monkeypatch.setattr(RecordingSink, "control_message", fail)
    for _ in range(3):
        device = await mqtt.device(will=LAST_WORDS)
        if how == "reset":
            device.reset()
        elif how == "disconnect":
            mqtt.server.disconnect(DEVICE, "revoked")
        else:
            await device.close()
        await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)
        assert not mqtt.server.connections["device"]
    assert mqtt.server.counters.faults["control_closed"] == 3
    assert mqtt.server.counters.connected["device"] == 0


async def test_socket_is_counted_off_whatever_its_end_raises(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await mqtt.device()
    monkeypatch.setattr(type(mqtt.server), "device_closed", fail)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    device.reset()
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)


async def test_device_that_sessions_cannot_take_in_is_disconnected_and_may_come_again(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(RecordingSink, "control_opened", fail)
        device = await mqtt.device()
        assert await device.closed() == []
        assert not mqtt.server.connections["device"]
    device = await mqtt.device()
    await device.publish(UP, HELLO)
    assert mqtt.sink.messages == [(DEVICE, HELLO)]


async def test_message_that_fails_costs_the_device_that_message_only(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await mqtt.device()
    with monkeypatch.context() as patch:
        patch.setattr(RecordingSink, "control_message", fail)
        await device.publish(UP, b"fails")
    await device.publish(UP, HELLO)
    assert mqtt.sink.messages == [(DEVICE, HELLO)]
    assert mqtt.server.counters.faults["control_message"] == 1


async def test_tester_whose_device_cannot_be_taken_in_stays_connected(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    tester = await mqtt.connect("mosq", DEVICE)
    with monkeypatch.context() as patch:
        patch.setattr(RecordingSink, "control_opened", fail)
        await tester.publish(UP, b"fails")
    assert mqtt.sink.messages == []
    await tester.publish(UP, HELLO)
    assert mqtt.sink.messages == [(DEVICE, HELLO)]


# ── watchers ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_watcher_that_fails_is_no_matter_of_the_device_and_other_watchers(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    mqtt.sink.reply = b'{"type":"stt"}'
    victims: set[str] = set()
    monkeypatch.setattr(GeneralConnection, "write", fail_for(victims, GeneralConnection.write))
    watchers = [await mqtt.admin("broken"), await mqtt.admin("whole")]
    for watcher in watchers:
        await watcher.subscribe(("mimi/devices/#", 0))
    device = await mqtt.device()
    victims.add("broken")
    for _ in range(3):
        await device.send(encode_publish(UP, HELLO))
        assert (await device.publish_received()).payload == b'{"type":"stt"}'
        assert [(await watchers[1].publish_received()).topic for _ in range(2)] == [UP, DOWN]
    assert mqtt.sink.messages == [(DEVICE, HELLO)] * 3
    assert mqtt.server.counters.faults["deliver"] == 6


async def test_a_mirror_that_fails_is_no_matter_of_the_device(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    mqtt.sink.reply = b'{"type":"stt"}'
    await mqtt.admin()
    device = await mqtt.device()
    monkeypatch.setattr("mimi_mqtt.transports.mqtt.broker.EmbeddedBroker.recipients", fail)
    await device.send(encode_publish(UP, HELLO))
    assert (await device.publish_received()).payload == b'{"type":"stt"}'
    assert mqtt.server.counters.faults["mirror"] == 2


async def test_a_receiver_that_fails_is_no_matter_of_the_sender(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    victims: set[str] = set()
    monkeypatch.setattr(GeneralConnection, "write", fail_for(victims, GeneralConnection.write))
    receivers = [await mqtt.admin("broken"), await mqtt.admin("whole")]
    for receiver in receivers:
        await receiver.subscribe(("house/#", 0))
    victims.add("broken")
    sender = await mqtt.connect("guest")
    await sender.publish("house/light", b"on")
    assert (await receivers[1].publish_received()).payload == b"on"
    assert mqtt.server.counters.faults["deliver"] == 1


async def test_general_client_whose_packet_fails_is_ended_alone(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = await mqtt.admin("broken"), await mqtt.admin("whole")
    monkeypatch.setattr(GeneralConnection, "_packet", fail_for({"broken"}, GeneralConnection._packet))
    await broken.publish_qos0("a", b"")
    assert await broken.closed() == []
    await whole.publish("a", b"")
    await mqtt.until(lambda: mqtt.server.connections["general"] == 1)


async def test_general_client_whose_end_fails_is_counted_off(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await mqtt.admin()
    monkeypatch.setattr("mimi_mqtt.transports.mqtt.broker.EmbeddedBroker.leave", fail)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    await client.close()
    await mqtt.until(lambda: mqtt.server.connections == {"device": 0, "general": 0, "sockets": 0})


# ── the sweeper ──────────────────────────────────────────────────────────────────────────────────────────


async def test_time_limits_hold_after_a_sweep_has_failed(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper's own loop: it is unhealthy until a round succeeds, and goes on."""
    monkeypatch.setattr(limits, "SWEEP_S", 0.0)
    silent = await mqtt.open()
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 1)
    with monkeypatch.context() as patch:
        patch.setattr(Gate, "sweep", fail)
        assert mqtt.server.running
        await mqtt.until(lambda: not mqtt.server.running)
    mqtt.clock.now += 60
    assert await silent.closed() == []
    await mqtt.until(lambda: mqtt.server.running)


async def test_one_item_that_fails_keeps_no_other_from_its_time_limit(
    mqtt: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, other = await mqtt.device(keepalive_s=10), await mqtt.device(OTHER, keepalive_s=10)
    broken, whole = await mqtt.admin("broken", keepalive_s=10), await mqtt.admin("whole", keepalive_s=10)
    first, second = await mqtt.open(), await mqtt.open()
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 6)
    expire = GateConnection.expire
    failed: list[GateConnection] = []

    def expire_all_but_one(connection: GateConnection) -> None:
        if not failed:
            failed.append(connection)
            fail()
        expire(connection)

    swept: list[float] = []
    monkeypatch.setattr(GateConnection, "expire", expire_all_but_one)
    monkeypatch.setattr(
        DeviceConnection, "check_keepalive", fail_for({DEVICE}, DeviceConnection.check_keepalive)
    )
    monkeypatch.setattr(GeneralConnection, "check_time", fail_for({"broken"}, GeneralConnection.check_time))
    monkeypatch.setattr(
        "mimi_mqtt.transports.mqtt.testers.Testers.sweep", lambda testers, now: swept.append(now)
    )
    with pytest.raises(ExceptionGroup):
        mqtt.pass_time(16)
    assert swept == [mqtt.clock.now]
    assert await other.closed() == []
    assert await whole.closed() == []
    assert mqtt.server.connections["device"] == 1
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 3)
    monkeypatch.undo()
    mqtt.pass_time(0)
    for client in (device, broken, first, second):
        assert await client.closed() == []


# ── the stop ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_server_that_stops_accepting_serves_who_is_connected(mqtt: Running) -> None:
    device, admin = await mqtt.device(), await mqtt.admin()
    late = await mqtt.open()
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 3)
    mqtt.server.stop_accepting()
    mqtt.server.stop_accepting()
    assert not mqtt.server.running
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", mqtt.port)):
        pass
    assert await late.connack(OTHER, OTHER, "other") == 3
    assert await late.closed() == []
    await device.publish(UP, HELLO)
    mqtt.sink.channels[DEVICE].send(b"{}")
    assert (await device.publish_received()).payload == b"{}"
    await admin.publish("a", b"")
    mqtt.pass_time(61 * 1.5)  # time limits are enforced until the end
    assert await device.closed() == []


async def test_half_a_connect_that_is_finished_during_the_stop_is_refused(mqtt: Running) -> None:
    connect = encode_connect(DEVICE, username=DEVICE, password=b"right")
    device = await mqtt.open()
    await device.send(connect[:10])
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 1)
    mqtt.server.stop_accepting()
    await device.send(connect[10:])
    packets = await device.closed()
    assert [packet.body[1] for packet in packets] == [3]
    assert mqtt.sink.events == []
