"""Statistics, logs, diagnostics and about: what an administrator finds there, and what a member does."""

import asyncio
import csv
import io
import re
import signal
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Download, expect

from tests.e2e.web.conftest import PASSWORD, SIZES, THEMES, Site, Tab, serving
from tests.e2e.web.house import PLACES, fill

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

PAGES = ("statistics", "logs", "diagnostics", "about")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A house with a past, the administrator ada and the member bob."""
    folder = tmp_path_factory.mktemp("house")
    await fill(folder)
    async with serving(folder) as made:
        await made.first_admin()
        async with made.program() as ada:
            bob = await ada.post("/users", json={"name": "bob", "password": PASSWORD, "role": "member"})
            assert bob.status_code == 201, bob.text
        spoken = await made.server.run(
            "device", "--ota", made.server.ota, "--mac", "02:00:00:00:77:09", "--say", "what time is it"
        )
        assert spoken.code == 0, spoken.err
        yield made


async def saved(tab: Tab, button: str) -> Download:
    """The file that a button saves."""
    async with tab.page.expect_download() as downloading:
        await tab.page.get_by_role("button", name=button).click()
    return await downloading.value


async def content(download: Download) -> bytes:
    path = Path(await download.path())
    return await asyncio.to_thread(path.read_bytes)


async def test_statistics_by_time_and_group_and_as_csv(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/statistics")
    table = tab.page.get_by_role("region", name="Numbers")
    await expect(table.get_by_role("row")).to_have_count(31)
    await tab.page.get_by_label("7 days").check()
    await expect(table.get_by_role("row")).to_have_count(8)
    await expect(tab.page).to_have_url(re.compile(r"days=7"))
    await table.get_by_label("Device", exact=True).check()
    await expect(table.get_by_role("link", name="Grandma’s radio")).to_be_visible()
    await table.get_by_label("Provider", exact=True).check()
    await expect(table.get_by_role("row").filter(has_text="openai")).to_contain_text(
        re.compile(r"[\d,]+ in, [\d,]+ out")
    )
    download = await saved(tab, "Download CSV")
    assert re.fullmatch(r"mimi-statistics-provider-[\d-]+\.csv", download.suggested_filename)
    rows = list(csv.DictReader(io.StringIO((await content(download)).decode())))
    assert {row["provider"] for row in rows} >= {"openai", "whisper-base", "hibari"}
    assert all(int(row["turns"]) > 0 for row in rows)
    await tab.page.reload()
    await expect(table.get_by_label("Provider", exact=True)).to_be_checked()
    await tab.page.get_by_label("From – to").check()
    await tab.page.get_by_label("First day").fill("2020-01-01")
    await tab.page.get_by_label("Last day").fill("2020-01-05")
    await expect(tab.page.get_by_text("Nothing was said in this time")).to_be_visible()


async def test_log_is_live_filtered_paused_and_saved(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/logs")
    await expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    lines = tab.page.get_by_role("region", name="Lines of the log").get_by_role("listitem")
    await expect(lines.filter(has_text="new device registered").first).to_be_visible()
    await tab.page.get_by_role("button", name="02-00-00-00-77-09").first.click()
    await expect(tab.page).to_have_url(re.compile("device=02-00-00-00-77-09"))
    await expect(lines.filter(has_text="turn 1")).to_be_visible()
    await tab.page.get_by_label("Text in the log").fill("goodbye")
    await expect(lines).to_have_count(1)
    await tab.page.get_by_role("button", name="Remove filters").click()
    await expect(lines.filter(has_text="new device registered").first).to_be_visible()
    await tab.page.get_by_role("button", name="Pause").click()
    before = await lines.count()
    spoken = await site.server.run(
        "device", "--ota", site.server.ota, "--mac", "02:00:00:00:77:0a", "--say", "hello"
    )
    assert spoken.code == 0, spoken.err
    await expect(tab.page.get_by_text(re.compile(r"new lines? waits?"))).to_be_visible()
    assert await lines.count() == before
    await tab.page.get_by_role("button", name="Go on").click()
    await expect(lines.filter(has_text="02-00-00-00-77-0a").first).to_be_visible()
    text = (await content(await saved(tab, "Save to a file"))).decode()
    assert "02-00-00-00-77-0a" in text
    assert text.index("77-09") < text.index("77-0a")
    assert "hello" not in text  # what was said is in no log


async def test_log_goes_on_after_a_server_restart(site: Site) -> None:
    tab = await site.tab()
    tab.expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET"]
    await tab.goto("/logs")
    await expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    await site.server.stop(signal.SIGKILL)
    await expect(tab.page.get_by_text("connection lost, trying again")).to_be_visible()
    await site.server.restart()
    await expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    spoken = await site.server.run(
        "device", "--ota", site.server.ota, "--mac", "02:00:00:00:77:0b", "--say", "hello"
    )
    assert spoken.code == 0, spoken.err
    await expect(tab.page.get_by_text("02-00-00-00-77-0b").first).to_be_visible()


async def test_archive_is_downloaded(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/diagnostics")
    await expect(tab.page.get_by_text("nothing found").first).to_be_visible()
    download = await saved(tab, "Download archive")
    assert download.suggested_filename.endswith(".zip")
    with zipfile.ZipFile(io.BytesIO(await content(download))) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist()]
    assert len(texts) > 8
    for place in PLACES:
        assert not any(place.device_id in text or place.name in text for text in texts)
    await expect(tab.page.get_by_text("The archive was saved")).to_be_visible()


async def test_licences_of_both_sides_can_be_searched_and_read(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/about")
    search = tab.page.get_by_role("searchbox")
    await search.fill("fastapi")
    await tab.page.get_by_role("button", name="Read fastapi", exact=True).click()
    await expect(tab.page.get_by_role("dialog").locator("pre")).to_contain_text("MIT License")
    await tab.page.keyboard.press("Escape")
    await search.fill("svelte")
    await tab.page.get_by_role("tab", name="Web app").click()
    await tab.page.get_by_role("button", name="Read svelte", exact=True).click()
    await expect(tab.page.get_by_role("dialog").locator("pre")).to_contain_text(
        "Permission is hereby granted"
    )
    await tab.page.keyboard.press("Escape")
    await search.fill("no such package")
    await expect(tab.page.get_by_text("No package fits")).to_be_visible()


async def test_member_finds_about_and_his_statistics_only(site: Site) -> None:
    tab = await site.tab(as_="bob")
    tab.expected = ["403"]
    await tab.goto("/about")
    await expect(tab.page.get_by_text("OTA address for devices")).to_be_visible()
    await expect(tab.page.get_by_text("Schema", exact=True)).to_be_hidden()
    menu = tab.page.get_by_role("navigation").first
    await expect(menu.get_by_role("link", name="Statistics")).to_be_visible()
    for hidden in ("Logs", "Diagnostics"):
        await expect(menu.get_by_role("link", name=hidden)).to_be_hidden()
    await tab.goto("/statistics")
    await expect(tab.page.get_by_text("Nothing was said in this time")).to_be_visible()
    await tab.goto("/logs")
    await expect(tab.page.get_by_role("alert")).to_be_visible()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", PAGES)
async def test_pages_in_both_themes_and_sizes(site: Site, page: str, size: str, theme: str) -> None:
    for language in ("en",) if size == "desktop" else ("en", "ru" if theme == "light" else "vi"):
        tab = await site.tab(size=size, theme=theme, language=language)
        await tab.goto(f"/{page}")
        await tab.settled()
        if page == "statistics":
            await tab.page.locator(".u-legend").nth(2).wait_for()
        if page == "logs":
            await tab.page.locator("main li").first.wait_for()
        assert await tab.overflow() <= 0
        if language == "en":
            assert await tab.violations() == []
        await tab.shot(f"{page}-{size}-{theme}-{language}")
