"""Reminders in the web app: made, edited, cancelled, undone; live; what members see."""

import re
import signal
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.e2e.web.conftest import PASSWORD, THEMES, Site, Tab, serving
from tests.e2e.web.fleet import Fleet, device_id, dismiss_notes, fleet

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

ZONE = "Europe/Berlin"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with serving(tmp_path_factory.mktemp("web"), MIMI_SERVER__TIMEZONE=ZONE) as made:
        await made.first_admin()
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def boards(module_site: Site) -> AsyncIterator[Fleet]:
    """Three devices, of which one is bob's."""
    async with fleet(module_site) as made, module_site.program() as ada:
        for number, name in enumerate(("Kitchen", "Bedroom", "Bob's desk"), 1):
            await made.appears(number, name, name)
        bob = (await ada.post("/users", json={"name": "bob", "password": PASSWORD})).json()["id"]
        moved = await ada.put(f"/devices/{device_id(3)}/owner", json={"owner_id": bob})
        assert moved.status_code == 200, moved.text
        yield made


def in_days(days: int, clock: str) -> str:
    """A local time some days from now."""
    return f"{datetime.now(ZoneInfo(ZONE)) + timedelta(days=days):%Y-%m-%d}T{clock}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def repeated(module_site: Site, boards: Fleet) -> None:
    """One reminder of each kind of repetition."""
    async with module_site.program() as ada:
        for number, text, clock, repeat in (
            (1, "Take out the bins", "20:00", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU"),
            (1, "", "06:45", "weekdays"), (2, "Pay the rent", "10:00", "FREQ=MONTHLY;BYMONTHDAY=1"),
            (2, "Family call", "19:00", "FREQ=MONTHLY;BYDAY=-1SU"),
            (1, "Vitamins", "08:00", "FREQ=DAILY;COUNT=5"),
            (2, "Anniversary", "09:00", "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=8"),
        ):  # fmt: skip
            wanted = {
                "device_id": device_id(number),
                "at": in_days(1, clock),
                "text": text,
                "repeat": repeat,
            }
            made = await ada.post("/reminders", json=wanted)
            assert made.status_code == 201, made.text


def row(tab: Tab, name: str) -> Locator:
    return tab.page.get_by_role("row", name=re.compile(re.escape(name)))


async def choose_device(tab: Tab, name: str) -> None:
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_role("combobox", name="Device").click()
    await tab.page.get_by_role("option", name=re.compile(name)).click()
    await expect(dialog.get_by_role("combobox", name="Device")).to_have_value(name)


async def test_without_any_the_page_says_what_to_do(site: Site, boards: Fleet) -> None:
    for theme in THEMES:
        tab = await site.tab(theme=theme)
        await tab.goto("/reminders")
        await expect(tab.page.get_by_text("Nothing is set")).to_be_visible()
        assert await tab.violations() == []
        await tab.shot(f"reminders-empty-desktop-{theme}")
        await tab.page.get_by_role("tab", name="Ended").click()
        await expect(tab.page.get_by_text("Nothing ended within the last days")).to_be_visible()


async def test_a_reminder_is_made_made_weekly_cancelled_and_undone(site: Site, boards: Fleet) -> None:
    tab = await site.tab()
    tab.expected = ["422"]
    await tab.goto("/reminders")
    await tab.page.get_by_role("button", name="New").first.click()
    dialog = tab.page.get_by_role("dialog")
    await choose_device(tab, "Kitchen")
    await dialog.get_by_label("What to be reminded of").fill("Water the plants")
    at = in_days(3, "18:30")
    await dialog.get_by_label("Date").fill(at[:10])
    await dialog.get_by_label("Time", exact=True).fill("18:30")
    await expect(dialog.get_by_text("18:30").first).to_be_visible()
    await expect(dialog.get_by_text(f"the server’s ({ZONE})")).to_be_visible()
    await dialog.get_by_role("combobox", name="Repetition").select_option("custom")
    await dialog.get_by_label("Rule").fill("FREQ=SOMETIMES")
    await expect(dialog.get_by_text("FREQ must be one of")).to_be_visible()
    await expect(dialog.get_by_role("button", name="Set")).to_be_disabled()
    await dialog.get_by_role("combobox", name="Repetition").select_option("none")
    await dialog.get_by_role("button", name="Set").click()
    await expect(row(tab, "Water the plants")).to_contain_text("once")
    await expect(row(tab, "Water the plants")).to_contain_text("18:30")

    await tab.page.get_by_role("button", name="Change Water the plants").click()
    await dialog.get_by_role("combobox", name="Repetition").select_option("weekly")
    for day in ("Monday", "Thursday"):
        await dialog.get_by_role("checkbox", name=day).check(force=True)
    chosen = datetime.fromisoformat(at).strftime("%A")
    if chosen not in ("Monday", "Thursday"):
        await dialog.get_by_role("checkbox", name=chosen).uncheck(force=True)
    await expect(dialog.get_by_role("list").get_by_role("listitem")).to_have_count(4)
    assert await tab.violations() == []
    await tab.shot("reminders-edit-desktop-light")
    await dialog.get_by_role("button", name="Save").click()
    await expect(row(tab, "Water the plants")).to_contain_text("every week on Monday and Thursday")
    async with site.program() as ada:
        (kept,) = (await ada.get("/reminders")).json()["items"]
        assert kept["repeat"] == "FREQ=WEEKLY;BYDAY=MO,TH"
    await tab.page.get_by_role("button", name="Next times of Water the plants").click()
    await expect(dialog.get_by_role("listitem")).to_have_count(8)
    await tab.shot("reminders-next-desktop-light")
    await dialog.get_by_role("button", name="Close").last.click()

    await tab.page.get_by_role("button", name="Cancel Water the plants").click()
    await expect(row(tab, "Water the plants")).to_have_count(0)
    await tab.page.get_by_role("button", name="Undo").click()
    await expect(row(tab, "Water the plants")).to_be_visible()
    await tab.page.get_by_role("button", name="Cancel Water the plants").click()
    await dismiss_notes(tab)
    await expect(tab.page.get_by_text("Nothing is set")).to_be_visible()
    async with site.program() as ada:
        assert (await ada.get("/reminders")).json()["items"] == []


async def test_a_timer_is_made_and_what_others_set_appears(site: Site, boards: Fleet) -> None:
    tab = await site.tab(size="phone")
    await tab.goto("/reminders")
    await tab.page.get_by_role("button", name="New").first.click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_role("radio", name="Timer").check()
    await choose_device(tab, "Bedroom")
    await dialog.get_by_label("Minutes").fill("90")
    await dialog.get_by_label("Minutes").fill("45")
    await dialog.get_by_label("Name").fill("Laundry")
    assert await tab.violations() == []
    assert await tab.overflow() <= 0
    await tab.shot("reminders-timer-phone-light")
    await dialog.get_by_role("button", name="Set").click()
    await expect(row(tab, "Laundry")).to_contain_text("in 44 minutes")
    async with site.program() as ada:
        wanted = {
            "device_id": device_id(1),
            "at": in_days(1, "07:15"),
            "text": "Take the pill",
            "repeat": "daily",
        }
        made = (await ada.post("/reminders", json=wanted)).json()
        await expect(row(tab, "Take the pill")).to_contain_text("every day")
        assert (await ada.delete(f"/reminders/{made['id']}")).status_code == 204
    await expect(row(tab, "Take the pill")).to_have_count(0)


async def test_those_of_a_member_are_of_the_own_devices(site: Site, boards: Fleet) -> None:
    async with site.program() as ada:
        for number, text in ((1, "Ada's secret"), (3, "Call the dentist")):
            wanted = {"device_id": device_id(number), "at": in_days(2, "09:00"), "text": text}
            assert (await ada.post("/reminders", json=wanted)).status_code == 201
    tab = await site.tab(as_="bob")
    await tab.goto("/reminders")
    await expect(row(tab, "Call the dentist")).to_be_visible()
    await expect(tab.page.get_by_text("Ada's secret")).to_have_count(0)
    await tab.page.get_by_role("combobox", name="Device").click()
    await expect(tab.page.get_by_role("option")).to_have_text(
        [re.compile("All devices"), re.compile("Bob's desk")]
    )


async def test_an_open_page_goes_on_after_a_restart(site: Site, boards: Fleet) -> None:
    tab = await site.tab()
    tab.expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET"]
    async with site.program() as ada:
        before = {"device_id": device_id(2), "at": in_days(2, "10:00"), "text": "Water the garden"}
        assert (await ada.post("/reminders", json=before)).status_code == 201
    await tab.goto("/reminders")
    await expect(row(tab, "Water the garden")).to_be_visible()
    await site.server.restart(signal.SIGKILL)
    async with site.program() as ada:
        timer = {"device_id": device_id(2), "seconds": 1, "text": "Eggs"}
        assert (await ada.post("/reminders", json=timer)).status_code == 201
    await expect(row(tab, "Eggs")).to_contain_text("still to be told")


@pytest.mark.usefixtures("repeated")
@pytest.mark.parametrize("theme", THEMES)
async def test_every_size_and_language(site: Site, theme: str) -> None:
    words = {
        "en": ["every 2 weeks on Tuesday", "on weekdays", "every month on the last Sunday"],
        "ru": ["каждые 2 недели по вторникам", "ещё 5 раз", "каждый месяц: последнее воскресенье"],
        "vi": ["mỗi 2 tuần vào thứ Ba"], "zh": ["每 2 周：周二"], "ja": ["2週間ごと 火曜日"],
    }  # fmt: skip
    for language, said in words.items():
        tab = await site.tab(size="phone", theme=theme, language=language)
        await tab.goto("/reminders")
        await tab.settled()
        for each in said:
            await expect(tab.page.locator("main")).to_contain_text(each)
        assert await tab.violations() == [], language
        assert await tab.overflow() <= 0, language
        await tab.shot(f"reminders-phone-{theme}" + ("" if language == "en" else f"-{language}"))
    tab = await site.tab(theme=theme)
    await tab.goto("/reminders")
    await tab.settled()
    assert await tab.violations() == []
    await tab.shot(f"reminders-desktop-{theme}")
