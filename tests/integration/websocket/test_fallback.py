"""A device whose UDP is blocked is heard after one more boot."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from mimi_mqtt.cli.device.booting import MqttAccess, WebSocketAccess, boot
from mimi_mqtt.cli.device.client import converse
from mimi_mqtt.cli.device.options import DeviceOptions
from mimi_mqtt.fleet.device_settings import DeviceChange, change
from mimi_mqtt.fleet.fallback import fallbacks, use_websocket
from tests.integration.websocket.test_devices import serving

MAC = "02:00:00:00:00:43"


def talking(ota: str, **options: object) -> DeviceOptions:
    given = {"mac": MAC, "say": ("what time is it",), "voice": "offline"}
    return DeviceOptions(ota=ota, **(given | options))  # type: ignore[arg-type]


async def talk_unheard(ota: str, told: Callable[[], Awaitable[bool]]) -> None:
    """A device whose audio is lost talks until the server has noticed."""
    talk = asyncio.create_task(converse(talking(ota, loss_percent=100.0, timeout_s=60.0)))
    try:
        async with asyncio.timeout(30):
            while not await told():  # noqa: ASYNC110  # neither a row nor a lost packet has an event
                await asyncio.sleep(0.05)
        assert not talk.done()
    finally:
        talk.cancel()
        await asyncio.wait([talk])


async def test_a_device_whose_udp_is_blocked_gets_a_websocket_at_its_next_boot(tmp_path: Path) -> None:
    async with serving(tmp_path, transport="mqtt") as app:
        ota = f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/"

        async def fell_back() -> bool:
            return bool(await fallbacks(app._parts.foundation.store))

        await talk_unheard(ota, fell_back)
        again = await converse(talking(ota, timeout_s=60.0))
        assert again.ok, again.error
        assert again.lost == 0
        assert isinstance(await boot(ota, MAC, "en"), WebSocketAccess)
        assert [each.device_id for each in await fallbacks(app._parts.foundation.store)] == [
            MAC.replace(":", "-")
        ]


async def test_without_fallback_it_stays_with_mqtt(tmp_path: Path) -> None:
    async with serving(tmp_path, transport="mqtt", fallback=False) as app:
        ota = f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/"
        asked = asyncio.Event()

        def missed(device_id: str) -> None:
            app._parts.live._audio_missing(device_id)
            asked.set()

        app._parts.live.sessions.on_audio_missing = missed
        await talk_unheard(ota, lambda: asyncio.sleep(0, asked.is_set()))
        assert isinstance(await boot(ota, MAC, "en"), MqttAccess)
        assert await fallbacks(app._parts.foundation.store) == []


async def test_an_operator_takes_it_back_and_what_is_set_stays(tmp_path: Path) -> None:
    async with serving(tmp_path, transport="mqtt") as app:
        ota = f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/"
        await boot(ota, MAC, "en")
        device_id = MAC.replace(":", "-")
        for wanted, expected in (("", True), ("mqtt", False)):
            row = await change(
                app._parts.foundation.store, device_id, DeviceChange(transport=wanted), datetime.now(UTC)
            )
            app._parts.fleet.directory.apply(row)
            await use_websocket(app._parts.foundation.store, app._parts.fleet.directory, device_id)
            assert isinstance(await boot(ota, MAC, "en"), WebSocketAccess) is expected
