"""Conversations: live, searched, looked into, asked again, saved and opened elsewhere, deleted."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from mimi_mqtt.store.conversations import save_turns
from mimi_mqtt.store.tables import Device
from mimi_mqtt.store.turn_record import ProviderUse, ToolSpan, TurnRecord
from tests.databases import sqlite_store
from tests.e2e.web.conftest import PASSWORD, SIZES, THEMES, Site, Tab, serving

SAID = ("--say", "set the volume to forty", "--say", "what time is it")
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

KITCHEN, NURSERY, OFFICE = (f"7c-df-a1-00-00-0{number}" for number in range(1, 4))
PROVIDERS = {"stt": "whisper", "llm": "openai", "tts": "piper"}
STAGES = {
    "endpoint": 540.0, "transcript": 702.0, "first_token": 1480.0, "first_sentence": 1544.0, "speech": 1490.0,
    "first_audio": 1618.0, "stop": 5218.0, "tools": 210.0,
}  # fmt: skip
USES = (
    ProviderUse("stt", "whisper", audio_s=2.4, cost=0.00024),
    ProviderUse("llm", "openai", input_tokens=842, output_tokens=61, cost=0.0011),
    ProviderUse("tts", "piper", characters=96),
)


def _turn(session: str, number: int, device: str, ago: timedelta, heard: str, reply: str) -> TurnRecord:
    at = datetime.now(UTC) - ago + timedelta(seconds=12 * number)
    return TurnRecord(
        session, device, number, at, "auto", heard, reply, "answered", STAGES, kind="utterance",
        agent="default", providers=PROVIDERS, uses=USES, heard_s=2.4, spoken_s=3.6,
    )  # fmt: skip


def _said(owner: str) -> list[TurnRecord]:
    """Some days of a household."""
    lamp = _turn(
        "evening", 1, KITCHEN, timedelta(hours=3), "Turn the kitchen light down to thirty percent, please.",
        "Done. The kitchen light is at 30 percent now.",
    )  # fmt: skip
    lamp = replace(
        lamp,
        tools_called=("light.get_state", "light.set_brightness"),
        tool_spans=(
            ToolSpan("light.get_state", 980.0, 64.0),
            ToolSpan("light.set_brightness", 1058.0, 146.0),
        ),
    )
    story = replace(
        _turn(
            "evening", 2, KITCHEN, timedelta(hours=3), "And tell me about the weather tomorrow.",
            "Tomorrow starts cloudy with some light rain in the morning, and",
        ),
        outcome="interrupted",
    )  # fmt: skip
    thanks = _turn("evening", 3, KITCHEN, timedelta(hours=3), "Thank you, that is enough.", "You're welcome.")
    late = replace(
        _turn("night", 1, OFFICE, timedelta(days=1), "What is on my calendar?", "Sorry, that went wrong."),
        outcome="failed", error="timeout", error_role="llm", agent="default",
    )  # fmt: skip
    told = replace(
        _turn("lunch", 1, KITCHEN, timedelta(days=1, hours=6), "", "Lunch is ready!"), kind="announcement"
    )
    vietnamese = _turn(
        "vi", 1, NURSERY, timedelta(days=2), "Bật đèn phòng khách giúp mình với", "Đèn phòng khách đã bật."
    )
    russian = _turn("ru", 1, OFFICE, timedelta(days=3), "Включи свет на кухне", "Свет на кухне включён.")
    bobs = [
        replace(_turn(f"tale-{n}", 1, NURSERY, timedelta(days=2 + n), heard, reply), owner_id=owner)
        for n, (heard, reply) in enumerate(
            [
                ("Tell me a story about a whale.", "Once upon a time, a small whale lost its song."),
                ("How far away is the moon?", "About 384,000 kilometres, on average."),
                ("Sing me a lullaby", "Hush now, little star, the night is near."),
            ]
        )
    ]
    return [lamp, story, thanks, late, told, replace(vietnamese, owner_id=owner), russian, *bobs]


async def _fill(site: Site) -> None:
    """bob, three devices and what was said to them, written as the server does."""
    async with site.program() as api:
        made = await api.post("/users", json={"name": "bob", "role": "member", "password": PASSWORD})
        assert made.status_code == 201, made.text
        bob = made.json()["id"]
    store = sqlite_store(site.server.folder / "data")
    await store.open()
    now = datetime.now(UTC)
    async with store.write() as session:
        for number, (device, name) in enumerate(
            ((KITCHEN, "Kitchen"), (NURSERY, "Children's room"), (OFFICE, "Study"))
        ):
            session.add(
                Device(
                    id=device,
                    client_id="c",
                    name=name,
                    board="bread-compact-wifi",
                    owner_id="",
                    revision=1000 + number,
                    created_at=now,
                    updated_at=now,
                    last_seen_at=now,
                )
            )
    async with store.write() as session:
        await save_turns(session, _said(bob))
    await store.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A household whose turns are recorded."""
    async with serving(tmp_path_factory.mktemp("house"), MIMI_ASSISTANT__RECORDINGS="true") as site:
        await site.first_admin()
        await _fill(site)
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def site(house: Site) -> AsyncIterator[Site]:
    yield house
    assert await house.close_tabs() == []


async def _talk(site: Site, *said: str) -> None:
    done = await site.server.run("device", "--ota", site.server.ota, *said, "--json")
    assert done.code == 0, done.err


async def _heard(site: Site, words: str) -> dict[str, Any]:
    """The turn in which these words were heard; a device says them, where no test before had it say them."""
    has_talked = False
    async with site.program() as api, asyncio.timeout(60):
        while True:
            found = (await api.get("/conversations/search", params={"q": words})).json()["items"]
            for each in found:
                if each["turn"]["heard"] == words:
                    return dict(each["turn"])
            if not has_talked:
                await _talk(site, *SAID)
                has_talked = True


async def test_a_device_that_talks_appears_live_with_its_sound_and_tools(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/conversations")
    await tab.settled()
    await expect(tab.page.get_by_role("link", name="set the volume to forty")).to_have_count(0)
    await _talk(site, *SAID)
    await tab.page.get_by_role("link", name="set the volume to forty").first.click()
    await expect(tab.page.get_by_role("heading", name="Transcript")).to_be_visible()
    await expect(tab.page.locator(".tools code").first).to_have_text("self.audio_speaker.set_volume")
    # The waterfall has the tool's own time.
    tool = tab.page.locator(".waterfall li", has_text="self.audio_speaker.set_volume")
    await expect(tool.locator(".bar.tool")).to_be_visible()
    for stage in ("Pause noticed", "Transcript", "First sound"):
        await expect(tab.page.locator(".waterfall li", has_text=stage).first).to_be_visible()
    await _plays(tab)
    await tab.shot("conversation-recorded-desktop-light")


async def _plays(tab: Tab) -> None:
    """Both sides were decoded, are some seconds long, and are played to where the page says."""
    player = tab.page.locator(".player").first
    await expect(player.locator("svg.user path")).to_be_visible()
    await expect(player.locator("svg.assistant path")).to_be_visible()
    assert 1.5 < float(await player.get_attribute("data-duration") or 0) < 30
    await player.get_by_role("button", name="Play").click()
    await expect(player.get_by_role("button", name="Pause")).to_be_visible()
    await tab.page.wait_for_function("() => Number(document.querySelector('.player input').value) > 0.2")
    await expect(tab.page.locator(".said.speaking")).to_have_count(1)
    await player.get_by_role("button", name="Pause").click()
    slider = player.get_by_role("slider", name="Position")
    await slider.focus()
    await slider.press("Home")
    await expect(slider).to_have_value("0")


async def test_search_finds_and_marks_words(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/conversations")
    await tab.page.get_by_role("searchbox").fill("den phong")
    await expect(tab.page.locator(".found mark").first).to_have_text("đèn")
    await tab.page.get_by_role("searchbox").fill("light*")
    await expect(tab.page.locator(".found li")).to_have_count(2)
    assert await tab.violations() == []
    await tab.shot("conversations-search-desktop-light")
    await tab.page.locator(".found a", has_text="cloudy").click()
    await expect(tab.page.locator("li.chosen mark")).to_have_text("light")
    await expect(tab.page.locator("li.chosen")).to_contain_text("interrupted")
    await tab.page.go_back()
    await expect(tab.page.get_by_role("searchbox")).to_have_value("light*")
    # A space that is typed stays, although nothing is looked for by it.
    await tab.page.get_by_role("searchbox").fill("turn ")
    await tab.page.keyboard.press("Enter")
    await expect(tab.page).to_have_url(re.compile("q=turn$"))
    await tab.page.keyboard.type("on")
    await expect(tab.page).to_have_url(re.compile("q=turn(%20|[+])on$"))
    await tab.page.get_by_role("searchbox").fill("xylophone")
    await expect(tab.page.get_by_text("Nothing found")).to_be_visible()
    await tab.shot("conversations-nothing-desktop-light")


async def test_filter_stands_in_the_address(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/conversations?outcome=failed")
    await expect(tab.page.locator("tbody tr")).to_have_count(1)
    await expect(tab.page.get_by_label("Outcome", exact=True)).to_have_value("failed")
    await tab.page.get_by_label("Outcome", exact=True).select_option("")
    await tab.page.get_by_label("Device", exact=True).select_option("Kitchen")
    await expect(tab.page).to_have_url(re.compile(f"device={KITCHEN}"))
    await expect(tab.page.locator("tbody tr")).to_have_count(2)
    await tab.page.get_by_role("button", name="Clear").click()
    await expect(tab.page.locator("tbody tr").nth(8)).to_be_visible()


async def test_a_turn_is_asked_again_side_by_side(site: Site) -> None:
    turn = await _heard(site, "what time is it")
    # The two that need no internet; hibari is there where its package is.
    other = "hibari" if turn["providers"]["tts"] == "offline" else "offline"
    tab = await site.tab()
    await tab.goto(f"/conversations/{turn['conversation']}?turn={turn['number']}")
    await tab.page.get_by_role("button", name="Run again").click()
    await tab.page.get_by_label("Text to speech").select_option(other)
    await tab.page.get_by_role("button", name="Run again").last.click()
    again = tab.page.locator(".side").last
    await expect(again.locator(".waterfall")).to_be_visible(timeout=60_000)
    await expect(tab.page.locator(".side .waterfall")).to_have_count(2)
    await expect(again.locator(".waterfall")).to_contain_text(other)
    await expect(again).to_contain_text("what time is it")
    await expect(again).to_contain_text("answered")
    await expect(again.locator(".player svg.assistant")).to_be_visible()
    scales = await tab.page.locator(".side .scale").all_inner_texts()
    assert scales[0].split("\n")[1:] == scales[1].split("\n")[1:]
    assert await tab.violations() == []
    await tab.shot("conversation-side-by-side-desktop-light")
    async with site.program() as api:
        entries = (await api.get("/audit", params={"action": "turn.replay"})).json()["items"]
    assert entries[0]["after"]["providers"]["tts"] == other


async def test_a_turn_file_opens_on_another_server(site: Site, tmp_path: Path) -> None:
    found = await _heard(site, "set the volume to forty")
    tab = await site.tab()
    await tab.goto(f"/conversations/{found['conversation']}?turn={found['number']}")
    async with tab.page.expect_download() as waiting:
        await tab.page.get_by_role("button", name="Save as a file").click()
    saved = tmp_path / "turn.mimi.json"
    await (await waiting.value).save_as(saved)
    content = json.loads(saved.read_text(encoding="utf-8"))
    assert set(content["audio"]) == {"user", "assistant"}
    assert found["conversation"] not in saved.read_text(encoding="utf-8")
    (tmp_path / "other").mkdir()
    async with serving(tmp_path / "other") as other:
        await other.first_admin()
        page = await other.tab()
        await page.goto("/conversations")
        await expect(page.page.get_by_text("Nobody has spoken yet")).to_be_visible()
        assert await page.violations() == []
        await page.shot("conversations-empty-desktop-light")
        asked: list[str] = []
        await page.goto("/conversations/file")
        page.page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
        chooser = page.page.locator("input[type=file]")
        await chooser.set_input_files(saved)
        await expect(page.page.locator(".waterfall")).to_contain_text("self.audio_speaker.set_volume")
        await _plays_file(page)
        assert [each for each in asked if "POST" in each or "audio" in each] == []
        assert await page.violations() == []
        await page.shot("turn-file-desktop-light")
        broken = tmp_path / "broken.json"
        broken.write_text(saved.read_text(encoding="utf-8")[:2000], encoding="utf-8")
        await chooser.set_input_files(broken)
        await expect(page.page.get_by_role("alert")).to_contain_text("It is not JSON, or it is cut off")
        hostile = content | {"turn": content["turn"] | {"heard": "<img src=x onerror=alert(1)>"}}
        hostile["turn"]["tools"] = ["<script>alert(2)</script>"]
        hostile["audio"] = {"user": {"data": "PHN2Zz4="}}
        broken.write_text(json.dumps(hostile), encoding="utf-8")
        await chooser.set_input_files(broken)
        await expect(page.page.get_by_role("alert")).to_contain_text("audio.user is wrong")
        del hostile["audio"]
        broken.write_text(json.dumps(hostile), encoding="utf-8")
        await chooser.set_input_files(broken)
        await expect(page.page.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
        assert await page.page.locator("main img, main script").count() == 0
        assert await other.close_tabs() == []


async def _plays_file(tab: Tab) -> None:
    await expect(tab.page.locator(".player svg.assistant path")).to_be_visible()
    assert float(await tab.page.locator(".player").get_attribute("data-duration") or 0) > 1.5


async def test_deleting_can_be_undone_until_it_is_done(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/conversations")
    row = tab.page.locator("tr", has_text="Включи свет на кухне")
    await row.get_by_role("button").click()
    await expect(row).to_have_count(0)
    await tab.page.get_by_role("button", name="Undo").click()
    await expect(row).to_be_visible()
    await row.get_by_role("button").click()
    async with tab.page.expect_response(lambda each: each.request.method == "DELETE"):
        await tab.page.get_by_role("status").get_by_role("button", name="Close").last.click()
    tab.expected = ["404"]
    await tab.goto("/conversations/ru")
    await expect(tab.page.get_by_role("alert")).to_contain_text("there is no such conversation")


async def test_deleting_goes_on_with_the_filter_that_it_was_begun_with(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    held: asyncio.Queue[Route] = asyncio.Queue()

    async def hold(route: Route) -> None:
        if route.request.method == "DELETE":
            held.put_nowait(route)
        else:
            await route.continue_()

    await page.route("**/api/v1/conversations?*", hold)
    await tab.goto("/conversations?outcome=failed")
    await page.get_by_label("Outcome", exact=True).select_option("")
    await page.get_by_label("Device", exact=True).select_option("Kitchen")
    await page.get_by_role("button", name="Actions").click()
    await page.get_by_role("menuitem", name="Delete what the filter finds").click()
    # The filter stands in the address, which changes behind the question.
    await page.evaluate("history.replaceState(history.state, '', '?agent=default')")
    await page.evaluate("dispatchEvent(new PopStateEvent('popstate', {state: history.state}))")
    await expect(page.get_by_label("Device", exact=True)).to_have_value("")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    first = await held.get()
    assert "device=" in first.request.url
    assert "agent=" not in first.request.url
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await first.fulfill(json={"deleted": 1000, "more": True})
    second = await held.get()
    assert second.request.url == first.request.url
    await second.fulfill(json={"deleted": 1, "more": False})
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_all_that_is_found_is_exported_and_deleted(site: Site, tmp_path: Path) -> None:
    tab = await site.tab()
    await tab.goto(f"/conversations?device={OFFICE}")
    await tab.settled()
    async with tab.page.expect_download() as waiting:
        await tab.page.get_by_role("button", name="Actions").click()
        await tab.page.get_by_role("menuitem", name="Export what is found (JSON lines)").click()
    await (await waiting.value).save_as(tmp_path / "found.ndjson")
    lines = (tmp_path / "found.ndjson").read_text(encoding="utf-8").splitlines()
    # The other one of the device may have been deleted by a test before.
    heard = [json.loads(line)["turns"][0]["heard"] for line in lines]
    assert heard in (["What is on my calendar?"], ["What is on my calendar?", "Включи свет на кухне"])
    await tab.page.get_by_role("button", name="Actions").click()
    await tab.page.get_by_role("menuitem", name="Delete what the filter finds").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    deleted = re.compile(rf"{len(lines)} conversations? deleted")
    await expect(tab.page.get_by_text(deleted)).to_be_visible()
    await expect(tab.page.get_by_text("No conversation fits the filter.")).to_be_visible()


async def test_a_member_sees_what_is_his(site: Site) -> None:
    tab = await site.tab(as_="bob")
    tab.expected = ["404"]
    await tab.goto("/conversations")
    await expect(tab.page.locator("tbody tr")).to_have_count(4)
    await expect(tab.page.get_by_role("columnheader", name="Owner")).to_have_count(0)
    await tab.page.get_by_role("link", name="Tell me a story about a whale.").click()
    await expect(tab.page.get_by_role("button", name="Save as a file")).to_be_visible()
    await expect(tab.page.get_by_role("button", name="Run again")).to_have_count(0)
    await tab.goto("/conversations/evening")
    await expect(tab.page.get_by_role("alert")).to_contain_text("there is no such conversation")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
async def test_pages_in_both_themes_and_sizes(site: Site, size: str, theme: str) -> None:
    tab = await site.tab(size=size, theme=theme)
    for name, path in (
        ("conversations", "/conversations"),
        ("conversation", "/conversations/evening?turn=1"),
    ):
        await tab.goto(path)
        await tab.settled()
        await tab.page.locator("tbody tr, .waterfall").first.wait_for()
        assert await tab.violations() == []
        assert await tab.overflow() <= 0
        await tab.shot(f"{name}-{size}-{theme}")


@pytest.mark.parametrize("language", ["vi", "ru"])
async def test_longer_languages_fit_a_phone(site: Site, language: str) -> None:
    tab = await site.tab(size="phone", language=language)
    for name, path in (
        ("conversations", "/conversations?device="),
        ("conversation", "/conversations/evening?turn=1"),
        ("turn-file", "/conversations/file"),
    ):
        await tab.goto(path)
        await tab.settled()
        assert await tab.overflow() <= 0
        await tab.shot(f"{name}-phone-{language}")
