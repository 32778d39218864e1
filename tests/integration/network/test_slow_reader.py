"""A device that reads nothing: it is cut off, and no other device's turn suffers."""

import asyncio
from pathlib import Path

import aiomqtt

from mimi_mqtt.cli.device.actions import ChannelOpened
from mimi_mqtt.cli.device.client import Told
from tests.integration.network.talking import MACS, Talk, ota_of, served, talk
from tests.servers.impaired import TcpProxy

PATIENCE_S = 15
WINDOW_BYTES = 2_048


async def test_device_that_reads_nothing_is_cut_off_without_touching_another_devices_turn(
    tmp_path: Path,
) -> None:
    """Its session goes on over its next connection, as after any other cut."""
    full = b'{"type":"custom","payload":"' + b"x" * 7_000 + b'"}'
    async with (
        served(
            tmp_path,
            mqtt={"bind": "127.0.0.1:0", "max_write_buffer_bytes": 16_384},
            accounts={"admin_password": "a secret"},
        ) as app,
        TcpProxy(app.mqtt_port, window_bytes=WINDOW_BYTES) as proxy,
        aiomqtt.Client("127.0.0.1", app.mqtt_port, username="admin", password="a secret") as admin,
    ):
        deaf = asyncio.Event()

        def react(told: Told, _: Talk) -> None:
            if isinstance(told, ChannelOpened):
                proxy.down.hold()
                deaf.set()

        async def flood() -> None:
            await deaf.wait()
            async with asyncio.timeout(PATIENCE_S):
                while not app._parts.live.mqtt.counters.limits["slow_reader"]:
                    await admin.publish(f"mimi/devices/{MACS[0].replace(':', '-')}/down", full)
            proxy.down.release()

        slow, quick, _ = await asyncio.gather(
            talk(ota_of(app), "do re mi so", mqtt_port=proxy.port, react=react, reconnect_after_s=0.5),
            talk(ota_of(app), "so fa", "re do", mac=MACS[1]),
            flood(),
        )
        assert proxy.connections == 2
    quick.assert_whole("so fa", "re do")
    assert quick.summary.reconnects == 0
    slow.assert_whole("do re mi so")
    assert (slow.summary.reconnects, slow.summary.sessions) == (1, 1)


async def test_device_that_reads_slowly_does_not_delay_another_devices_turn(tmp_path: Path) -> None:
    async with (
        served(tmp_path) as app,
        TcpProxy(app.mqtt_port, bytes_per_s=2_000, window_bytes=WINDOW_BYTES) as proxy,
    ):
        slow, quick = await asyncio.gather(
            talk(ota_of(app), "do re mi so", mqtt_port=proxy.port),
            talk(ota_of(app), "so fa", mac=MACS[1]),
        )
    quick.assert_whole("so fa")
    assert slow.summary.ok, slow.summary.error
    assert slow.heard == ["do re mi so"]
    assert slow.summary.reconnects == 0
