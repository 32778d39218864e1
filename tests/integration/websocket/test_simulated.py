"""The simulated device over a WebSocket: every family, every version of frames."""

from pathlib import Path

import pytest

from mimi_mqtt.cli.device.client import converse
from mimi_mqtt.cli.device.options import DeviceOptions, Summary
from mimi_mqtt.cli.device.profiles import PROFILES
from tests.integration.websocket.test_devices import serving


async def talk(folder: Path, **options: object) -> Summary:
    async with serving(folder) as app:
        ota = f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/"
        given = {"mac": "02:00:00:00:00:42", "text": "what is two plus two", "timeout_s": 60.0}
        return await converse(DeviceOptions(ota=ota, **(given | options)))  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("family", PROFILES)
async def test_each_family_is_answered_in_each_version(tmp_path: Path, family: str, version: int) -> None:
    summary = await talk(tmp_path, like=family, websocket_version=version)
    assert summary.error == ""
    assert summary.ok
    assert summary.audio_ms > 500
    assert summary.lost == 0


async def test_speech_is_heard(tmp_path: Path) -> None:
    summary = await talk(tmp_path, text=None, say=("what time is it",), voice="hibari", websocket_version=2)
    assert summary.ok, summary.error
    assert summary.audio_ms > 500


async def test_a_device_that_wants_mqtt_is_told_that_ota_gives_something_else(tmp_path: Path) -> None:
    summary = await talk(tmp_path, transport="mqtt")
    assert "OTA told this device to use ws://" in summary.error


async def test_a_device_whose_connection_breaks_says_hello_again(tmp_path: Path) -> None:
    summary = await talk(tmp_path, drop_control="idle", reconnect_after_s=0.05)
    assert summary.ok, summary.error
    assert summary.reconnects == 1
