"""Assets handed over to a device, and pictures that devices send, in the web app."""

import re
import sqlite3
import struct
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.e2e.web.conftest import PASSWORD, THEMES, Site, Tab
from tests.e2e.web.fleet import BOARD, Fleet, device_id, dismiss_notes, drawn, fleet, screen

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

CONVERSATION = "0123456789abcdef0123456789abcdef"


def assets(**files: int) -> bytes:
    """An assets image with files of these names (with _ for .) and sizes."""
    table, data = b"", b""
    for name, size in files.items():
        table += struct.pack("<32sIIHH", ".".join(name.rsplit("_", 1)).encode(), size, len(data), 0, 0)
        data += b"ZZ" + bytes(size)
    body = table + data
    return struct.pack("<III", len(files), sum(body) & 0xFFFF, len(body)) + body


NOTO = assets(
    index_json=840, srmodels_bin=310_000, font_noto_20_4_bin=920_000, happy_gif=41_000, sad_gif=39_000
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def boards(module_site: Site) -> AsyncIterator[Fleet]:
    """Four devices, of which one is bob's."""
    async with fleet(module_site) as made, module_site.program() as ada:
        for number, name in enumerate(("Kitchen", "Living room", "Bob's desk", "Hall"), 1):
            await made.appears(number, name, name)
        await made.appears(5, "Box on the shelf", "Office", board="esp-box-3")
        bob = (await ada.post("/users", json={"name": "bob", "password": PASSWORD})).json()["id"]
        moved = await ada.put(f"/devices/{device_id(3)}/owner", json={"owner_id": bob})
        assert moved.status_code == 200, moved.text
        yield made


def row(tab: Tab, name: str) -> Locator:
    return tab.page.get_by_role("row", name=re.compile(re.escape(name)))


async def test_without_any_the_pages_say_what_to_do(site: Site, boards: Fleet) -> None:
    for theme in THEMES:
        tab = await site.tab(theme=theme)
        for name, path, said in (
            ("assets", "/assets", "No assets yet"),
            ("pictures", "/uploads", "No pictures yet"),
        ):
            await tab.goto(path)
            await expect(tab.page.get_by_text(said)).to_be_visible()
            assert await tab.violations() == []
            await tab.shot(f"{name}-empty-desktop-{theme}")


async def test_assets_are_uploaded_and_handed_over(site: Site, boards: Fleet) -> None:
    tab = await site.tab()
    tab.expected = ["422"]
    await tab.goto("/assets")
    await tab.page.get_by_role("button", name="Upload assets").first.click()
    dialog = tab.page.get_by_role("dialog")
    for content, why in ((b"\xe9" + bytes(3_000), "application image"), (NOTO[:-5], "truncated"), (NOTO, "")):
        file = {"name": "assets.bin", "mimeType": "application/octet-stream", "buffer": content}
        await dialog.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
        await dialog.get_by_role("textbox", name="Name", exact=True).fill("Noto Sans and cats")
        await dialog.get_by_role("combobox", name="Board").select_option(BOARD)
        await dialog.get_by_role("button", name="Upload assets").click()
        if why:
            await expect(dialog.get_by_role("alert")).to_contain_text(why)
    await expect(tab.page.get_by_role("heading", name="Noto Sans and cats")).to_be_visible()
    await expect(tab.page.get_by_text("5 files")).to_be_visible()
    await tab.page.get_by_text("What is in it").click()
    await expect(row(tab, "srmodels.bin")).to_contain_text("Wake words")
    await expect(row(tab, "font_noto_20_4.bin")).to_contain_text("Font")
    await expect(row(tab, "happy.gif")).to_contain_text("Picture")

    async with screen(boards, 1) as kitchen:
        await tab.page.get_by_role("button", name="Hand over").click()
        await expect(dialog.get_by_role("checkbox")).to_have_count(4)  # those of the board
        await dialog.get_by_role("checkbox", name="Kitchen").check()
        await dialog.get_by_role("checkbox", name="Hall").check()
        await tab.shot("assets-hand-over-desktop-light")
        await dialog.get_by_role("button", name="Hand over").click()
        results = dialog.get_by_role("listitem")
        await expect(results.filter(has_text="Kitchen")).to_contain_text("fetches it at its next start")
        await expect(results.filter(has_text="Hall")).to_contain_text("Not told")
        await expect(results.filter(has_text="Hall")).to_contain_text("not connected")
        assert await tab.violations() == []
        await tab.shot("assets-results-desktop-light")
        await dialog.get_by_role("button", name="Close").last.click()
        await tab.page.get_by_text("Where it is").click()
        await expect(row(tab, "Kitchen")).to_contain_text("Told")
        await expect(row(tab, "Hall")).to_have_count(0)
        (url,) = kitchen.told
        fetched = await boards.http.get(url)
        assert (fetched.status_code, fetched.content) == (200, NOTO)
        await expect(row(tab, "Kitchen")).to_contain_text("Fetched")

    await tab.page.get_by_role("button", name="Edit").click()
    await dialog.get_by_role("textbox", name="Notes").fill("For screens of 320 x 240.")
    await dialog.get_by_role("button", name="Save").click()
    await expect(tab.page.get_by_text("For screens of 320 x 240.")).to_be_visible()
    async with site.program() as ada:
        query = {"board": "esp-box-3", "name": "Dark theme, small font"}
        assert (await ada.post("/assets", params=query, content=assets(index_json=500))).status_code == 201
    await tab.page.reload()
    second = tab.page.get_by_role("region", name="Dark theme, small font")
    await second.get_by_role("button", name="Delete").click()
    await expect(second).to_have_count(0)
    await tab.page.get_by_role("button", name="Undo").click()
    await expect(second).to_be_visible()


async def test_a_screenshot_arrives_in_the_gallery(site: Site, boards: Fleet) -> None:
    tab = await site.tab()
    await tab.goto("/uploads")
    await expect(tab.page.get_by_text("No pictures yet")).to_be_visible()
    looks = ((1, "12 minutes left", "#8ea2ff"), (2, "Good morning", "#f2b757"), (3, "Listening", "#5fd08f"))
    async with site.program() as ada:
        for number, words, colour in looks:
            async with screen(boards, number, await drawn(tab, words, colour)):
                taken = await ada.post(f"/devices/{device_id(number)}/screenshot")
                assert taken.status_code == 201, taken.text
        for number, words, colour in ((1, "Is this ripe?", "#e0685e"), (2, "What bird is it?", "#73c5f2")):
            async with screen(boards, number, await drawn(tab, words, colour, (400, 300))):
                taken = await ada.post(f"/devices/{device_id(number)}/screenshot")
                assert taken.status_code == 201, taken.text
        photo = taken.json()["id"]
    with closing(sqlite3.connect(site.server.folder / "data/mimi.db", timeout=10)) as database, database:
        # As if a camera had sent it in a conversation.
        told = "UPDATE uploads SET kind = 'photo', session_id = ? WHERE id = ?"
        assert database.execute(told, (CONVERSATION, photo)).rowcount == 1
    pictures = tab.page.get_by_role("button", name=re.compile("^Screenshot: "))
    await expect(pictures.first).to_be_visible()
    await tab.page.get_by_label("Kind").select_option("photo")
    await expect(tab.page.get_by_role("button", name="Photo: Living room")).to_be_visible()
    await expect(pictures).to_have_count(0)
    await tab.page.get_by_role("button", name="Photo: Living room").click()
    dialog = tab.page.get_by_role("dialog")
    await expect(dialog.get_by_role("link", name="Open the conversation")).to_have_attribute(
        "href", f"/conversations/{CONVERSATION}"
    )
    await tab.page.wait_for_function("() => document.querySelector('[role=dialog] img').naturalWidth === 400")
    assert await tab.violations() == []
    await tab.shot("pictures-one-desktop-light")
    async with tab.page.expect_download() as downloading:
        await dialog.get_by_role("link", name="Download").click()
    assert (await downloading.value).suggested_filename == f"photo-{photo}.jpg"
    await dialog.get_by_role("button", name="Delete").click()
    await expect(tab.page.get_by_text("No picture fits the filter")).to_be_visible()
    await tab.page.get_by_role("button", name="Undo").click()
    await expect(tab.page.get_by_role("button", name="Photo: Living room")).to_be_visible()

    await tab.page.get_by_label("Kind").select_option("")
    await tab.page.get_by_role("combobox", name="Device").click()
    await tab.page.get_by_role("combobox", name="Device").fill("bob")
    await tab.page.get_by_role("option", name=re.compile("Bob's desk")).click()
    await expect(pictures).to_have_count(1)
    await pictures.click()
    await dialog.get_by_role("button", name="Delete").click()
    await dismiss_notes(tab)
    async with site.program() as ada:
        left = (await ada.get("/uploads", params={"device_id": device_id(3)})).json()["items"]
    assert left == []


async def test_members_see_pictures_of_their_own_devices_and_no_assets(site: Site, boards: Fleet) -> None:
    tab = await site.tab(as_="bob")
    await tab.goto("/uploads")
    await expect(tab.page.get_by_text("No pictures yet")).to_be_visible()
    async with site.program("bob") as bob, screen(boards, 3, await drawn(tab, "Hello Bob", "#5fd08f")):
        assert (await bob.post(f"/devices/{device_id(3)}/screenshot")).status_code == 201
    await expect(tab.page.get_by_role("button", name="Screenshot: Bob's desk")).to_be_visible()
    await expect(tab.page.locator("main img")).to_have_count(1)
    await tab.goto("/assets")
    await expect(tab.page.get_by_text("Assets are for administrators")).to_be_visible()
    await expect(tab.page.get_by_role("button", name="Upload assets")).to_have_count(0)


@pytest.mark.parametrize("theme", THEMES)
async def test_every_page_at_every_size(site: Site, boards: Fleet, theme: str) -> None:
    looks = [("desktop", "en"), ("phone", "ru")]
    if theme == "light":
        looks += [("phone", "en"), ("phone", "vi")]
    for size, language in looks:
        tab = await site.tab(size=size, theme=theme, language=language)
        for name, path in (("assets", "/assets"), ("pictures", "/uploads")):
            await tab.goto(path)
            await tab.settled()
            if name == "assets":
                for part in await tab.page.locator("main details summary").all():
                    await part.click()
                await tab.settled()
            else:
                await tab.page.wait_for_function(
                    "() => [...document.querySelectorAll('main img')].filter(i => i.naturalWidth).length >= 4"
                )
            assert await tab.violations() == [], (name, size, language)
            assert await tab.overflow() <= 0, (name, size, language)
            await tab.shot(f"{name}-{size}-{theme}" + ("" if language == "en" else f"-{language}"))
