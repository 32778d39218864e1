"""Home: what goes on, what needs a person, and a newcomer's first day."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.e2e.web.conftest import PASSWORD, SIZES, THEMES, Site, serving
from tests.e2e.web.home_soak import heap_of, passwords
from tests.e2e.web.house import PLACES, fill

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A house with a past, an administrator, and the member bob, who has one of its devices."""
    folder = tmp_path_factory.mktemp("house")
    await fill(folder)
    async with serving(folder) as made:
        await made.first_admin()
        async with made.program() as ada:
            bob = await ada.post("/users", json={"name": "bob", "password": PASSWORD, "role": "member"})
            assert bob.status_code == 201, bob.text
            moved = await ada.put(
                f"/devices/{PLACES[1].device_id}/owner", json={"owner_id": bob.json()["id"]}
            )
            assert moved.status_code == 200, moved.text
        yield made


@asynccontextmanager
async def talking(site: Site, mac: str, *said: str) -> AsyncIterator[None]:
    """A simulated device that says these things, one after the other, and then leaves."""
    says = [f"--say={text}" for text in said]
    running = asyncio.create_task(
        site.server.run("device", "--ota", site.server.ota, "--mac", mac, *says, timeout=60)
    )
    try:
        yield
        left = await running
        assert left.code == 0, left.err
    finally:
        running.cancel()
        await asyncio.wait({running})


def tile(page: Page, name: str) -> str:
    return f"xpath=//dt[normalize-space()='{name}']/following-sibling::dd//span[contains(@class,'value')]"


async def test_device_appears_talks_and_goes_away_under_an_open_page(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/")
    online, live = (
        tab.page.locator(tile(tab.page, name)) for name in ("Devices online", "Live conversations")
    )
    turns = tab.page.locator(tile(tab.page, "Turns"))
    await expect(online).to_have_text("0 of 5")
    await expect(tab.page.get_by_text("Nobody talks at the moment")).to_be_visible()
    before = int((await turns.inner_text()).replace(",", ""))
    async with talking(site, "02:00:00:00:77:01", "what time is it", "hello"):
        await expect(online).to_have_text("1 of 6")
        await expect(live).to_have_text("1")
        row = tab.page.get_by_role("row").filter(has_text="02-00-00-00-77-01")
        await expect(row).to_contain_text(re.compile("opened|listening|thinking|speaking"))
        await tab.shot("home-talking-desktop-light")
    await expect(live).to_have_text("0")
    await expect(online).to_have_text("0 of 6")
    await expect(turns).to_have_text(f"{before + 2:,}")
    await expect(tab.page.get_by_text("Nobody talks at the moment")).to_be_visible()


async def test_problem_appears_with_its_cure_and_goes_when_mended(site: Site) -> None:
    """Nobody reloads: a device waits for its code, is allowed, and the card is gone."""
    tab = await site.tab()
    await tab.goto("/")
    problems = tab.page.get_by_role("region", name="What needs you")
    await expect(problems).to_contain_text("There is no language model")
    await expect(problems).not_to_contain_text("waits to be allowed")
    async with site.program() as ada:
        device = f"/devices/{PLACES[3].device_id}"
        changed = await ada.patch(device, json={"transport": "websocket"})
        assert changed.status_code == 200
    fall_back(site.server.folder, PLACES[3].device_id)
    await expect(problems).to_contain_text("Its audio does not arrive over UDP")
    await expect(problems.get_by_role("link", name="Hall panel")).to_be_visible()
    await tab.shot("home-problems-desktop-light")
    await problems.get_by_role("button", name="Back to UDP").click()
    await expect(tab.page.get_by_text("goes back to UDP at its next start")).to_be_visible()
    await expect(problems).not_to_contain_text("Its audio does not arrive over UDP")


def fall_back(folder: Path, device_id: str) -> None:
    """As the server does for a device whose datagrams don't arrive."""
    import sqlite3

    with sqlite3.connect(folder / "data/mimi.db", timeout=20) as database:
        database.execute(
            "UPDATE devices SET transport = 'websocket', fallback_at = '2026-11-20 09:15:00' WHERE id = ?",
            (device_id,),
        )
    database.close()


async def test_member_sees_his_devices_and_no_problems_of_the_server(site: Site) -> None:
    tab = await site.tab(as_="bob", size="phone")
    await tab.goto("/")
    await expect(tab.page.locator(tile(tab.page, "Devices online"))).to_have_text("0 of 1")
    await expect(tab.page.get_by_role("link", name="Linh’s desk").first).to_be_visible()
    await expect(tab.page.get_by_text("There is no language model")).to_be_hidden()
    await expect(tab.page.get_by_text("Kitchen speaker")).to_be_hidden()
    await tab.settled()
    assert await tab.violations() == []
    await tab.shot("home-member-phone-light")


async def test_page_is_right_again_after_a_server_restart(site: Site) -> None:
    tab = await site.tab()
    tab.expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET"]
    await tab.goto("/")
    turns = tab.page.locator(tile(tab.page, "Turns"))
    before = int((await turns.inner_text()).replace(",", ""))
    await site.server.restart(signal.SIGKILL)
    async with talking(site, "02:00:00:00:77:02", "what time is it"):
        await expect(tab.page.locator(tile(tab.page, "Live conversations"))).to_have_text("1")
    await expect(turns).to_have_text(f"{before + 1:,}")


async def test_open_page_keeps_nothing_of_what_happened(site: Site) -> None:
    """After 200 further events there are no more bytes, nodes and listeners than before them."""
    tab = await site.tab()
    tab.expected = ["429"]
    await tab.goto("/")
    await tab.page.locator("dl .value").first.wait_for()
    session = await tab.page.context.new_cdp_session(tab.page)
    ((name, password),) = await passwords(site, 1)
    found = []
    for _ in range(3):
        await come_and_go(site, name, password, 100)
        await expect(tab.page.locator(tile(tab.page, "Devices online"))).to_contain_text("0 of")
        found.append(await heap_of(session))
    (_, (heap, nodes, listeners), (heap_after, nodes_after, listeners_after)) = found
    assert heap_after < heap + 1_000_000
    assert nodes_after <= nodes + 200
    assert listeners_after <= listeners + 50


async def come_and_go(site: Site, name: str, password: str, times: int) -> None:
    """A device connects and leaves: two events each time."""
    port = re.search(r"MQTT\s+(?:\S+:)?(\d+)", site.server.welcome)
    assert port
    for _ in range(times):
        async with aiomqtt.Client(
            "127.0.0.1", int(port[1]), identifier="soak-0", username=name, password=password
        ):
            pass


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
async def test_house_in_both_themes_and_sizes(site: Site, size: str, theme: str) -> None:
    for language in ("en",) if size == "desktop" else ("en", "ru", "vi"):
        tab = await site.tab(size=size, theme=theme, language=language)
        await tab.goto("/")
        await tab.page.locator("dl .value").first.wait_for()
        await tab.settled()
        assert await tab.overflow() <= 0
        if language == "en":
            assert await tab.violations() == []
        await tab.shot(f"home-{size}-{theme}-{language}")


async def test_newcomer_is_led_to_setup_and_talk(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        await site.first_admin()
        for size, theme in (("desktop", "light"), ("phone", "dark")):
            tab = await site.tab(size=size, theme=theme)
            await tab.goto("/")
            welcome = tab.page.get_by_role("region", name="Welcome")
            await expect(welcome.get_by_role("link", name="Set up")).to_have_attribute("href", "/setup")
            await expect(welcome.get_by_role("link", name="Talk in the browser")).to_have_attribute(
                "href", "/talk"
            )
            await tab.settled()
            assert await tab.violations() == []
            await tab.shot(f"home-first-day-{size}-{theme}")
        assert await site.close_tabs() == []
