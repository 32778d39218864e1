"""First run: from the printed link on an empty data folder to a device's first answer, left and resumed."""

import asyncio
import json
import re
import signal
import sqlite3
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect
from playwright.async_api import Route as Held
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.e2e.web.conftest import PASSWORD, THEMES, Site, Tab, serving
from tests.servers.model_servers import ModelServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

MAC, OTHER = "24:6f:28:aa:10:01", "24:6f:28:aa:10:02"
DEVICE = MAC.replace(":", "-")
NEW_PASSWORD = "another password of mine"
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


class Ollama(ModelServer):
    """Ollama with models that answer one sentence."""

    def routes(self) -> Sequence[Route]:
        return [*super().routes(), Route("/v1/chat/completions", self._chat, methods=["POST"])]

    async def _chat(self, _: Request) -> Response:
        part = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "qwen3:8b"}
        words = {**part, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "pong"}}]}
        end = {**part, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        lines = "".join(f"data: {json.dumps(each)}\n\n" for each in (words, end))
        return Response(f"{lines}data: [DONE]\n\n", media_type="text/event-stream")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ollama() -> AsyncIterator[Ollama]:
    """Ollama, with nothing installed at first."""
    made = Ollama()
    await made.start()
    yield made
    await made.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory, ollama: Ollama) -> AsyncIterator[Site]:
    """A server on an empty data folder, without an administrator: the first test makes her."""
    folder = tmp_path_factory.mktemp("first-run")
    settings = {
        "MIMI_PROVIDERS__MODELS_DIR": str(folder / "models"),
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "OLLAMA_HOST": ollama.url.removeprefix("http://"),
    }
    async with serving(folder, *MICROPHONE, **settings) as made:
        yield made


def step(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=title)


async def opened(page: Page, title: str) -> Locator:
    """The step, open."""
    found = step(page, title)
    head = found.get_by_role("button", name=title).first
    if await head.get_attribute("aria-expanded") == "false":
        await head.click()
    return found


async def fill(tab: Tab, password: str, again: str, name: str = "") -> None:
    if name:
        await tab.page.get_by_label("User name").fill(name)
    await tab.page.get_by_label("Password", exact=True).fill(password)
    await tab.page.get_by_label("Password once more").fill(again)


async def address(tab: Tab) -> str:
    found: str = await tab.page.evaluate("location.pathname + location.hash")
    return found


async def device_says(site: Site, mac: str, text: str) -> None:
    ran = await site.server.run("device", "--ota", site.server.ota, "--mac", mac, "--say", text)
    assert ran.code == 0, ran


async def ask(site: Site, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as client:
        return await client.post(site.server.ota, headers=headers, json={})


async def test_from_the_printed_link_to_the_first_answer(site: Site) -> None:
    tab = await site.tab(as_=None)
    tab.expected = ["401", "422", "400"]
    page = tab.page
    await tab.goto("/")
    await expect(page.get_by_role("heading", level=1)).to_have_text("No administrator yet")
    await expect(page.get_by_text("mimi-mqtt users link")).to_be_visible()
    await tab.shot("setup-no-administrator")

    await page.goto(site.setup_link)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Welcome")
    assert await address(tab) == "/setup", "the token is neither in the address nor in the history"
    await fill(tab, PASSWORD, PASSWORD + "x", name="ada")
    await page.get_by_role("button", name="Make administrator").click()
    await expect(page.get_by_text("The two passwords differ.")).to_be_visible()
    await tab.shot("setup-welcome-differ")
    await fill(tab, "short", "short")
    await expect(page.get_by_text("Use 8 characters or more.")).to_be_visible()
    await fill(tab, PASSWORD, PASSWORD)
    await page.get_by_role("button", name="Make administrator").click()

    await expect(page.get_by_role("heading", level=1)).to_have_text("Set-up")
    assert await page.evaluate("document.cookie") == "", "the session is out of reach of scripts"
    connect = step(page, "Connect a device")
    await expect(connect.get_by_text("No device has asked yet")).to_be_visible()
    await expect(connect.get_by_text(site.server.ota)).to_be_visible()
    await expect(connect.get_by_role("img", name=re.compile("QR code of"))).to_be_visible()
    await expect(step(page, "First administrator").get_by_text("Done")).to_be_visible()

    # A device that boots is seen at once; then the person goes away.
    running = asyncio.create_task(device_says(site, MAC, "what time is it"))
    try:
        row = connect.get_by_role("row").filter(has_text=DEVICE)
        await expect(row.get_by_text("It got its credentials.").first).to_be_visible()
        await expect(connect.get_by_text("Done")).to_be_visible()
    finally:
        await page.close()
        await running

    again = tab.page = await page.context.new_page()
    await tab.goto("/setup")
    await expect(step(again, "Connect a device").get_by_role("link", name=DEVICE).first).to_be_visible()
    talk = await opened(again, "Say something")
    await expect(talk.get_by_text("what time is it")).to_be_visible()
    await expect(again.get_by_role("progressbar")).to_have_attribute("aria-valuetext", "3 of 5 steps done")
    # The next answer comes without a word to the page.
    conversation = talk.get_by_role("link", name="Open the conversation")
    first = await conversation.get_attribute("href")
    await device_says(site, MAC, "what time is it")
    await expect(conversation).not_to_have_attribute("href", str(first))
    assert await tab.violations() == []
    await tab.shot("setup-talk-desktop-light")

    await again.goto(f"{site.url}/about")
    await again.goto(site.setup_link)
    await fill(tab, PASSWORD, PASSWORD, name="eve")
    await again.get_by_role("button", name="Make administrator").click()
    await expect(again.get_by_role("alert")).to_contain_text("This link is not good any more")
    await tab.shot("setup-link-used")


async def test_reset_link_sets_a_password_once_and_signs_nobody_in(site: Site) -> None:
    async with site.program() as api:
        made = await api.post("/users", json={"name": "bob", "role": "member", "password": PASSWORD})
        assert made.status_code == 201, made.text
    told = await site.server.run("users", "link", "bob")
    found = re.search(r"/setup#reset=\S+", told.out)
    assert found, told
    tab = await site.tab(as_=None)
    tab.expected = ["401", "400", "422"]
    await tab.page.goto(f"{site.url}/setup#reset=wrong")
    await fill(tab, NEW_PASSWORD, NEW_PASSWORD)
    await tab.page.get_by_role("button", name="Set password").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("This link is not good any more")
    # The right one opened in the same tab changes only what is behind the #.
    await tab.page.goto(f"{site.url}{found[0]}")
    assert await address(tab) == "/setup"
    await fill(tab, NEW_PASSWORD, NEW_PASSWORD)
    await tab.page.get_by_role("button", name="Set password").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("The new password is set.")
    assert [each["name"] for each in await tab.page.context.cookies()] == []
    await tab.page.get_by_role("button", name="Sign in").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await tab.page.goto(f"{site.url}{found[0]}")
    await fill(tab, NEW_PASSWORD, NEW_PASSWORD)
    await tab.page.get_by_role("button", name="Set password").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("This link is not good any more")


async def test_expired_link_says_how_to_get_another(site: Site) -> None:
    told = await site.server.run("users", "link", "bob")
    found = re.search(r"/setup#reset=\S+", told.out)
    assert found, told
    (path,) = site.server.folder.rglob("mimi.db")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE account_links SET expires_at = '2026-01-01 00:00:00.000000'")
    tab = await site.tab(as_=None)
    tab.expected = ["401", "400", "422"]
    await tab.page.goto(f"{site.url}{found[0]}")
    await fill(tab, NEW_PASSWORD, NEW_PASSWORD)
    await tab.page.get_by_role("button", name="Set password").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("This link is not good any more")
    await expect(tab.page.get_by_text("mimi-mqtt users link NAME")).to_be_visible()


async def test_refused_requests_are_told_to_administrators_alone(site: Site) -> None:
    admin, member = await site.tab(), await _as_bob(site)
    for tab in (admin, member):
        await tab.goto("/setup")
        await opened(tab.page, "Connect a device")
    assert (await ask(site)).status_code == 400
    refused = admin.page.get_by_role("row").filter(has_text="Not a device")
    await expect(refused.first).to_contain_text("Device-Id")
    await expect(member.page.get_by_text("No device has asked yet")).to_be_visible()
    await expect(member.page.get_by_text("Not a device")).to_have_count(0)
    for hidden in ("Give it a voice", "Check the network"):
        await expect(step(member.page, hidden)).to_have_count(0)
    await expect(
        member.page.get_by_role("navigation").first.get_by_role("link", name="Set-up")
    ).to_have_count(0)
    assert await member.violations() == []
    await member.shot("setup-member-desktop-light")


async def test_code_makes_a_device_the_callers(site: Site) -> None:
    tab = await site.tab()
    tab.expected = ["404", "429", "422", "409"]
    await tab.goto("/setup")
    connect = await opened(tab.page, "Connect a device")
    code = connect.get_by_role("textbox", name="Code")
    await code.fill("000 000")
    await connect.get_by_role("button", name="Add device").click()
    await expect(connect.get_by_role("alert")).to_be_visible()


async def test_each_stage_of_the_voice_is_tested_with_its_time(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/setup")
    voice = await opened(tab.page, "Give it a voice")
    await voice.get_by_role("button", name="Use a sample sentence").click()
    await expect(voice.get_by_text("Answer after")).to_have_count(1)
    await voice.get_by_label("Question").fill("how much is two plus three?")
    await voice.get_by_role("button", name="Ask", exact=True).click()
    await expect(voice.get_by_text("Answer after")).to_have_count(2)
    await expect(voice.get_by_role("status").filter(has_text="5").first).to_be_visible()
    await voice.get_by_role("button", name="Listen").click()
    await expect(voice.get_by_text("You should have heard it.")).to_be_visible()
    await tab.shot("setup-voice-tested-desktop-light")
    await voice.get_by_role("button", name="Record 3 seconds").click()
    await expect(voice.get_by_role("button", name="Speak now")).to_be_visible()
    await expect(voice.get_by_role("button", name="Record 3 seconds")).to_be_enabled()
    await expect(voice.get_by_text("Answer after")).to_have_count(3)
    # What went well here is known when the page is opened again.
    await tab.page.reload()
    await expect(step(tab.page, "Give it a voice").get_by_text("Works")).not_to_have_count(0)


async def test_model_that_can_not_be_downloaded_says_why(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/setup")
    voice = await opened(tab.page, "Give it a voice")
    install = voice.get_by_role("button", name=re.compile("^Install ")).first
    name = (await install.get_attribute("aria-label") or "").removeprefix("Install ")
    await install.click()
    await expect(voice.get_by_role("progressbar", name=f"Installing {name}")).to_be_visible()
    await voice.get_by_role("button", name=f"Cancel the installation of {name}").click()
    ended = voice.get_by_text("Cancelled. What was downloaded is kept").or_(voice.get_by_text("could not be"))
    await expect(ended.first).to_be_visible(timeout=60_000)
    await voice.get_by_role("tab", name="Servers found").click()
    await expect(voice.get_by_text("No server was found")).to_be_visible()
    await tab.shot("setup-found-desktop-light")


async def test_key_that_the_service_refuses_is_not_saved(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/setup")
    voice = await opened(tab.page, "Give it a voice")
    await voice.get_by_role("tab", name="Keys of services").click()
    await voice.get_by_role("combobox", name="Service").select_option("groq")
    await voice.get_by_label("Key", exact=True).fill("gsk_wrong")
    await voice.get_by_role("button", name="Test and save").click()
    await expect(voice.get_by_role("alert").first).to_be_visible(timeout=60_000)
    async with site.program() as api:
        assert (await api.get("/providers/groq")).json()["secrets"] == {}
    await voice.get_by_role("button", name="Save it all the same").click()
    await expect(tab.page.get_by_text("The key is saved and in use.")).to_be_visible()
    assert "gsk_wrong" not in await tab.page.content()
    async with site.program() as api:
        assert list((await api.get("/providers/groq")).json()["secrets"]) == ["api_key"]
        assert (await api.delete("/providers/groq")).status_code == 204
    assert await tab.violations() == []
    await tab.shot("setup-keys-desktop-light")
    # Saved is what was tested, whatever is chosen meanwhile.
    held: asyncio.Queue[Held] = asyncio.Queue()
    await tab.page.route("**/groq/test", lambda route: held.put_nowait(route))
    await voice.get_by_label("Key", exact=True).fill("gsk_right")
    await voice.get_by_role("button", name="Test and save").click()
    tested = await held.get()
    await voice.get_by_role("combobox", name="Service").select_option("deepgram")
    await tab.page.route("**/providers/*", lambda route: held.put_nowait(route))
    while tested.request.method == "POST":
        await tested.fulfill(json={"role": "llm", "name": "groq", "ok": True})
        tested = await held.get()
    assert (tested.request.method, tested.request.url.rpartition("/")[2]) == ("PATCH", "groq")
    assert tested.request.post_data_json == {"options": {}, "secrets": {"api_key": "gsk_right"}}
    tab.expected = ["ERR_FAILED"]
    await tested.abort()


async def test_server_found_on_this_machine_is_used_by_one_button(site: Site, ollama: Ollama) -> None:
    ollama.ollama = {"qwen3:8b": ["tools"], "gemma3:4b": ["tools"]}
    tab = await site.tab()
    await tab.goto("/setup")
    voice = await opened(tab.page, "Give it a voice")
    await voice.get_by_role("tab", name="Servers found").click()
    await voice.get_by_label("Model", exact=True).select_option("qwen3:8b")
    await voice.get_by_role("button", name="Use it: Ollama").click()
    await expect(voice.get_by_text("answered 'pong'")).to_be_visible()
    await expect(voice.get_by_text("In use")).to_be_visible()
    assert await tab.violations() == []
    await tab.shot("setup-found-in-use-desktop-light")
    async with site.program() as api:
        asked = (await api.get("/providers", params={"role": "llm"})).json()["items"]
        assert {each["name"]: each["place"] for each in asked}["ollama"] == 1
        options = (await api.get("/providers/ollama")).json()["given"]
        assert options == {"base_url": f"{ollama.url}/v1", "llm_model": "qwen3:8b"}
        assert (await api.delete("/providers/ollama")).status_code == 204
    ollama.ollama = {}


async def test_network_is_checked_through_the_own_addresses(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/setup")
    network = await opened(tab.page, "Check the network")
    await network.get_by_role("button", name="Check now").click()
    for name in ("MQTT", "Audio (UDP)", "OTA (HTTP)", "Clock"):
        line = network.get_by_role("listitem").filter(has_text=name)
        await expect(line.get_by_text("Good:")).to_have_count(1)
    await expect(step(tab.page, "Check the network").get_by_text("Done")).to_be_visible()
    assert await tab.violations() == []
    await tab.shot("setup-network-desktop-light")


@pytest.mark.parametrize("theme", THEMES)
async def test_every_step_is_accessible_and_fits_a_phone(site: Site, theme: str) -> None:
    for size, language in (("desktop", "en"), ("phone", "en"), ("phone", "ru"), ("phone", "vi")):
        tab = await site.tab(size=size, theme=theme, language=language)
        await tab.goto("/setup")
        heads = tab.page.locator("section > button[aria-expanded]")
        for at in range(1, await heads.count()):
            if await heads.nth(at).get_attribute("aria-expanded") == "false":
                await heads.nth(at).click()
            await tab.settled()
            assert await tab.overflow() <= 0
            await tab.shot(f"setup-{at + 1}-{size}-{theme}-{language}")
            if language == "en":
                assert await tab.violations() == []
        await tab.page.context.close()
        site.contexts.remove(tab.page.context)


async def test_page_goes_on_after_a_killed_server(site: Site) -> None:
    tab = await site.tab()
    tab.expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET"]
    await tab.goto("/setup")
    connect = await opened(tab.page, "Connect a device")
    await expect(connect.get_by_text("live", exact=True)).to_be_visible()
    await site.server.stop(signal.SIGKILL)
    await expect(connect.get_by_text("live", exact=True)).to_be_hidden()
    await site.server.restart()
    await expect(connect.get_by_text("live", exact=True)).to_be_visible()
    assert (await ask(site, **{"Device-Id": OTHER, "Client-Id": "c-2"})).status_code == 200
    await expect(connect.get_by_role("row").filter(has_text=OTHER.replace(":", "-")).first).to_be_visible()


async def _as_bob(site: Site) -> Tab:
    """A tab of the member bob, whose password a test before may have changed."""
    tab = await site.tab(as_=None)
    for password in (NEW_PASSWORD, PASSWORD):
        signed = await tab.page.context.request.post(
            f"{site.url}/api/v1/session", data={"user_name": "bob", "password": password}
        )
        if signed.status == 201:
            return tab
    raise AssertionError("bob can't sign in")
