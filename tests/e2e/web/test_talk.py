"""Talk: the browser as a device, with Chromium's microphone playing what the offline voice says."""

import asyncio
import re
import signal
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from mimi_mqtt.cli.device.speech import synthesise
from tests.e2e.web.conftest import PASSWORD, SIZES, Site, Tab, chromium, serving

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

RATE = 16_000
NAME = "mimi.test"
"""A name of no secure origin, which public DNS does not have."""
KEPT_DEVICE = "Object.entries(localStorage).find(([key]) => key.startsWith('talk-device:'))?.[1]"
"""The id of the browser device, as the page keeps it for the account."""
AWAY = [
    "ERR_CONNECTION_REFUSED",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "ERR_CONNECTION_RESET",
    "WebSocket connection",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One server for all, which also answers to a name; two agents, so that one can be chosen."""
    folder = tmp_path_factory.mktemp("talk")
    settings = {
        "MIMI_HTTP__ALLOWED_HOSTS": f'["{NAME}"]',
        "MIMI_AGENTS": '{"linh": {"name": "Linh", "language": "vi"}}',
    }
    async with serving(folder, f"--host-resolver-rules=MAP {NAME} 127.0.0.1", **settings) as made:
        await made.first_admin()
        async with made.program() as client:
            member = {"name": "bob", "password": PASSWORD, "role": "member"}
            assert (await client.post("/users", json=member)).status_code == 201
        yield made


async def recorded(path: Path, *words: str | float) -> Path:
    """A WAV file of words and pauses in seconds, with a long pause after them."""
    parts = [
        np.zeros(int(each * RATE), np.int16)
        if isinstance(each, float)
        else await synthesise(each, RATE, "en", "offline")
        for each in (*words, 60.0)
    ]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.concatenate(parts).tobytes())
    return path


@asynccontextmanager
async def saying(served: Site, folder: Path, *words: str | float) -> AsyncIterator[Site]:
    """The site in a browser whose microphone says the words, from the moment it is opened."""
    wav = await recorded(folder / "said.wav", *words)
    async with chromium(
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={wav}%noloop",
    ) as browser:  # fmt: skip
        site = replace(served, browser=browser, tabs=[], contexts=[])
        yield site
        assert await site.close_tabs() == []


async def state_is(tab: Tab, state: str) -> None:
    await expect(tab.page.locator(".stage [role=status]")).to_have_text(state)


async def until_heard(page: Page) -> None:
    """Until the assistant's voice is loud in the loudspeaker."""
    await page.wait_for_function(
        """() => [...document.querySelectorAll('[role=meter]')].some(
            (each) => /assistant/.test(each.ariaLabel) && Number(each.ariaValueNow) > 30)"""
    )


async def until_said(page: Page) -> None:
    """Until the person has said something, and been silent for a while."""
    await page.evaluate(
        """() => new Promise((done) => {
            let said = false, silent = 0;
            const timer = setInterval(() => {
                const level = Number(document.querySelector('[aria-label="Your voice"]').ariaValueNow);
                said ||= level > 30;
                silent = level < 15 ? silent + 1 : 0;
                if (said && silent > 12) { clearInterval(timer); done(); }
            }, 50);
        })"""
    )


async def test_a_spoken_turn_to_a_spoken_answer(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.0, "what time is it") as site:
        tab = await site.tab()
        page = tab.page
        await tab.goto("/talk")
        await tab.shot("talk-idle-desktop-light")
        await page.get_by_role("button", name="Start talking").click()
        await state_is(tab, "Listening")
        await tab.shot("talk-listening-desktop-light")
        await expect(page.locator(".transcript .you")).to_contain_text("what time is it")
        await until_heard(page)
        await state_is(tab, "Speaking")
        await tab.shot("talk-speaking-desktop-light")
        await expect(page.locator(".transcript .assistant")).to_contain_text(re.compile("It is|It's", re.I))
        waterfall = page.locator(".waterfall")
        for stage in ("End of speech", "Transcript · offline", "First word of the answer", "First sound"):
            await expect(waterfall).to_contain_text(stage)
        await expect(page.get_by_text("Answered", exact=True)).to_be_visible()
        await state_is(tab, "Listening")  # hands-free: it goes on
        await tab.shot("talk-answered-desktop-light")
        async with site.program() as client:
            devices = (await client.get("/devices", params={"board": "browser"})).json()["items"]
            assert [(each["name"], each["presence"] is not None) for each in devices] == [
                ("Browser of ada", True)
            ]
            device_id = devices[0]["id"]
            assert (
                await page.evaluate("Object.values({...localStorage, ...sessionStorage}).join()") == device_id
            )
        await page.get_by_role("button", name="End", exact=True).click()
        await state_is(tab, "Not connected")
        async with site.program() as client:
            found = (await client.get("/conversations", params={"device": device_id})).json()["items"]
            assert len(found) == 1
            written = (await client.get("/audit", params={"action": "device.register"})).json()["items"]
            assert [each["target"] for each in written] == [f"device:{device_id}"]


async def test_an_interruption_by_voice(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.0, "what can you do", 4.0, "what time is it") as site:
        tab = await site.tab()
        page = tab.page
        await tab.goto("/talk")
        await page.get_by_text("Realtime", exact=True).click()
        await page.get_by_role("button", name="Start talking").click()
        await until_heard(page)
        await expect(page.locator(".transcript .you").last).to_contain_text("what time is it")
        await expect(page.locator(".transcript .assistant").last).to_contain_text(
            re.compile("It is|It's", re.I)
        )
        first = await page.locator(".transcript .assistant").first.inner_text()
        assert "add the key" not in first  # the second sentence
        await expect(page.get_by_text("Answered", exact=True)).to_be_visible()
        await state_is(tab, "Listening")


async def test_the_button_interrupts_and_the_same_conversation_goes_on(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.0, "what can you do") as site:
        tab = await site.tab()
        page = tab.page
        await tab.goto("/talk")
        await page.locator("h1").focus()
        await page.keyboard.press("Space")
        await until_heard(page)
        await page.locator("h1").focus()
        await page.keyboard.press("Space")
        meter = page.get_by_role("meter", name="The assistant’s voice")
        await expect(meter).to_have_attribute("aria-valuenow", "0")
        await expect(page.get_by_text("Interrupted", exact=True)).to_be_visible()
        await state_is(tab, "Listening")
        assert "add the key" not in await page.locator(".transcript .assistant").first.inner_text()


async def test_push_to_talk_by_the_keyboard_alone(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 0.5, "what time is it") as site:
        tab = await site.tab()
        page = tab.page
        await tab.goto("/talk")
        await page.get_by_role("radio", name="Hands-free").focus()
        await page.keyboard.press("ArrowLeft")
        await expect(page.get_by_role("radio", name="Push to talk")).to_be_checked()
        await page.get_by_role("button", name="Hold to talk").focus()
        await page.keyboard.down("Space")
        await expect(page.get_by_role("button", name="Let go to send")).to_be_visible()
        await state_is(tab, "Listening")
        await until_said(page)
        await page.keyboard.up("Space")
        await expect(page.locator(".transcript .you")).to_contain_text("what time is it")
        await until_heard(page)
        await state_is(tab, "Ready")


async def test_a_tool_changes_the_browser_s_volume(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.0) as site:
        tab = await site.tab(as_="bob")
        page = tab.page
        await tab.goto("/talk")
        await page.get_by_label("Write to the assistant").fill("set the volume to 30 percent")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("slider", name="Volume")).to_have_value("30")
        await expect(page.locator(".transcript .aside")).to_contain_text("set_volume ran in")
        await expect(page.locator(".waterfall")).to_contain_text("set_volume")
        await until_heard(page)
        await state_is(tab, "Ready")


async def test_without_web_codecs_opus_comes_as_web_assembly(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.5, "what time is it") as site:
        tab = await site.tab()
        page = tab.page
        await page.add_init_script("delete window.AudioEncoder; delete window.AudioDecoder;")
        await tab.goto("/talk")
        await page.get_by_role("button", name="Start talking").click()
        await expect(page.locator(".transcript .you")).to_contain_text("what time is it")
        await until_heard(page)
        assert await page.evaluate("'AudioEncoder' in window") is False


async def test_a_picture_only_with_the_person_s_consent(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.0) as site:
        tab = await site.tab()
        page = tab.page
        await tab.goto("/talk")
        await page.get_by_label("Write to the assistant").fill("what time is it")
        await page.keyboard.press("Enter")
        await until_heard(page)
        await state_is(tab, "Ready")
        device_id = await page.evaluate(KEPT_DEVICE)
        call = {
            "tool": "self.camera.take_photo",
            "arguments": {"question": "what is on the table?"},
        }
        for answer, told in (("No picture", "did not allow"), ("Take the picture", "success")):
            async with site.program() as client:
                asked = page.get_by_role("dialog")
                calling = asyncio.create_task(client.post(f"/devices/{device_id}/commands/tool", json=call))
                await asyncio.wait(
                    {calling, asyncio.create_task(asked.wait_for())}, return_when="FIRST_COMPLETED"
                )
                assert not calling.done(), calling.result().text
                await expect(asked).to_contain_text("what is on the table?")
                await page.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
                if answer == "Take the picture":
                    assert await tab.violations() == []
                    await tab.shot("talk-camera-desktop-light")
                await asked.get_by_role("button", name=answer).click()
                await expect(asked).to_be_hidden()
                assert told in (await calling).text


@pytest.mark.parametrize("size", SIZES)
async def test_text_alone_on_an_insecure_address(served: Site, size: str) -> None:
    port = served.url.rpartition(":")[2]
    site = replace(served, url=f"http://{NAME}:{port}", tabs=[], contexts=[])
    tab = await site.tab(as_=None, size=size)
    tab.expected = ["401", "Cross-Origin-Opener-Policy header has been ignored"]
    page = tab.page
    await tab.goto("/talk")
    await page.get_by_label("User name").fill("ada")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("The microphone needs a secure address")).to_be_visible()
    await page.get_by_text("How to get one").click()
    await expect(page.get_by_text(f"http://localhost:{port}/talk")).to_be_visible()
    await expect(page.get_by_role("button", name="Start talking")).to_have_count(0)
    await page.get_by_label("Write to the assistant").fill("what time is it")
    await page.get_by_role("button", name="Send").click()
    await until_heard(page)
    await expect(page.locator(".transcript .assistant")).to_contain_text(re.compile("It is|It's", re.I))
    await state_is(tab, "Ready")
    assert await tab.violations() == []
    assert await tab.overflow() <= 0
    await tab.shot(f"talk-insecure-{size}-light")
    assert await site.close_tabs() == []


async def test_each_account_has_its_own_browser_device(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.0) as site:
        tabs = {name: await site.tab(as_=name) for name in ("ada", "bob")}
        ids = {}
        for name, tab in tabs.items():
            await tab.goto("/talk")
            await tab.page.get_by_label("Write to the assistant").fill("what time is it")
            await tab.page.keyboard.press("Enter")
            await state_is(tab, "Ready")
            ids[name] = await tab.page.evaluate(KEPT_DEVICE)
        assert ids["ada"] != ids["bob"]
        async with site.program("bob") as client:
            seen = [each["id"] for each in (await client.get("/devices")).json()["items"]]
            assert ids["bob"] in seen
            assert ids["ada"] not in seen
            assert (await client.get(f"/devices/{ids['ada']}")).status_code == 404
            stages = await client.get("/events", params={"types": "turn_stage", "device": ids["ada"]})
            assert stages.status_code == 404
            given = (await client.post("/me/browser-device", json={"device_id": ids["ada"]})).json()
            assert given["device_id"] not in ids.values()


async def test_a_second_tab_takes_over_with_a_word_to_the_first(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.0) as site:
        first = await site.tab()
        await first.goto("/talk")
        await first.page.get_by_role("button", name="Start talking").click()
        await state_is(first, "Listening")
        page = await first.page.context.new_page()
        await page.goto(f"{site.url}/talk")
        await page.get_by_role("button", name="Start talking").click()
        await expect(page.locator(".stage [role=status]")).to_have_text("Listening")
        await expect(first.page.get_by_text("Another tab talks now")).to_be_visible()
        await state_is(first, "Not connected")


async def test_a_microphone_that_is_refused_leaves_text(served: Site) -> None:
    tab = await served.tab()  # this browser has no microphone to give
    await tab.goto("/talk")
    await tab.page.get_by_role("button", name="Start talking").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text(re.compile("microphone", re.I))
    await state_is(tab, "Ready")
    await tab.page.get_by_label("Write to the assistant").fill("what time is it")
    await tab.page.keyboard.press("Enter")
    await until_heard(tab.page)
    assert await served.close_tabs() == []


async def test_the_agent_is_chosen_on_the_page(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.0) as site:
        tab = await site.tab()
        await tab.goto("/talk")
        await tab.page.get_by_label("Agent").select_option(label="Linh")
        await expect(tab.page.get_by_text("Speaks Vietnamese")).to_be_visible()
        device_id = await tab.page.evaluate(KEPT_DEVICE)
        async with site.program() as client:
            assert (await client.get(f"/devices/{device_id}")).json()["agent"] == "linh"
        await tab.page.get_by_label("Write to the assistant").fill("mấy giờ rồi")
        await tab.page.keyboard.press("Enter")
        await until_heard(tab.page)
        await tab.page.get_by_label("Agent").select_option(value="default")
        await expect(tab.page.get_by_text("Speaks Vietnamese")).to_be_hidden()


LOOKS = [
    ("desktop", "en", "light"), ("desktop", "en", "dark"), ("phone", "en", "light"), ("phone", "en", "dark"),
    ("phone", "ru", "dark"), ("phone", "vi", "light"),
]  # fmt: skip


async def test_looks(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 0.8, "what can you do") as site:
        for size, language, theme in LOOKS:
            tab = await site.tab(size=size, language=language, theme=theme)
            await tab.goto("/talk")
            await tab.page.locator("select").wait_for()
            await looked_at(tab, f"talk-idle-{size}-{theme}-{language}")
            await tab.page.locator(".big").click()
            await tab.page.locator(".transcript .assistant").first.wait_for()
            await tab.page.locator(".waterfall").wait_for()
            await looked_at(tab, f"talk-speaking-{size}-{theme}-{language}")
            await tab.page.locator(".dock .button").click()


async def looked_at(tab: Tab, name: str) -> None:
    """A picture of the page, in which nothing is wrong."""
    await tab.shot(name)
    assert await tab.violations() == []
    assert await tab.overflow() <= 0


async def test_a_server_that_is_killed_and_comes_back(served: Site, tmp_path: Path) -> None:
    async with saying(served, tmp_path, 1.0, "what time is it") as site:
        tab = await site.tab()
        tab.expected = AWAY
        page = tab.page
        await tab.goto("/talk")
        await page.get_by_role("button", name="Start talking").click()
        await expect(page.locator(".transcript .you")).to_contain_text("what time is it")
        await until_heard(page)
        await served.server.stop(signal.SIGKILL)
        await expect(page.get_by_text("The server does not answer").first).to_be_visible()
        await state_is(tab, "Connecting …")
        await tab.shot("talk-lost-desktop-light")
        await served.server.restart()
        await state_is(tab, "Listening")
        await expect(page.locator(".transcript .you")).to_contain_text("what time is it")
        await page.get_by_label("Write to the assistant").fill("what can you do")
        await page.keyboard.press("Enter")
        await until_heard(page)
