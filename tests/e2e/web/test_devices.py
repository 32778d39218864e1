"""Devices in the web app: the list, one device with a simulated one behind it, rights, a fleet."""

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from mimi_mqtt.cli.device.client import DeviceOptions, converse
from tests.e2e.web import devices_data
from tests.e2e.web.conftest import PASSWORD, SIZES, THEMES, Site, Tab, serving
from tests.e2e.web.devices_data import HALL, KITCHEN

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

TABS = ("overview", "control", "tools", "trace", "log", "settings")
BROKEN = [
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_CONTENT_LENGTH_MISMATCH",
    "ERR_EMPTY",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
]
"""What a browser logs of requests that a killed server leaves."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A household's server; bob, a member, shares nothing yet."""
    folder = tmp_path_factory.mktemp("devices")
    await devices_data.household(folder)
    async with serving(folder) as made:
        await made.first_admin()
        async with made.program() as api:
            given = {"name": "bob", "password": PASSWORD, "display_name": "Bob"}
            assert (await api.post("/users", json=given)).status_code == 201
        yield made


@contextlib.asynccontextmanager
async def device(site: Site, device_id: str = KITCHEN, **options: Any) -> AsyncIterator[None]:
    """A simulated device, idle unless `options` say more, until the end of the block."""
    given = {"idle_s": 600.0} | options if "text" not in options else options
    ota = site.server.ota
    task = asyncio.create_task(converse(DeviceOptions(ota=ota, mac=device_id.replace("-", ":"), **given)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def row(tab: Tab, name: str) -> Any:
    return tab.page.get_by_role("row").filter(has_text=name)


async def test_device_appears_talks_and_goes_away_while_the_page_is_open(site: Site) -> None:
    tab, listed = await site.tab(), await site.tab()
    await listed.goto("/devices")
    await expect(row(listed, "Kitchen")).to_contain_text("Away")
    await tab.goto(f"/devices/{KITCHEN}")
    heading = tab.page.locator("header").filter(has=tab.page.locator("h1"))
    await expect(heading).to_contain_text("Away")
    await expect(tab.page.locator(".legend li")).to_have_count(4)
    before = await tab.page.locator(".bar i.session").count()
    assert before == 7
    async with device(site, text="Hey Mimi", timeout_s=60):
        await expect(heading).to_contain_text("Connected")
        await expect(row(listed, "Kitchen")).to_contain_text("Connected")
        await expect(
            tab.page.get_by_text(re.compile("^(opened|listening|thinking|speaking)$"))
        ).to_be_visible()
        # A screen reader is told of the connection and the state, not of each packet.
        told = tab.page.get_by_role("region", name="At this moment").locator("[aria-live]")
        await expect(told).to_have_count(2)
        await expect(told.filter(has_text="Address")).to_have_count(0)
        await expect(tab.page.locator(".bar i.session")).to_have_count(before + 1)
    await expect(heading).to_contain_text("Away")
    await expect(row(listed, "Kitchen")).to_contain_text("Away")
    await tab.page.get_by_text(re.compile("entries")).click()
    # The session still waits for the device's next connection; the connection itself is over.
    connection = tab.page.get_by_role("row").filter(has_text="Connected").first
    await expect(connection).to_be_visible()
    await expect(connection).not_to_contain_text("goes on")


async def test_volume_slider_changes_the_device_itself(site: Site) -> None:
    tab = await site.tab()
    async with device(site), site.program() as api:
        await tab.goto(f"/devices/{KITCHEN}?tab=control")
        asked = {"tool": "self.get_device_status"}
        await until_connected(api)
        assert (await api.post(f"/devices/{KITCHEN}/commands/tool", json=asked)).status_code == 200
        await tab.page.reload()
        slider = tab.page.get_by_role("slider", name="Volume")
        await expect(slider).to_have_value("70")
        await slider.fill("35")
        async with tab.page.expect_response(lambda answer: "commands/tool" in answer.url) as done:
            pass
        assert (await done.value).status == 200
        told = (await api.post(f"/devices/{KITCHEN}/commands/tool", json=asked)).json()["result"]["text"]
        assert json.loads(told)["audio_speaker"]["volume"] == 35


async def until_connected(api: Any, device_id: str = KITCHEN) -> None:
    """Until the server knows of the device's connection."""
    async with asyncio.timeout(20):
        while not (await api.get(f"/devices/{device_id}")).json()["presence"]["connected"]:
            pass  # each round waits for an answer


async def test_tool_form_tells_what_is_wrong_and_shows_the_result(site: Site) -> None:
    tab = await site.tab()
    async with device(site), site.program() as api:
        await until_connected(api)
        await tab.goto(f"/devices/{KITCHEN}?tab=tools")
        await tab.page.get_by_text("self.audio_speaker.set_volume").click()
        form = tab.page.locator("form").filter(has=tab.page.get_by_label("volume", exact=True))
        await form.get_by_label("volume", exact=True).fill("101")
        await form.get_by_role("button", name="Run").click()
        await expect(form).to_contain_text("At most 100.")
        await form.get_by_label("volume", exact=True).fill("")
        await expect(form).to_contain_text("This is needed.")
        await form.get_by_label("volume", exact=True).fill("40")
        await form.get_by_role("button", name="Run").click()
        await expect(form.get_by_role("status")).to_contain_text("true")
        await tab.page.get_by_text("self.get_device_status").click()
        form = tab.page.locator("details[open]").filter(has_text="self.get_device_status").locator("form")
        await form.get_by_role("button", name="Run").click()
        await expect(form.get_by_role("status")).to_contain_text('"volume": 40')


@pytest.mark.parametrize("transport", ["mqtt", "websocket"])
async def test_trace_shows_hello_without_its_key_and_never_a_secret(site: Site, transport: str) -> None:
    tab = await site.tab()
    await tab.goto(f"/devices/{KITCHEN}?tab=trace")
    await expect(tab.page.get_by_text("Live", exact=True)).to_be_visible()
    lines = tab.page.locator("ol.lines > li")
    hello = lines.filter(has=tab.page.locator("strong", has_text=re.compile("^hello$")))
    async with device(site, text="Hey Mimi", timeout_s=60, transport=transport):
        await expect(hello).to_have_count(2)
        await expect(lines.filter(has_text='"tools/list"').first).to_be_visible()
        await tab.page.get_by_role("button", name="Pause").click()
    answer = hello.filter(has_text="To the device")
    await answer.locator("summary").click()
    if transport == "mqtt":
        await expect(answer.locator("pre")).to_contain_text('"key": "***"')
    text = await tab.page.locator("ol.lines").inner_text()
    assert re.search(r'"(key|nonce|token|password)": ?"(?!\*\*\*")', text) is None
    assert re.search(r"\b[0-9a-f]{32}\b", re.sub(r'"session_id": ?"[^"]*"', "", text)) is None
    await expect(tab.page.get_by_text(re.compile("^Paused"))).to_be_visible()
    await tab.page.get_by_label("Type").select_option("hello")
    await expect(lines).to_have_count(2)
    async with tab.page.expect_download() as saving:
        await tab.page.get_by_role("button", name="Save as JSON lines").click()
    saved = await asyncio.to_thread(Path(await (await saving.value).path()).read_text, encoding="utf-8")
    kept = [json.loads(line) for line in saved.splitlines()]
    assert [(each["type"], each["direction"]) for each in kept] == [("hello", "up"), ("hello", "down")]


async def test_batch_tells_of_each_device_what_came_of_it(site: Site) -> None:
    tab = await site.tab()
    held: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
    await tab.page.route("**/devices?limit=200*", lambda route: held.set_result(route), times=1)
    await tab.goto("/devices")
    async with site.program() as api:
        for name in ("Hall", "Workshop", "Bedside"):
            await tab.page.get_by_label(f"Choose {name}").check()
        # Those that are filtered away are not changed; the link to the page shows all again.
        change = tab.page.get_by_role("button", name="Change", exact=True)
        await tab.page.get_by_role("searchbox").fill("Kitchen")
        await expect(row(tab, "Hall")).to_have_count(0)
        await expect(change).to_have_count(0)
        await tab.page.get_by_role("navigation").first.get_by_role("link", name="Devices").click()
        await expect(tab.page.get_by_role("searchbox")).to_have_value("")
        await change.click()
        # Meanwhile somebody else changes one of them, and forgets another.
        assert (await api.patch(f"/devices/{HALL}", json={"tags": ["ground floor"]})).status_code == 200
        assert (await api.delete("/devices/aa-bb-cc-00-11-04")).status_code == 204
        dialog = tab.page.get_by_role("dialog")
        await dialog.get_by_label("What to change").select_option("add-tag")
        await dialog.get_by_label("Add a tag").fill("cellar")
        await dialog.get_by_role("button", name="Change", exact=True).click()
        # What is chosen while it runs is not what was asked for.
        asking = await held
        await dialog.get_by_label("What to change").select_option("room")
        await asking.continue_()
        await expect(dialog).to_contain_text("2 changed, 1 not")
        forgotten = dialog.get_by_role("listitem").filter(has_text="aa-bb-cc-00-11-04")
        await expect(forgotten).to_contain_text("no device")
        await dialog.get_by_role("button", name="Close").last.click()
        await expect(row(tab, "Hall")).to_contain_text("cellar")
        hall = (await api.get(f"/devices/{HALL}")).json()
        assert (hall["tags"], hall["room"]) == (["ground floor", "cellar"], "Hall")


async def test_two_editors_lose_nothing(site: Site) -> None:
    tab = await site.tab()
    tab.expected = ["412"]
    await tab.goto(f"/devices/{HALL}?tab=settings")
    await tab.page.get_by_label("Name").fill("Front hall")
    async with site.program() as api:
        assert (await api.patch(f"/devices/{HALL}", json={"room": "Entrance"})).status_code == 200
    await tab.page.get_by_role("button", name="Save").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("Somebody else changed this device")
    await tab.page.get_by_role("button", name="Take the other version").click()
    await expect(tab.page.get_by_label("Room")).to_have_value("Entrance")
    await expect(tab.page.get_by_label("Name")).to_have_value("Front hall")
    held: asyncio.Future[Route] = asyncio.get_running_loop().create_future()

    async def hold(route: Route) -> None:
        if route.request.method == "PATCH":
            held.set_result(route)
        else:
            await route.continue_()

    await tab.page.route(f"**/devices/{HALL}", hold)
    await tab.page.get_by_role("button", name="Save").click()
    # What is typed while it is saved is kept.
    saving = await held
    await tab.page.get_by_label("Notes").fill("By the door")
    await saving.continue_()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Front hall")
    await expect(tab.page.get_by_text("Saved", exact=True)).to_be_visible()
    await expect(tab.page.get_by_label("Notes")).to_have_value("By the door")
    await expect(tab.page.get_by_role("button", name="Save")).to_be_enabled()
    async with site.program() as api:
        saved = (await api.get(f"/devices/{HALL}")).json()
    assert (saved["name"], saved["room"]) == ("Front hall", "Entrance")


async def test_what_is_typed_and_chosen_outlasts_what_happens_meanwhile(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    await tab.goto(f"/devices/{KITCHEN}?tab=settings")
    heading = page.locator("header").filter(has=page.locator("h1"))
    await page.get_by_label("Room").fill("Pantry")
    owner = page.get_by_role("combobox", name="Owner")
    await owner.click()
    await owner.fill("bob")
    await page.get_by_role("option", name="Bob").click()
    await page.get_by_role("tab", name="Overview").click()
    await expect(page.get_by_label("Room")).to_be_hidden()
    await page.get_by_role("tab", name="Settings").click()
    await expect(page.get_by_label("Room")).to_have_value("Pantry")
    await page.get_by_role("link", name="Agents", exact=True).first.click()
    await expect(page.get_by_role("dialog")).to_contain_text("Leave without saving?")
    await page.get_by_role("button", name="Stay").click()
    await page.get_by_role("button", name="Give to", exact=True).click()
    # What the device keeps from its owner goes with it: this server is only asked.
    await page.route("**/owner", lambda route: route.fulfill(json={}))
    async with device(site), site.program() as api:
        await expect(heading).to_contain_text("Connected")
        async with page.expect_request("**/owner") as moved:
            await page.get_by_role("dialog").get_by_role("button", name="Give to").click()
        bob = (await api.get("/users", params={"text": "bob"})).json()["items"][0]["id"]
        assert (await moved.value).post_data_json == {"owner_id": bob}
        await expect(owner).to_have_value("Nobody")
        await expect(page.get_by_label("Room")).to_have_value("Pantry")


async def test_forgetting_can_be_taken_back(site: Site) -> None:
    tab = await site.tab()
    await tab.goto(f"/devices/{HALL}?tab=settings")
    # What is typed for a device that is forgotten is nothing to stay for.
    await tab.page.get_by_label("Room").fill("Pantry")
    await tab.page.get_by_role("button", name="Forget").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Devices")
    await expect(row(tab, "Kitchen")).to_have_count(1)
    await expect(row(tab, HALL)).to_have_count(0)
    await tab.page.get_by_role("button", name="Undo").click()
    async with site.program() as api:
        assert (await api.get(f"/devices/{HALL}")).status_code == 200


async def test_member_sees_his_own_devices_and_no_action_of_administrators(site: Site) -> None:
    async with site.program() as api:
        bob = next(each for each in (await api.get("/users")).json()["items"] if each["name"] == "bob")
        bedside = "aa-bb-cc-00-11-05"
        given = await api.put(f"/devices/{bedside}/owner", json={"owner_id": bob["id"]})
        assert given.status_code == 200
        await api.patch(f"/devices/{bedside}", json={"name": "Bob’s bedside"})
    tab = await site.tab(as_="bob")
    tab.expected = ["404"]
    await tab.goto("/devices")
    await expect(tab.page.get_by_role("link", name="Bob’s bedside")).to_be_visible()
    await expect(tab.page.get_by_role("row")).to_have_count(2)
    await expect(tab.page.get_by_role("link", name="Add a device")).to_have_count(0)
    await expect(tab.page.get_by_role("columnheader", name="Owner")).to_have_count(0)
    await tab.goto(f"/devices/{bedside}?tab=settings")
    await expect(tab.page.get_by_role("button", name="Give up")).to_be_visible()
    await expect(tab.page.get_by_label("Firmware channel")).to_have_count(0)
    await tab.page.get_by_role("tab", name="History").click()
    await expect(tab.page.get_by_role("heading", name="Changes by people")).to_have_count(0)
    await tab.page.get_by_role("tab", name="Settings").click()
    await tab.page.get_by_label("Room").fill("Attic")
    await tab.page.get_by_role("button", name="Give up").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Give up").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Devices")
    await expect(tab.page.get_by_role("link", name="Bob’s bedside")).to_have_count(0)
    await tab.page.goto(f"{site.url}/devices/{KITCHEN}")
    await expect(tab.page.get_by_role("alert")).to_contain_text("there is no device")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
async def test_every_part_can_be_read_by_everybody(site: Site, size: str, theme: str) -> None:
    tab = await site.tab(size=size, theme=theme)
    async with device(site), site.program() as api:
        await until_connected(api)
        await tab.goto("/devices")
        await expect(row(tab, "Kitchen")).to_contain_text("Connected")
        assert await tab.violations() == []
        assert await tab.overflow() <= 0
        await tab.shot(f"devices-list-{size}-{theme}")
        for name in TABS:
            await tab.goto(f"/devices/{KITCHEN}?tab={name}")
            await tab.settled()
            if name == "overview":
                await tab.page.locator(".u-legend").nth(2).wait_for()
            if name == "tools":
                await tab.page.get_by_text("self.audio_speaker.set_volume").click()
            if name == "trace":
                await expect(tab.page.get_by_text("Live", exact=True)).to_be_visible()
                await api.post(f"/devices/{KITCHEN}/commands/alert", json={"message": "Dinner is ready"})
                await tab.page.locator("ol.lines > li").first.wait_for()
            if size == "desktop" or name == "settings":  # the same elements at another width
                assert await tab.violations() == [], name
            assert await tab.overflow() <= 0, name
            await tab.shot(f"devices-{name}-{size}-{theme}")


@pytest.mark.parametrize("language", ["ru", "vi"])
async def test_longer_languages_fit_a_phone(site: Site, language: str) -> None:
    tab = await site.tab(size="phone", language=language)
    await tab.goto("/devices")
    await tab.settled()
    assert await tab.overflow() <= 0
    await tab.shot(f"devices-list-phone-{language}")
    for name in TABS:
        await tab.goto(f"/devices/{KITCHEN}?tab={name}")
        await tab.settled()
        assert await tab.overflow() <= 0, name
        await tab.shot(f"devices-{name}-phone-{language}")


async def test_open_page_is_right_again_after_a_crash_of_the_server(site: Site) -> None:
    tab = await site.tab()
    tab.expected = [*BROKEN, "401", "503"]
    async with device(site), site.program() as api:
        await until_connected(api)
        await tab.goto(f"/devices/{KITCHEN}")
        heading = tab.page.locator("header").filter(has=tab.page.locator("h1"))
        await expect(heading).to_contain_text("Connected")
        await site.server.stop(signal.SIGKILL)
    await expect(tab.page.get_by_text("The server does not answer.").first).to_be_visible()
    await site.server.restart()
    await expect(tab.page.get_by_text("The server does not answer.")).to_have_count(0)
    await expect(heading).to_contain_text("Away")
    async with device(site):
        await expect(heading).to_contain_text("Connected")


async def test_page_that_lacks_a_part_of_the_app_is_whole_after_a_crash_of_the_server(site: Site) -> None:
    """The server ends before the charts' code is loaded: a page loaded again at once would be the browser's
    own error page, which stays."""
    tab = await site.tab()
    tab.expected = [*BROKEN, "401", "503"]
    asked, killed = asyncio.Event(), asyncio.Event()

    async def after_the_crash(route: Route) -> None:
        asked.set()
        await killed.wait()
        await route.abort("connectionrefused")

    await tab.page.route(re.compile(r"/assets/uPlot\.esm-.*\.js"), after_the_crash, times=1)
    await tab.goto(f"/devices/{KITCHEN}")
    await asked.wait()
    await site.server.stop(signal.SIGKILL)
    killed.set()
    await expect(tab.page.get_by_text("The server did not answer.")).to_be_visible()
    await expect(tab.page.get_by_text("The server does not answer.")).to_be_visible()
    await expect(tab.page.locator("h1")).to_have_text("Kitchen")
    await site.server.restart()
    await expect(tab.page.locator(".u-legend").first).to_be_visible()
    await expect(tab.page.get_by_text("The server does not answer.")).to_have_count(0)


async def test_empty_list_leads_to_the_first_run(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        await site.first_admin()
        for size in SIZES:
            for theme in THEMES:
                tab = await site.tab(size=size, theme=theme)
                await tab.goto("/devices")
                await expect(tab.page.get_by_text("No devices yet")).to_be_visible()
                assert await tab.violations() == []
                assert await tab.overflow() <= 0
                await tab.shot(f"devices-empty-{size}-{theme}")
        await tab.page.get_by_role("link", name="Add a device").first.click()
        await expect(tab.page).to_have_url(re.compile("/setup$"))
        assert await site.close_tabs() == []


async def test_ten_thousand_devices_are_paged_and_found(tmp_path: Path) -> None:
    await devices_data.fleet(tmp_path, 10_000)
    async with serving(tmp_path) as site:
        await site.first_admin()
        tab = await site.tab()
        await tab.goto("/devices")
        rows = tab.page.locator("tbody tr")
        await expect(rows).to_have_count(50)
        await tab.page.get_by_role("button", name="Show more").click()
        await expect(rows).to_have_count(100)
        await tab.page.get_by_role("searchbox").fill("room 9999")
        await expect(rows).to_have_count(1)
        await tab.page.get_by_role("link", name="Room 9999").click()
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Room 9999")
        await tab.goto(f"/reminders?device={tab.page.url.rpartition('/')[2]}")
        await expect(tab.page.get_by_role("combobox", name="Device")).to_have_value("Room 9999")
        assert await site.close_tabs() == []
