"""A roll-out with a real server and simulated devices: one of three takes it, one does not come back."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlmodel import select

from mimi_mqtt.app import App
from mimi_mqtt.cli.device.client import converse
from mimi_mqtt.cli.device.options import DeviceOptions, Summary
from mimi_mqtt.http.api.loading import API_PREFIX
from mimi_mqtt.people.authenticators import COMMAND_LINE_PREFIX
from mimi_mqtt.store.tables import OtaExchange
from tests.firmware import images
from tests.integration.test_app import running, until

pytestmark = pytest.mark.timeout(60)

BOARD = "mimi-simulated"


def mac(number: int) -> str:
    return f"aa:bb:cc:00:11:{number:02x}"


async def boots(app: App, number: int, *, lost: bool = False, firmware: str = "2.2.1") -> Summary:
    """A simulated device starts, and takes what it is offered."""
    return await converse(
        DeviceOptions(
            ota=f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/", mac=mac(number), firmware=firmware,
            update=True, lost=lost,
        )
    )  # fmt: skip


async def judged(app: App, api: httpx.AsyncClient, rollout: int) -> dict[str, int]:
    """The states of a roll-out's devices, when all that is known was written."""
    await app._parts.fleet.directory._save_seen()
    await app._parts.firmware.downloads.aclose()
    await app._parts.firmware.downloads.start()
    await app._parts.firmware.watch.judge()
    counts: dict[str, int] = (await api.get(f"/rollouts/{rollout}")).json()["counts"]
    return counts


async def reason(app: App, number: int) -> str:
    """Why a device was offered nothing when it last asked."""
    await app._parts.fleet.log.aclose()
    await app._parts.fleet.log.start()
    query = select(OtaExchange).where(OtaExchange.device_id == mac(number).replace(":", "-"))
    async with app._parts.foundation.store.read() as session:
        rows = (await session.scalars(query)).all()
    return max(rows, key=lambda row: row.id or 0).firmware


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with running(tmp_path) as found:
        yield found


@pytest.fixture
async def api(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator's client of the REST API."""
    bearer = COMMAND_LINE_PREFIX + app._parts.foundation.credentials.command_line_password(time.time())
    async with httpx.AsyncClient(timeout=60.0,
        base_url=f"http://127.0.0.1:{app.http_port}{API_PREFIX}", trust_env=False,
        headers={"Authorization": f"Bearer {bearer}"},
    ) as client:  # fmt: skip
        yield client


async def test_a_roll_out_reaches_one_of_three_devices_and_is_taken_back(
    app: App, api: httpx.AsyncClient
) -> None:
    ids = {}
    for version in ("2.2.1", "2.3.1"):
        answer = await api.post("/firmware", params={"board": BOARD}, content=images.image(version=version))
        ids[version] = answer.json()["id"]
    refused = await api.post("/firmware", params={"board": BOARD}, content=images.merged())
    assert refused.json()["detail"].startswith("this is a merged image")

    first = await asyncio.gather(*(boots(app, number) for number in (1, 2, 3)))
    assert [summary.updates for summary in first] == [(), (), ()]
    assert await reason(app, 1) == "no roll-out for this board"
    made = await api.post("/rollouts", json={"image_id": ids["2.3.1"], "devices": [mac(2)]})
    rollout = made.json()["id"]
    second = await asyncio.gather(*(boots(app, number) for number in (1, 2, 3)))
    assert [[update.version for update in summary.updates] for summary in second] == [[], ["2.3.1"], []]
    assert [summary.error for summary in second if summary.updates] == [""]
    assert await reason(app, 1) == "not among the devices of the roll-out"
    assert await reason(app, 2) == "runs 2.3.1 already"
    assert await judged(app, api, rollout) == {"done": 1}

    back = (await api.post(f"/rollouts/{rollout}/roll-back", json={})).json()
    (update,) = (await boots(app, 2, firmware="2.3.1")).updates
    assert (update.version, update.error) == ("2.2.1", "")
    assert await judged(app, api, back["id"]) == {"done": 1}


async def test_a_connected_device_is_told_to_update_itself(app: App, api: httpx.AsyncClient) -> None:
    image = (await api.post("/firmware", params={"board": BOARD}, content=images.image())).json()
    ota = f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/"
    device = asyncio.create_task(converse(DeviceOptions(ota=ota, mac=mac(1), firmware="2.2.1", idle_s=3.0)))
    device_id = mac(1).replace(":", "-")
    await until(lambda: app._parts.live.sessions.connected(device_id))
    await app._parts.fleet.directory.aclose()
    await app._parts.fleet.directory.start()
    answer = await api.post(f"/devices/{device_id}/upgrade", json={"image_id": image["id"]})
    assert answer.status_code == 200, answer.text
    (update,) = (await device).updates
    assert (update.version, update.error) == ("2.3.1", "")
    rollout = answer.json()["rollout_id"]
    assert await judged(app, api, rollout) == {"done": 1}
    assert (await api.get(f"/rollouts/{rollout}")).json()["state"] == "ended"


async def test_a_device_that_does_not_come_back_stays_downloaded_until_its_time_is_over(
    app: App, api: httpx.AsyncClient
) -> None:
    image = (await api.post("/firmware", params={"board": BOARD}, content=images.image())).json()
    await boots(app, 1)
    rollout = (await api.post("/rollouts", json={"image_id": image["id"], "halt_after": 1})).json()["id"]
    lost = await boots(app, 1, lost=True)
    assert (lost.ok, [update.version for update in lost.updates]) == (True, ["2.3.1"])
    assert await judged(app, api, rollout) == {"downloaded": 1}


async def test_a_damaged_download_is_refused_by_the_device(app: App, api: httpx.AsyncClient) -> None:
    image = (await api.post("/firmware", params={"board": BOARD}, content=images.image())).json()
    await boots(app, 1)
    await api.post("/rollouts", json={"image_id": image["id"]})
    for path in app.settings.server.data_dir.rglob(f"{image['sha256']}*"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    (update,) = (await boots(app, 1)).updates
    assert update.error
