"""A device whose UDP is blocked is heard after one more boot."""

from datetime import UTC, datetime
from pathlib import Path

from mimi_mqtt.cli.device.booting import WebSocketAccess, boot
from mimi_mqtt.cli.device.client import converse
from mimi_mqtt.cli.device.options import DeviceOptions
from mimi_mqtt.fleet.administration import DeviceChange, change
from tests.integration.websocket.test_devices import serving

MAC = "02:00:00:00:00:43"


def talking(ota: str, **options: object) -> DeviceOptions:
    given = {"mac": MAC, "say": ("what time is it",), "voice": "offline"}
    return DeviceOptions(ota=ota, **(given | options))  # type: ignore[arg-type]


async def test_a_device_whose_udp_is_blocked_gets_a_websocket_at_its_next_boot(tmp_path: Path) -> None:
    async with serving(tmp_path, transport="mqtt") as app:
        ota = f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/"
        blocked = await converse(talking(ota, loss_percent=100.0, timeout_s=8.0))
        assert not blocked.ok
        again = await converse(talking(ota, timeout_s=60.0))
        assert again.ok, again.error
        assert again.lost == 0
        assert isinstance(await boot(ota, MAC, "en"), WebSocketAccess)


async def test_an_operator_takes_it_back_and_what_is_set_stays(tmp_path: Path) -> None:
    async with serving(tmp_path, transport="mqtt") as app:
        ota = f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/"
        await boot(ota, MAC, "en")
        device_id = MAC.replace(":", "-")
        for wanted, expected in (("", True), ("mqtt", False)):
            row = await change(app._store, device_id, DeviceChange(transport=wanted), datetime.now(UTC))
            app._directory.apply(row)
            await app._use_websocket(device_id)
            assert isinstance(await boot(ota, MAC, "en"), WebSocketAccess) is expected
