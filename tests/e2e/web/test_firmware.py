"""Firmware in the web app: an upload, a roll-out to devices that boot and download while its page is open."""

import base64
import os
import re
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.e2e.web.conftest import PASSWORD, THEMES, Site, Tab
from tests.e2e.web.fleet import BOARD, Fleet, dismiss_notes, fleet
from tests.firmware import images

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

HOUSE = [
    ("Kitchen", "Kitchen"), ("Living room", "Living room"), ("Mai's desk", "Study"), ("Bedroom", "Upstairs"),
    ("Workshop bench", "Workshop"), ("Hall", "Hall"), ("Guest room", "Upstairs"), ("Ben's shelf", "Children"),
]  # fmt: skip


def app(version: str, kilobytes: int = 40) -> bytes:
    """An image whose bytes don't compress."""
    return images.image([images.descriptor(version) + os.urandom(2_000), os.urandom(kilobytes * 1_000)])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def boards(module_site: Site) -> AsyncIterator[Fleet]:
    async with fleet(module_site) as made:
        yield made


def row(tab: Tab, name: str) -> Locator:
    return tab.page.get_by_role("row", name=re.compile(re.escape(name)))


async def give(tab: Tab, name: str, content: bytes) -> None:
    dialog = tab.page.get_by_role("dialog")
    await dialog.locator("input[type=file]").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


async def test_without_firmware_the_page_says_what_to_do(site: Site) -> None:
    for theme in THEMES:
        tab = await site.tab(theme=theme)
        await tab.goto("/firmware")
        await expect(tab.page.get_by_text("No firmware yet")).to_be_visible()
        assert await tab.violations() == []
        await tab.shot(f"firmware-empty-desktop-{theme}")
        await tab.page.get_by_role("tab", name="Roll-outs").click()
        await expect(tab.page.get_by_text("No roll-outs yet")).to_be_visible()
        assert await tab.violations() == []


async def test_an_image_is_uploaded_and_what_was_read_is_shown(site: Site, boards: Fleet) -> None:
    for number, (name, room) in enumerate(HOUSE, 1):
        await boards.appears(number, name, room, "2.2.1" if number < 7 else "2.1.0")
    await boards.appears(20, "Box on the shelf", "Office", "1.9.4", board="esp-box-3")
    tab = await site.tab()
    tab.expected = ["422", "ERR_ABORTED", "409"]
    await tab.goto("/firmware")
    await expect(tab.page.get_by_role("heading", name=BOARD)).to_be_visible()
    await tab.page.get_by_role("button", name="Upload firmware").click()
    dialog = tab.page.get_by_role("dialog")
    await tab.shot("firmware-upload-desktop-light")
    for name, content, why in (
        ("merged-binary.bin", images.merged(), "merged image"),
        ("holiday.bin", b"\xff\xd8\xff\xe0" + bytes(2_000), "not an ESP32 image"),
        ("cut.bin", app("2.3.0")[:-40], "truncated"),
    ):
        await give(tab, name, content)
        await dialog.get_by_role("button", name="Upload firmware").click()
        await expect(dialog.get_by_role("alert")).to_contain_text(why)
    assert await tab.violations() == []
    await tab.shot("firmware-refused-desktop-light")

    # So slow that its progress is seen, and then stopped.
    cdp = await tab.page.context.new_cdp_session(tab.page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 60_000}
    await cdp.send("Network.emulateNetworkConditions", slow)
    image = app("2.3.0", 900)
    await give(tab, "xiaozhi.bin", image)
    await dialog.get_by_role("button", name="Upload firmware").click()
    await expect(dialog.get_by_role("progressbar")).to_have_attribute(
        "aria-valuetext", re.compile(r"[1-9].* of ")
    )
    await tab.shot("firmware-sending-desktop-light")
    await dialog.get_by_role("button", name="Stop").click()
    await expect(dialog.get_by_text("nothing was kept")).to_be_visible()
    await cdp.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})

    # Dropped on it this time.
    drop = await tab.page.evaluate_handle(
        """text => {
            const dropped = new DataTransfer();
            const bytes = Uint8Array.from(atob(text), char => char.charCodeAt(0));
            dropped.items.add(new File([bytes], 'xiaozhi.bin'));
            return dropped;
        }""",
        base64.b64encode(image).decode(),
    )
    await dialog.get_by_role("group", name="App image").dispatch_event("drop", {"dataTransfer": drop})
    await dialog.get_by_label("Notes").fill("Clearer wake word, less echo.")
    await dialog.get_by_role("button", name="Upload firmware").click()
    await expect(dialog.get_by_role("heading", name="Read from the image")).to_be_visible()
    for word in ("2.3.0", "esp32s3", "xiaozhi", "v5.5.1", "Aug"):
        await expect(dialog.get_by_role("definition").filter(has_text=word).first).to_be_visible()
    await expect(dialog.get_by_role("progressbar", name="Of the app partition")).to_be_visible()
    assert await tab.violations() == []
    await tab.shot("firmware-read-desktop-light")
    await dialog.get_by_role("link", name="Open").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text(f"2.3.0 for {BOARD}")
    await expect(tab.page.get_by_text("Clearer wake word")).to_be_visible()

    async with site.program() as ada:
        for version, board, channel in (
            ("2.2.1", BOARD, "stable"), ("2.4.0", BOARD, "beta"), ("2.0.0", "esp-box-3", "stable"),
            ("1.0.0", BOARD, "stable"),
        ):  # fmt: skip
            query = {"board": board, "channel": channel, "notes": "As shipped." if version == "2.2.1" else ""}
            made = await ada.post("/firmware", params=query, content=app(version, 30))
            assert made.status_code == 201, made.text


async def test_an_image_is_changed_and_deleted_with_undo(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/firmware")
    await tab.page.get_by_role("link", name="1.0.0").click()
    await tab.page.get_by_role("button", name="Edit").click()
    await tab.page.get_by_role("textbox", name="Notes").fill("Too old for most.")
    await tab.page.get_by_role("button", name="Save").click()
    await expect(tab.page.get_by_text("Too old for most.")).to_be_visible()
    await tab.page.get_by_role("button", name="Delete").click()
    await expect(tab.page).to_have_url(re.compile("/firmware$"))
    await expect(tab.page.get_by_role("link", name="2.0.0")).to_be_visible()
    await expect(tab.page.get_by_role("link", name="1.0.0")).to_have_count(0)
    await tab.page.get_by_role("button", name="Undo").click()
    await expect(tab.page.get_by_text("Too old for most.")).to_be_visible()
    await tab.page.get_by_role("button", name="Delete").click()
    await dismiss_notes(tab)
    await expect(tab.page.get_by_role("link", name="1.0.0")).to_have_count(0)


async def test_a_roll_out_moves_while_its_page_is_open(site: Site, boards: Fleet) -> None:
    tab = await site.tab()
    await tab.goto("/firmware")
    await tab.page.get_by_role("button", name="Roll out 2.3.0").click()
    dialog = tab.page.get_by_role("dialog")
    await expect(dialog.get_by_text("about 1 device today, of 8 of this board")).to_be_visible()
    await dialog.get_by_role("spinbutton", name="Percent").fill("100")
    await expect(dialog.get_by_text("8 devices today, of 8 of this board")).to_be_visible()
    await dialog.get_by_text("Further conditions").click()
    await dialog.get_by_label("Name").fill("Autumn update")
    assert await tab.violations() == []
    await tab.shot("rollout-new-desktop-light")
    await dialog.get_by_role("button", name="Begin").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Autumn update")
    await expect(tab.page.get_by_text("8 devices have not asked yet")).to_be_visible()
    await tab.shot("rollout-waiting-desktop-light")

    async with site.program() as ada:
        rollout = (await ada.get("/rollouts")).json()["items"][0]["id"]
    for number in (1, 2, 3):
        offer = (await boards.boots(number))["firmware"]
    await expect(row(tab, "Mai's desk")).to_contain_text("Offered")
    size = len((await boards.http.get(offer["url"])).content)
    await expect(row(tab, "Mai's desk")).to_contain_text("Restarting")
    # One is cut off in the middle: what it has is shown.
    offer = (await boards.boots(2))["firmware"]
    async with boards.http.stream("GET", offer["url"], headers={"Range": f"bytes=0-{size // 2}"}) as download:
        async for _ in download.aiter_bytes():
            pass
    await expect(row(tab, "Living room")).to_contain_text("Downloading")
    await expect(row(tab, "Living room").get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    await boards.boots(3, "2.3.0")
    await expect(row(tab, "Mai's desk")).to_contain_text("Done")
    await expect(tab.page.locator("[data-part=done]")).to_have_attribute("data-count", "1")
    await expect(tab.page.get_by_text("1 of 3 devices done")).to_be_visible()
    await tab.shot("rollout-running-desktop-light")

    await tab.page.get_by_role("button", name="Pause").click()
    await expect(tab.page.get_by_text("Paused", exact=True)).to_be_visible()
    assert not (await boards.boots(4))["firmware"]["url"]
    await tab.page.get_by_role("button", name="Resume").click()
    await expect(tab.page.get_by_text("Running", exact=True)).to_be_visible()
    await tab.page.get_by_role("button", name="Change").click()
    await dialog.get_by_role("spinbutton", name="Percent").fill("90")
    await dialog.get_by_role("button", name="Save").click()
    await expect(tab.page.get_by_text("90% of the devices")).to_be_visible()
    async with site.program() as ada:
        assert (await ada.get(f"/rollouts/{rollout}")).json()["percent"] == 90
        assert (await ada.patch(f"/rollouts/{rollout}", json={"percent": 100})).status_code == 200


async def test_it_halts_by_itself_and_is_rolled_back(site: Site, boards: Fleet) -> None:
    tab = await site.tab()
    await tab.goto("/firmware#rollouts")
    await tab.page.get_by_role("link", name="Autumn update").click()
    for number in (4, 5):
        assert await boards.updates(number, "2.2.1") == "2.3.0"
        await boards.boots(number, "2.2.1")
    await expect(tab.page.get_by_role("alert")).to_contain_text("It halted by itself")
    await expect(tab.page.get_by_role("alert")).to_contain_text("2 of 3 devices")
    await expect(row(tab, "Bedroom")).to_contain_text("came back with 2.2.1")
    assert await tab.violations() == []
    await tab.shot("rollout-halted-desktop-light")
    await tab.page.get_by_role("button", name="Roll back").click()
    dialog = tab.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Devices that took 2.3.0 are offered the image below")
    assert await tab.violations() == []
    await tab.shot("rollout-rollback-desktop-light")
    await dialog.get_by_role("button", name="Roll back").click()
    await expect(tab.page.get_by_text("Roll-back", exact=True)).to_be_visible()
    assert (await boards.boots(3, "2.3.0"))["firmware"]["version"] == "2.2.1"
    await expect(row(tab, "Mai's desk")).to_contain_text("Offered")
    await tab.page.get_by_role("button", name="End").click()
    await expect(dialog).to_contain_text("can’t be started again")
    await dialog.get_by_role("button", name="End").click()
    await expect(tab.page.get_by_text("Ended", exact=True)).to_be_visible()


async def test_a_roll_out_to_chosen_devices(site: Site) -> None:
    tab = await site.tab(size="phone")
    await tab.goto("/firmware")
    await tab.page.get_by_role("button", name="Roll out 2.4.0").click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_text("Chosen ones").click()
    await dialog.get_by_role("searchbox").fill("hall")
    await expect(dialog.get_by_role("checkbox")).to_have_count(1)
    await dialog.get_by_role("checkbox", name="Hall").check()
    await expect(dialog.get_by_text("1 device today, of 8 of this board")).to_be_visible()
    assert await tab.violations() == []
    assert await tab.overflow() <= 0
    await tab.shot("rollout-new-phone-light")
    await dialog.get_by_role("button", name="Make it paused").click()
    await expect(tab.page.get_by_text("Paused", exact=True)).to_be_visible()
    await expect(tab.page.get_by_text("1 chosen device", exact=True)).to_be_visible()


async def test_an_open_page_goes_on_after_a_restart(site: Site, boards: Fleet) -> None:
    async with site.program() as ada:
        image = next(
            each for each in (await ada.get("/firmware")).json()["items"] if each["version"] == "2.4.0"
        )
        made = await ada.post(
            "/rollouts", json={"image_id": image["id"], "channel": "stable", "name": "Beta for all"}
        )
    tab = await site.tab()
    tab.expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET"]
    await tab.goto(f"/rollouts/{made.json()['id']}")
    await expect(tab.page.get_by_text("No device has asked yet")).to_be_visible()
    await site.server.restart(signal.SIGKILL)
    assert (await boards.boots(6))["firmware"]["version"] == "2.4.0"
    await expect(row(tab, "Hall")).to_contain_text("Offered")


async def test_members_have_no_firmware(site: Site) -> None:
    async with site.program() as ada:
        made = await ada.post("/users", json={"name": "bob", "password": PASSWORD})
        assert made.status_code == 201, made.text
    tab = await site.tab(as_="bob")
    await tab.goto("/firmware")
    await expect(tab.page.get_by_text("Firmware is for administrators")).to_be_visible()
    await expect(tab.page.get_by_role("navigation").first.get_by_role("link", name="Firmware")).to_have_count(
        0
    )
    await expect(tab.page.get_by_role("button", name="Upload firmware")).to_have_count(0)


@pytest.mark.parametrize("theme", THEMES)
async def test_every_page_at_every_size(site: Site, theme: str) -> None:
    async with site.program() as ada:
        rollouts = (await ada.get("/rollouts")).json()["items"]
        first = min(each["id"] for each in rollouts)
        image = next(each["image"]["id"] for each in rollouts if each["id"] == first)
    looks = [("desktop", "en"), ("phone", "ru")]
    if theme == "light":
        looks += [("phone", "en"), ("phone", "vi")]
    for size, language in looks:
        tab = await site.tab(size=size, theme=theme, language=language)
        for name, path in (
            ("firmware", "/firmware"), ("firmware-rollouts", "/firmware#rollouts"),
            ("firmware-image", f"/firmware/{image}"), ("rollout", f"/rollouts/{first}"),
        ):  # fmt: skip
            await tab.page.goto("about:blank")  # an address that differs by its hash alone is not loaded
            await tab.goto(path)
            await tab.settled()
            await tab.page.locator("main .card").first.wait_for()
            assert await tab.violations() == [], (name, size, language)
            assert await tab.overflow() <= 0, (name, size, language)
            await tab.shot(f"{name}-{size}-{theme}" + ("" if language == "en" else f"-{language}"))
