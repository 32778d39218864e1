"""Addresses of downloads that no device was given."""

from typing import cast

import httpx
import pytest
from starlette.applications import Starlette

from mimi_mqtt.fleet.firmware.downloads import Downloads
from mimi_mqtt.fleet.firmware.links import ASSETS_PATH, FIRMWARE_PATH, DownloadLinks
from mimi_mqtt.http.device.firmware import FirmwareDownloads


class NoLinks:
    """Knows no link."""

    def is_good(self, path: str, until: str, signature: str, now: float) -> bool:
        return False


@pytest.mark.parametrize("path", [FIRMWARE_PATH, ASSETS_PATH])
@pytest.mark.parametrize("number", ["9" * 5_000, "9" * 20, "9" * 19, "-1", "x", "%C2%B2", "%D9%A1", "1"])
async def test_a_number_that_no_link_has_is_refused_as_any_bad_link(path: str, number: str) -> None:
    """Attack: int() raises for thousands of digits, which was answered 500 with a traceback in the log."""
    downloads = FirmwareDownloads(cast(Downloads, None), cast(DownloadLinks, NoLinks()))
    transport = httpx.ASGITransport(Starlette(routes=downloads.routes()))
    async with httpx.AsyncClient(timeout=60.0, transport=transport, base_url="http://mimi.test") as client:
        answer = await client.get(f"{path}/{number}/24-6f-28-5a-10-01")
    assert answer.status_code == 403
    assert "not valid" in answer.text
