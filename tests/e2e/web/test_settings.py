"""Settings and backups: what an administrator does there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from tests.e2e.web.conftest import SIZES, THEMES, Site, serving

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

WORDS = "correct horse battery staple"
FILE = """\
# The settings of this test.
session:
  idle_timeout_s: {idle}
log:
  level: info
backup:
  folder: {folder}
  passphrase_file: {words}
  at: "03:30"
  keep: 5
accounts:
  admin_password: "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$mZC4VvmGMGMTJdVGXYMK3Q"
"""


def write(folder: Path, idle: int) -> None:
    words = folder / "words"
    words.write_text(f"{WORDS}\n", encoding="utf-8")
    text = FILE.format(idle=idle, folder=folder / "backups", words=words)
    (folder / "broker.yaml").write_text(text, encoding="utf-8")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A server with a broker.yaml, and backups."""
    folder = tmp_path_factory.mktemp("settings")
    write(folder, 90)
    async with serving(folder) as made:
        await made.first_admin()
        yield made


async def test_settings_are_found_and_say_where_they_were_set(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/settings")
    await tab.page.get_by_role("searchbox").fill("idle_timeout")
    row = tab.page.get_by_role("main").get_by_role("listitem")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("broker.yaml, line 3")
    await expect(row).to_contain_text("90")
    await expect(row).to_contain_text("110")
    await expect(row).to_contain_text("Silence before the server says goodbye")
    await tab.page.get_by_role("searchbox").fill("no such setting")
    await expect(tab.page.get_by_text("No setting found")).to_be_visible()
    await tab.page.get_by_role("searchbox").fill("admin_password")
    await expect(row.first).to_contain_text("set, not shown")
    await expect(tab.page.get_by_text("argon2id$v")).to_have_count(0)
    await tab.page.get_by_role("searchbox").fill("find_llm")
    await expect(row.first).to_contain_text("variable MIMI_PROVIDERS__FIND_LLM")


async def test_a_changed_file_is_read_again(site: Site) -> None:
    write(site.server.folder, 60)
    with (site.server.folder / "broker.yaml").open("a", encoding="utf-8") as file:
        file.write("store:\n  keep_copies: 3\n")
    tab = await site.tab()
    await tab.goto("/settings")
    await tab.page.get_by_role("button", name="Read again").click()
    told = tab.page.get_by_role("dialog")
    await expect(told).to_contain_text("session.idle_timeout_s: 90.0 -> 60.0")
    await expect(told).to_contain_text("Needs a restart")
    await expect(told).to_contain_text("store.keep_copies")
    assert await tab.violations() == []
    await tab.shot("settings-read-desktop-light")
    await told.get_by_role("button", name="Done").click()
    await tab.page.get_by_role("searchbox").fill("idle_timeout")
    row = tab.page.get_by_role("main").get_by_role("listitem")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("60")
    (site.server.folder / "broker.yaml").write_text("session:\n  idle_timeout_s: never\n", encoding="utf-8")
    tab.expected = ["422", "409", "400"]
    await tab.page.get_by_role("button", name="Read again").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("session.idle_timeout_s")
    await tab.shot("settings-mistake-desktop-light")
    write(site.server.folder, 60)


async def test_a_backup_is_made_downloaded_checked_and_deleted(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/backups")
    await expect(tab.page.get_by_text("every day at 03:30")).to_be_visible()
    await tab.page.get_by_role("button", name="Back up now").click()
    row = tab.page.get_by_role("region", name="Backups").get_by_role("listitem").first
    await expect(row).to_contain_text("asked for by ada", timeout=60_000)
    await expect(row).to_contain_text("done", timeout=90_000)
    async with tab.page.expect_download() as waiting:
        await row.get_by_role("link", name="Download").click()
    download = await waiting.value
    content = await asyncio.to_thread(Path(await download.path()).read_bytes)
    assert content.startswith(b"mimi-mqtt backup 1\n")
    assert download.suggested_filename.endswith(".backup")

    # The answer to a check that was left is not that of the next one.
    check = tab.page.get_by_role("dialog")
    held: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
    await tab.page.route("**/check", lambda route: held.set_result(route), times=1)
    await row.get_by_role("button", name="Check").click()
    await check.get_by_label("Passphrase").fill(WORDS)
    await check.get_by_role("button", name="Check").click()
    route = await held
    await check.get_by_role("button", name="Cancel").click()
    await row.get_by_role("button", name="Check").click()
    await expect(check.get_by_label("Passphrase")).to_be_enabled()
    await route.fulfill(json={"made_at": "2026-01-01T00:00:00Z", "version": "1", "rows": {}, "files": 0})
    await check.get_by_label("Passphrase").press("End")
    await expect(check.get_by_text("It can be restored")).to_have_count(0)
    tab.expected = ["422"]
    await check.get_by_label("Passphrase").fill("not this one at all")
    await check.get_by_role("button", name="Check").click()
    await expect(check.get_by_role("alert")).to_contain_text("the passphrase is wrong", timeout=60_000)
    await check.get_by_label("Passphrase").fill(WORDS)
    await check.get_by_role("button", name="Check").click()
    await expect(check.get_by_text("It can be restored")).to_be_visible(timeout=60_000)
    await expect(check).to_contain_text("1 user")
    assert await tab.violations() == []
    await tab.shot("backups-check-desktop-light")
    await check.get_by_role("button", name="Done").click()
    assert WORDS not in site.server.log

    async with site.program() as api:
        told = {
            each["action"] for each in (await api.get("/audit", params={"action": "backup."})).json()["items"]
        }
    assert {"backup.start", "backup.download", "backup.check"} <= told


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
async def test_pages_are_readable_by_everyone(site: Site, size: str, theme: str) -> None:
    language = {
        ("desktop", "light"): "en",
        ("desktop", "dark"): "vi",
        ("phone", "light"): "ru",
        ("phone", "dark"): "vi",
    }
    tab = await site.tab(size=size, theme=theme, language=language[size, theme])
    for page in ("settings", "backups"):
        await tab.goto(f"/{page}")
        await tab.settled()
        assert await tab.violations() == [], page
        assert await tab.overflow() <= 0, page
        await tab.shot(f"{page}-{size}-{theme}")


async def test_a_backup_is_deleted(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/backups")
    rows = tab.page.get_by_role("region", name="Backups").get_by_role("listitem")
    await rows.first.wait_for()
    before = await rows.count()
    await rows.first.get_by_role("button", name="Delete the backup").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(rows).to_have_count(before - 1)
