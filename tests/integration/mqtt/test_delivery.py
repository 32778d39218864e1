"""Messages of a control channel that have not arrived yet."""

import pytest

from mimi_mqtt.transports.mqtt.limits import MAX_REMEMBERED
from mimi_mqtt.wire.mqtt import PacketType
from tests.integration.mqtt.conftest import DEVICE, UP, Running, StartServer
from tests.integration.mqtt.raw import RawClient

CHUNK = b"x" * 1_000


async def stall(mqtt: Running, device: RawClient) -> int:
    """Sends to a device that reads nothing until its window is full; the messages that took."""
    device.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
    channel = mqtt.sink.channels[DEVICE]
    for count in range(1, 4_000):
        channel.send(CHUNK)
        await mqtt.turn_of_the_loop()
        if channel.undelivered() > 4 * len(CHUNK):
            return count
    raise AssertionError("everything was acknowledged")


@pytest.mark.parametrize("over_tls", [False, True])
async def test_what_a_stalled_device_has_not_acknowledged_is_counted_until_it_reads(
    start_server: StartServer, certificates: object, over_tls: bool
) -> None:
    mqtt = await start_server(
        max_write_buffer_bytes=8_000_000,
        **(
            {"tls_certificate": f"{certificates}/server.crt", "tls_key": f"{certificates}/server.key"}
            if over_tls
            else {}
        ),
    )
    port = mqtt.tls_port if over_tls else mqtt.port
    device = await RawClient.open(port, receive_buffer=4_096, tls=over_tls)
    mqtt.clients.append(device)
    assert await device.connack(DEVICE, DEVICE, "right") == 0
    channel = mqtt.sink.channels[DEVICE]
    await mqtt.until(lambda: channel.undelivered() == 0)
    count = await stall(mqtt, device)
    device.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(count):
        await device.expect(PacketType.PUBLISH)
    await mqtt.until(lambda: channel.undelivered() == 0)


async def test_a_closed_channel_waits_for_nothing(mqtt: Running) -> None:
    device = await mqtt.open(receive_buffer=4_096)
    assert await device.connack(DEVICE, DEVICE, "right") == 0
    channel = mqtt.sink.channels[DEVICE]
    await stall(mqtt, device)
    channel.close("goodbye")
    assert channel.undelivered() == 0


@pytest.mark.parametrize("ended_by", ["nobody", "server", "device"])
async def test_messages_that_were_not_acknowledged_are_known_after_the_end_of_the_connection(
    start_server: StartServer, ended_by: str
) -> None:
    mqtt = await start_server(max_write_buffer_bytes=8_000_000)
    device = await RawClient.open(mqtt.port, receive_buffer=4_096)
    mqtt.clients.append(device)
    assert await device.connack(DEVICE, DEVICE, "right") == 0
    channel = mqtt.sink.channels[DEVICE]
    channel.send(b"arrives")
    await device.expect(PacketType.PUBLISH)
    await mqtt.until(lambda: channel.undelivered() == 0)
    assert channel.unacknowledged() == []
    await stall(mqtt, device)
    last = [b"first of the last", b"last"]
    for payload in last:
        channel.send(payload)
    match ended_by:
        case "server":
            channel.close("gone")
        case "device":
            device.writer.transport.abort()
            await mqtt.until(lambda: DEVICE not in mqtt.sink.channels)
    lost = channel.unacknowledged()
    assert list(lost[-2:]) == last
    assert set(lost[:-2]) == {CHUNK}
    assert len(lost) <= MAX_REMEMBERED


async def test_device_that_is_cut_off_for_its_slowness_is_not_sent_all_of_it_again(
    start_server: StartServer,
) -> None:
    mqtt = await start_server(max_write_buffer_bytes=16_384)
    device = await RawClient.open(mqtt.port, receive_buffer=4_096)
    mqtt.clients.append(device)
    assert await device.connack(DEVICE, DEVICE, "right") == 0
    channel = mqtt.sink.channels[DEVICE]
    device.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
    while DEVICE in mqtt.sink.channels:
        channel.send(CHUNK)
        await mqtt.turn_of_the_loop()
    assert channel.unacknowledged() == ()


async def test_testers_are_not_waited_for(mqtt: Running) -> None:
    tester = await mqtt.connect("mosq", DEVICE)
    await tester.publish(UP, b"{}")
    assert mqtt.sink.channels[DEVICE].undelivered() == 0
