"""Messages of a control channel that have not arrived yet."""

import pytest

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


async def test_testers_are_not_waited_for(mqtt: Running) -> None:
    tester = await mqtt.connect("mosq", DEVICE)
    await tester.publish(UP, b"{}")
    assert mqtt.sink.channels[DEVICE].undelivered() == 0
