"""Agents in the web app: made, previewed, spoken to, compared, restored, copied; two editors; a member."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from playwright.async_api import Page, expect

from tests.e2e.web.conftest import PASSWORD, SIZES, THEMES, Site, serving

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

FILE = {
    "assistant": {"greeting": "Hi! What can I do for you?"},
    "agents": {"butler": {"name": "James", "language": "en", "prompt": "You are {{ agent.name }}."}},
    "providers": {"stt": "offline", "llm": "offline", "tts": "offline"},
}
KITCHEN, HALL = "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A server with an agent of broker.yaml, two devices, and the member bob, who owns one."""
    folder = tmp_path_factory.mktemp("agents")
    (folder / "broker.yaml").write_text(yaml.safe_dump(FILE))
    async with serving(folder) as site:
        await site.first_admin()
        for mac in (KITCHEN, HALL):
            await site.server.run("device", "--ota", site.server.ota, "--mac", mac, "--text", "hi", "--json")
        async with site.program() as api:
            made = await api.post(
                "/users",
                json={"name": "bob", "email": "bob@mail.example", "role": "member", "password": PASSWORD},
            )
            assert made.status_code == 201, made.text
            for mac, name in ((KITCHEN, "Kitchen"), (HALL, "Hall")):
                await api.patch(f"/devices/{mac}", json={"name": name})
            for key, settings in AGENTS.items():
                made = await api.post("/agents", json={"key": key, "settings": settings})
                assert made.status_code == 201, made.text
            await api.patch("/agents/teacher", json={"greeting": "Xin chào! Hôm nay chúng ta học gì?"})
            await api.patch(f"/devices/{HALL}", json={"agent": "teacher"})
        yield site


AGENTS = {
    "teacher": {
        "name": "Linh", "language": "vi", "voice": {"vi": "female", "en": "Ava"}, "speed": {"vi": 0.9},
        "prompt": "You are {{ agent.name }}, a patient teacher of Vietnamese.\nToday is {{ weekday }}.",
        "llm": ["offline", "auto"], "tools": ["set_timer", "self.audio_speaker.*"], "end_silence_ms": 900,
    },
    "storyteller": {
        "name": "Grandmother", "voice": "female", "speed": 0.85, "recordings": True, "llm": "openai",
        "prompt": "You tell {{ user.name or 'the children' }} short stories at bedtime.",
    },
}  # fmt: skip


async def save(page: Page) -> None:
    async with page.expect_response(lambda answer: answer.request.method == "PATCH") as answered:
        await page.get_by_role("button", name="Save", exact=True).click()
    assert (await answered.value).ok
    # That of the save before may still be there.
    await expect(page.get_by_text("Saved: in force from the next turn on").last).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
async def test_pages_look_right(site: Site, size: str, theme: str) -> None:
    tab = await site.tab(size=size, theme=theme)
    for path, name, waits in (
        ("/agents", "agents", "Grandmother"),
        ("/agents/teacher", "agent", "You are Linh"),
        ("/agents/butler", "agent-provisioned", "You are James"),
    ):
        await tab.goto(path)
        await expect(tab.page.get_by_text(waits).first).to_be_visible()
        await tab.settled()
        assert await tab.violations() == []
        assert await tab.overflow() <= 0
        await tab.shot(f"{name}-{size}-{theme}")
    await tab.goto("/agents/teacher")
    await tab.page.get_by_role("tab", name="History").click()
    await expect(tab.page.get_by_role("heading", name="Greeting")).to_be_visible()
    assert await tab.violations() == []
    assert await tab.overflow() <= 0
    await tab.shot(f"agent-history-{size}-{theme}")
    await tab.page.get_by_role("tab", name="Settings").click()
    await tab.page.get_by_role("button", name="Choose a voice").first.click()
    await expect(tab.page.get_by_role("dialog")).to_be_visible()
    await tab.settled()
    assert await tab.violations() == []
    await tab.shot(f"agent-voices-{size}-{theme}")


@pytest.mark.parametrize("language", ["ru", "vi"])
async def test_long_languages_fit_a_phone(site: Site, language: str) -> None:
    tab = await site.tab(size="phone", language=language)
    for path, name in (("/agents", "agents"), ("/agents/teacher", "agent")):
        await tab.goto(path)
        await tab.settled()
        if name == "agent":
            await expect(tab.page.get_by_text("You are Linh").first).to_be_visible()
        assert await tab.overflow() <= 0
        await tab.shot(f"{name}-phone-{language}")


async def test_an_agent_is_made_and_a_device_talks_to_it(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    tab.expected = ["422"]
    await tab.goto("/agents")
    await page.get_by_role("button", name="New agent").click()
    await page.get_by_label("Name", exact=True).fill("Chef")
    await page.get_by_label("Key").fill("Chef!")
    await expect(page.get_by_text("beginning with a letter or digit")).to_be_visible()
    await expect(page.get_by_role("button", name="Make")).to_be_disabled()
    await page.get_by_label("Key").fill("chef")
    await page.get_by_role("button", name="Make").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Chef")

    prompt = page.get_by_role("textbox", name="Prompt")
    await prompt.fill("You are {{ agent.name }}.\nYou cook {{ dish }}.")
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("line 2")
    await expect(alert).to_contain_text("there is no variable 'dish'")
    await page.get_by_role("button", name="Show the line").click()
    await page.keyboard.type("You talk with somebody in the ")
    await page.get_by_role("button", name="Insert device.name").click()
    await expect(alert).to_have_count(0)
    await page.get_by_label("Filled in for").select_option(label="Kitchen")
    await expect(page.get_by_label("What the language model gets")).to_have_text(
        "You are Chef.\nYou talk with somebody in the Kitchen"
    )
    await page.get_by_role("textbox", name="Greeting").fill("What shall we cook?")
    await save(page)

    async with site.program() as api:
        kept = (await api.get("/agents/chef")).json()
        assert kept["given"]["greeting"] == "What shall we cook?"
        assert kept["given"]["prompt"].endswith("in the {{ device.name }}")
        given = await api.patch(f"/devices/{KITCHEN}", json={"agent": "chef"})
        assert given.status_code == 200, given.text
    done = await site.server.run(
        "device", "--ota", site.server.ota, "--mac", KITCHEN, "--text", "hi", "--json"
    )
    assert done.summary["reply"] == "What shall we cook?", done.err
    await tab.goto("/agents")
    await expect(page.get_by_role("row", name=re.compile("Chef")).get_by_role("link").last).to_have_text("1")


async def test_unsaved_changes_are_kept_and_can_be_dropped(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    await tab.goto("/agents/storyteller")
    await page.get_by_role("textbox", name="Greeting").fill("Once upon a time")
    await page.get_by_role("link", name="Agents", exact=True).first.click()
    await expect(page.get_by_role("dialog")).to_contain_text("Leave without saving?")
    await page.get_by_role("button", name="Stay").click()
    await page.get_by_role("button", name=re.compile("Signed in as")).click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Leave without saving?")
    await page.get_by_role("button", name="Stay").click()
    speed = page.get_by_label("Speed")
    await speed.fill("")
    await speed.press_sequentially("0.8")
    await expect(speed).to_have_value("0.8")
    await page.get_by_role("tab", name="History").click()
    await expect(page.get_by_role("textbox", name="Greeting")).to_be_hidden()
    await page.get_by_role("tab", name="Settings").click()
    await expect(page.get_by_role("textbox", name="Greeting")).to_have_value("Once upon a time")
    await page.get_by_role("button", name="Discard").click()
    await expect(page.get_by_role("textbox", name="Greeting")).not_to_have_value("Once upon a time")
    await page.get_by_role("textbox", name="Greeting").fill("Once upon a time")
    await page.get_by_role("link", name="Agents", exact=True).first.click()
    await page.get_by_role("button", name="Leave without saving").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Agents")


async def test_a_preview_is_asked_for_once_a_change(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url) if each.url.endswith("/preview") else None)
    await page.clock.install()
    await tab.goto("/agents/teacher")
    preview = page.get_by_label("What the language model gets")
    await expect(preview).to_contain_text("You are Linh")
    before = len(asked)
    for _ in range(5):
        await page.clock.run_for(1000)
    assert len(asked) == before
    tab.expected = ["ERR_FAILED"]
    await page.route("**/agents/preview", lambda route: route.abort())
    await page.get_by_role("textbox", name="Prompt").fill("You are {{ agent.name }}, on a ship.")
    await page.clock.run_for(1000)
    await expect(page.get_by_role("alert")).to_contain_text("did not answer")
    await expect(page.get_by_role("alert")).not_to_contain_text(re.compile("template", re.I))


async def test_chains_tools_and_voices_are_set(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    await tab.goto("/agents/storyteller")
    chain = page.get_by_role("group", name="Language model", exact=True)
    await chain.get_by_label("Add to Language model").select_option("offline")
    await chain.get_by_role("button", name="Move offline up").press("Enter")
    await expect(chain.get_by_role("button", name="Move offline down")).to_be_focused()
    await expect(chain.get_by_role("listitem")).to_have_text([re.compile("offline"), re.compile("openai")])
    await expect(chain.get_by_role("listitem").last).to_contain_text("Not set up")
    await page.get_by_label("Only these").check()
    await page.get_by_label("Tool", exact=True).fill("set_timer")
    await page.get_by_role("button", name="Add", exact=True).click()
    await page.get_by_role("spinbutton", name="Pause length").fill("700")
    await page.get_by_role("switch", name="A voice for each language").click()
    await page.get_by_role("button", name="Add a language").click()
    await page.get_by_label("Voice", exact=True).last.fill("Ava")
    await save(page)
    async with site.program() as api:
        given = (await api.get("/agents/storyteller")).json()["given"]
    assert (given["llm"], given["tools"], given["end_silence_ms"]) == (
        ["offline", "openai"],
        ["set_timer"],
        700,
    )
    assert given["voice"]["en"] == "female"
    assert "Ava" in given["voice"].values()
    await page.get_by_role("button", name="Take back Pause length").click()
    await expect(page.get_by_text("After saving it is as the default agent’s.")).to_be_visible()
    await save(page)
    async with site.program() as api:
        assert "end_silence_ms" not in (await api.get("/agents/storyteller")).json()["given"]


async def test_a_voice_is_heard(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    await tab.goto("/agents/default")
    async with page.expect_response("**/api/v1/voices/sample") as told:
        await page.get_by_role("button", name="Hear it").click()
    answer = await told.value
    assert (answer.status, answer.headers["content-type"]) == (200, "audio/wav")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("button", name="Hear it")).to_be_visible()


async def test_history_is_compared_and_restored(site: Site) -> None:
    async with site.program() as api:
        await api.put("/agents/pirate", json={"name": "Jack", "greeting": "Ahoy!"})
        await api.put("/agents/pirate", json={"name": "Jack", "greeting": "Arr!"})
    tab = await site.tab()
    page = tab.page
    await tab.goto("/agents/pirate")
    await expect(page.get_by_role("textbox", name="Greeting")).to_have_value("Arr!")
    await page.get_by_role("tab", name="History").click()
    await expect(page.locator(".removed")).to_have_text("-Ahoy!")
    await expect(page.locator(".added")).to_have_text("+Arr!")
    await page.get_by_role("button", name="Restore version 1").click()
    await expect(page.get_by_text("Version 1 is in force again")).to_be_visible()
    await expect(page.get_by_role("row", name=re.compile("Version 3"))).to_contain_text("Restored")
    await page.get_by_role("tab", name="Settings").click()
    await expect(page.get_by_role("textbox", name="Greeting")).to_have_value("Ahoy!")


async def test_an_agent_is_copied_exported_and_imported(site: Site, tmp_path: Path) -> None:
    tab = await site.tab()
    page = tab.page
    await tab.goto("/agents")
    await page.get_by_role("button", name="Actions for Linh").first.click()
    await page.get_by_role("menuitem", name="Duplicate").click()
    await expect(page.get_by_label("Key")).to_have_value("teacher-2")
    await page.get_by_role("button", name="Make").click()
    await expect(page).to_have_url(re.compile("/agents/teacher-2$"))
    await expect(page.get_by_role("spinbutton", name="Pause length")).to_have_value("900")

    await page.get_by_role("button", name="Actions for Linh").click()
    async with page.expect_download() as begun:
        await page.get_by_role("menuitem", name="Export as a file").click()
    download = await begun.value
    assert download.suggested_filename == "agent-teacher-2.json"
    path = tmp_path / download.suggested_filename
    await download.save_as(path)
    assert json.loads(path.read_text())["settings"]["llm"] == ["offline", "auto"]

    await tab.goto("/agents")
    await page.locator("input[type=file]").set_input_files(Path(__file__))
    await expect(page.get_by_text("is not an agent that was exported here")).to_be_visible()
    await page.locator("input[type=file]").set_input_files(path)
    await expect(page.get_by_label("Key")).to_have_value("teacher-2-2")
    await page.get_by_label("Key").fill("tutor")
    await page.get_by_role("button", name="Make").click()
    await expect(page).to_have_url(re.compile("/agents/tutor$"))
    async with site.program() as api:
        first, second = [(await api.get(f"/agents/{key}")).json()["given"] for key in ("teacher", "tutor")]
    assert first == second


async def test_a_deletion_is_undone_or_done(site: Site) -> None:
    async with site.program() as api:
        await api.put("/agents/guest", json={"name": "Guest"})
    tab = await site.tab()
    page = tab.page
    await tab.goto("/agents")
    row = page.get_by_role("row", name=re.compile("Guest"))
    # On its own page, what is typed for it is nothing to stay for.
    await row.get_by_role("link").first.click()
    await page.get_by_role("textbox", name="Greeting").fill("Hello")
    await page.get_by_role("button", name="Actions for Guest").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Agents")
    await expect(row).to_have_count(0)
    await page.get_by_role("button", name="Undo").click()
    await expect(row).to_be_visible()
    for undo in (True, False):
        await page.get_by_role("button", name="Actions for Guest").click()
        await page.get_by_role("menuitem", name="Delete").click()
        await expect(row).to_have_count(0)
        if undo:
            await page.get_by_role("button", name="Undo").click()
            await expect(row).to_be_visible()
    # What waits is done before the session ends.
    async with page.expect_response(lambda answer: "/agents/guest" in answer.url) as told:
        await page.get_by_role("button", name="Signed in as").click()
        await page.get_by_role("menuitem", name="Sign out").click()
    assert ((await told.value).request.method, (await told.value).status) == ("DELETE", 204)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    async with site.program() as api:
        assert (await api.get("/agents/guest")).status_code == 404


async def test_two_editors_do_not_overwrite_each_other(site: Site) -> None:
    async with site.program() as api:
        await api.put("/agents/host", json={"name": "Host", "greeting": "Hello", "end_silence_ms": 600})
        tab = await site.tab()
        tab.expected = ["412"]
        page = tab.page
        await tab.goto("/agents/host")
        await page.get_by_role("textbox", name="Greeting").fill("Good evening")
        await page.get_by_role("spinbutton", name="Pause length").fill("800")
        await api.patch("/agents/host", json={"greeting": "Welcome", "wake_word": "listen"})
        await page.get_by_role("button", name="Save", exact=True).click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("ada changed this agent too")
        await expect(dialog).to_contain_text("At the wake word")
        assert await tab.violations() == []
        await tab.shot("agent-conflict-desktop-light")
        await dialog.get_by_label("Theirs: Welcome").check()
        await dialog.get_by_role("button", name="Take over their changes").click()
        await expect(page.get_by_role("textbox", name="Greeting")).to_have_value("Welcome")
        await save(page)
        given = (await api.get("/agents/host")).json()["given"]
    assert (given["greeting"], given["wake_word"], given["end_silence_ms"]) == ("Welcome", "listen", 800)


async def test_what_broker_yaml_sets_is_locked(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    await tab.goto("/agents/butler")
    await expect(page.get_by_text("This agent is set in broker.yaml")).to_be_visible()
    await expect(page.get_by_label("Name", exact=True)).to_be_disabled()
    await expect(page.get_by_role("button", name="Save", exact=True)).to_have_count(0)
    await tab.goto("/agents/default")
    await expect(page.get_by_role("textbox", name="Greeting")).to_be_disabled()
    await expect(page.get_by_label("Name", exact=True)).to_be_enabled()


async def test_a_member_reads_agents_without_prompts(site: Site) -> None:
    tab = await site.tab("bob")
    page = tab.page
    told: list[str] = []
    page.on("response", lambda answer: told.append(answer.url))
    await tab.goto("/agents")
    await expect(page.get_by_role("link", name="Linh").first).to_be_visible()
    await expect(page.get_by_role("button", name="New agent")).to_have_count(0)
    await expect(page.get_by_role("button", name="Actions for")).to_have_count(0)
    await page.get_by_role("link", name="Linh").first.click()
    await expect(page.get_by_text("Agents are changed by administrators.")).to_be_visible()
    assert "patient teacher" not in await page.content()
    assert await tab.violations() == []
    await tab.shot("agent-member-desktop-light")
    assert not [url for url in told if "/providers" in url or "/versions" in url]
