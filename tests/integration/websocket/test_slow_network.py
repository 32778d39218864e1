"""Conversations over a WebSocket through a slow TCP connection: delayed, throttled, stalled."""

import asyncio
from pathlib import Path

from mimi_mqtt.cli.device.client import converse
from mimi_mqtt.cli.device.options import DeviceOptions, Summary
from tests.integration.websocket.test_devices import serving
from tests.servers.impaired import TcpProxy

TURNS = ("what time is it", "what day is it", "what is two plus two")


async def talk(port: int, version: int, turns: int = len(TURNS)) -> Summary:
    return await converse(
        DeviceOptions(
            ota=f"http://127.0.0.1:{port}/xiaozhi/ota/",
            mac=f"02:00:00:00:01:{version:02}",
            say=TURNS[:turns],
            voice="offline",
            websocket_version=version,
            timeout_s=60.0,
        )
    )


def is_whole(summary: Summary, turns: int = len(TURNS)) -> bool:
    """Every turn was answered, and all of it was played."""
    assert summary.ok, summary.error
    lost = (summary.lost, summary.clipped_start_ms, summary.clipped_end_ms)
    return len(summary.turns) == turns and lost == (0, 0, 0)


async def test_nothing_is_lost_or_clipped_over_a_slow_connection_in_any_version(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, TcpProxy(app.http_port, delay_s=0.08, bytes_per_s=12_000) as proxy:
        assert all(map(is_whole, await asyncio.gather(*(talk(proxy.port, version) for version in (1, 2, 3)))))
        # One for OTA and one for the WebSocket, whose address is that of the proxy.
        assert proxy.connections == 2 * 3


async def test_a_connection_that_stalls_while_the_device_speaks_loses_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, TcpProxy(app.http_port, delay_s=0.02) as proxy:

        async def stall_now_and_then() -> None:
            while True:
                await asyncio.sleep(1)
                proxy.down.stall(0.4)
                proxy.up.stall(0.3)

        stalling = asyncio.create_task(stall_now_and_then())
        try:
            assert is_whole(await talk(proxy.port, 1, turns=1), turns=1)
        finally:
            stalling.cancel()
