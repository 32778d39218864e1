"""Providers and prices in the web app: a key that is entered, tried and never told, and what it all costs."""

import contextlib
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import yaml
from playwright.async_api import Error, Route, expect

from tests.e2e.web.conftest import SIZES, THEMES, Site, Tab, serving
from tests.servers.openai_server import OpenAiServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

KEY = "sk-planted-4f7a9c21d85e"
FILE = {
    "providers": {
        "stt": "offline", "llm": ["openai:house", "offline"], "tts": "offline",
        "prices": {"deepgram": {"per_minute": 0.0043}},
        "options": {"groq": {"llm_model": "llama-4"}, "openai:house": {"llm_temperature": 0.5}},
    }
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vendor() -> AsyncIterator[OpenAiServer]:
    """A service on this machine that takes KEY alone."""
    server = OpenAiServer()
    server.key = KEY
    await server.start()
    yield server
    await server.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A server with a provider and a price of broker.yaml, and a key in its environment."""
    folder = tmp_path_factory.mktemp("providers")
    (folder / "broker.yaml").write_text(yaml.safe_dump(FILE))
    async with serving(folder, MISTRAL_API_KEY="from-the-environment") as site:
        await site.first_admin()
        async with site.program() as api:
            await api.post(
                "/agents", json={"key": "chef", "settings": {"name": "Chef", "llm": ["mistral", "offline"]}}
            )
            await api.put("/prices/openai", json={"input_per_million": 0.4, "output_per_million": 1.6})
            await api.put("/prices/elevenlabs", json={"per_million_characters": 50})
        yield site


class Told:
    """Everything that the API tells a tab, but for the event stream."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def listen(self, tab: Tab) -> None:
        await tab.page.route("**/api/v1/**", self._pass_on)

    async def _pass_on(self, route: Route) -> None:
        if route.request.url.endswith("/events"):
            return await route.continue_()
        with contextlib.suppress(Error):  # the page was left meanwhile
            answer = await route.fetch()
            self.texts.append(str(answer.headers) + await answer.text())
            await route.fulfill(response=answer)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
async def test_pages_look_right(site: Site, size: str, theme: str) -> None:
    tab = await site.tab(size=size, theme=theme)
    for path, name, waits in (
        ("/providers", "providers", "offline"),
        ("/providers/groq", "provider", "Set in broker.yaml"),
        ("/providers/mistral", "provider-environment", "MISTRAL_API_KEY"),
        ("/providers/sherpa_onnx", "provider-model", "Speech to text"),
        ("/prices", "prices", "per minute transcribed"),
    ):
        await tab.goto(path)
        await expect(tab.page.get_by_text(waits).first).to_be_attached()
        await tab.settled()
        assert await tab.violations() == []
        assert await tab.overflow() <= 0
        await tab.shot(f"{name}-{size}-{theme}")
    await tab.page.get_by_role("button", name="Add a price").click()
    await expect(tab.page.get_by_role("dialog")).to_be_visible()
    assert await tab.violations() == []
    await tab.shot(f"price-edit-{size}-{theme}")


@pytest.mark.parametrize("language", ["ru", "vi"])
async def test_long_languages_fit_a_phone(site: Site, language: str) -> None:
    tab = await site.tab(size="phone", language=language)
    for path, name in (("/providers", "providers"), ("/providers/groq", "provider"), ("/prices", "prices")):
        await tab.goto(path)
        await tab.settled()
        assert await tab.overflow() <= 0
        await tab.shot(f"{name}-phone-{language}")


async def test_a_key_is_entered_tested_saved_and_never_told(site: Site, vendor: OpenAiServer) -> None:
    tab = await site.tab()
    page, told = tab.page, Told()
    await told.listen(tab)
    await tab.goto("/providers")
    await page.get_by_role("button", name="Another account").click()
    await page.get_by_label("Kind").select_option("openai")
    await page.get_by_label("Label").fill("lab")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("openai:lab")

    await page.get_by_label("Address").fill(vendor.base_url)
    await page.get_by_label("Key", exact=True).fill("sk-wrong-one-0000")
    test = page.get_by_role("button", name=re.compile("^Test.*Language model"))
    await test.click()
    await expect(page.get_by_text("Does not work")).to_be_visible()
    await expect(page.get_by_text("with what is not saved yet")).to_be_visible()
    await page.get_by_label("Key", exact=True).fill(KEY)
    await test.click()
    await expect(page.get_by_text("Works", exact=True)).to_be_visible()
    await expect(page.get_by_text("Whole answer")).to_be_visible()
    assert await tab.violations() == []
    async with site.program() as api:
        assert (await api.get("/providers/openai:lab")).json()["version"] is None

    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("Saved: in force from the next turn on")).to_be_visible()
    await expect(page.get_by_label("Key", exact=True)).to_have_value("")
    await expect(page.get_by_text(re.compile("^Set 27|^Set [0-9]")).first).to_be_visible()
    await test.click()
    await expect(page.get_by_text("Works", exact=True)).to_be_visible()
    await tab.shot("provider-tested-desktop-light")
    await page.get_by_role("tab", name="History").click()
    await expect(page.get_by_text("Keys changed: Key")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Address")).to_have_value(vendor.base_url)
    await tab.goto("/audit")
    await tab.goto("/providers")

    texts = [*told.texts, await page.content(), site.server.log]
    texts.append(
        str(await page.evaluate("() => [{...localStorage}, {...sessionStorage}].map(s => JSON.stringify(s))"))
    )
    assert any("openai:lab" in text for text in texts)
    assert not [text[:200] for text in texts if KEY in text]


async def test_a_stored_key_is_not_sent_to_another_address(site: Site, vendor: OpenAiServer) -> None:
    async with site.program() as api:
        given = {"options": {"base_url": "http://127.0.0.1:9/v1"}, "secrets": {"api_key": KEY}}
        assert (await api.put("/providers/openai:moved", json=given)).status_code == 200
    tab = await site.tab()
    page = tab.page
    vendor.asked.clear()
    await tab.goto("/providers/openai%3Amoved")
    await page.get_by_label("Address").fill(vendor.base_url)
    await expect(page.get_by_role("alert")).to_contain_text("Enter the key again")
    await expect(page.get_by_text("To be entered again", exact=True)).to_be_visible()
    await page.get_by_role("button", name=re.compile("^Test.*Language model")).click()
    await expect(page.get_by_text("Does not work")).to_be_visible()
    await tab.shot("provider-moved-desktop-light")
    assert not [asked for asked in vendor.asked if KEY in str(asked.headers)]
    await page.get_by_role("button", name="Discard").click()
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_what_is_fixed_is_locked_and_what_is_removed_can_come_back(site: Site) -> None:
    async with site.program() as api:
        await api.put("/providers/custom", json={"options": {"base_url": "http://127.0.0.1:9/v1"}})
    tab = await site.tab()
    page = tab.page
    await tab.goto("/providers/groq")
    await expect(page.get_by_role("textbox", name="Model").nth(1)).to_be_disabled()
    await tab.goto("/providers/mistral")
    await expect(page.get_by_text("Set by the environment variable MISTRAL_API_KEY")).to_be_visible()
    await expect(page.locator("input[type=password]")).to_have_count(0)
    await tab.goto("/providers/custom")
    await page.get_by_role("button", name="Take back", exact=True).click()
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_label("Address")).to_have_value("http://127.0.0.1:9/v1")


async def test_a_second_editor_of_options_is_told(site: Site) -> None:
    async with site.program() as api:
        for model in ("first", "other"):
            await api.put("/providers/ollama", json={"options": {"llm_model": model}})
        tab = await site.tab()
        tab.expected = ["412"]
        page = tab.page
        await tab.goto("/providers/ollama")
        await page.get_by_label("Temperature").fill("0.7")
        await page.get_by_role("tab", name="History").click()
        await page.get_by_role("button", name="Restore version 1").click()
        await expect(page.get_by_text("Version 1 is in force again")).to_be_visible()
        await page.get_by_role("tab", name="Options").click()
        await expect(page.get_by_role("textbox", name="Model")).to_have_value("first")
        await expect(page.get_by_label("Temperature")).to_have_value("0.7")
        await api.patch("/providers/ollama", json={"options": {"llm_model": "second"}})
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("Someone else saved in the meantime")
        await page.get_by_role("button", name="Show their version").click()
        await expect(page.get_by_role("textbox", name="Model")).to_have_value("second")
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_text("Saved: in force from the next turn on")).to_be_visible()
        given = (await api.get("/providers/ollama")).json()["given"]
    assert given == {"llm_model": "second", "llm_temperature": 0.7}


async def test_prices_are_set_changed_compared_and_deleted(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    await tab.goto("/prices")
    await page.get_by_role("button", name="Add a price").click()
    await page.get_by_label("Provider").select_option("anthropic")
    await page.get_by_label("Tokens that are read").fill("1")
    await page.get_by_label("Tokens that are written").fill("5")
    await page.get_by_role("button", name="Save", exact=True).click()
    row = page.get_by_role("row", name=re.compile("anthropic"))
    await expect(row).to_contain_text("5 per million tokens written")
    actions = page.get_by_role("button", name="Actions for anthropic")
    await actions.click()
    await page.get_by_role("menuitem", name="Change").click()
    await expect(page.get_by_label("Tokens that are written")).to_have_value("5")
    await page.get_by_label("Tokens that are written").fill("6")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(row).to_contain_text("6 per million tokens written")
    await actions.click()
    await page.get_by_role("menuitem", name="History").click()
    await expect(page.get_by_role("dialog").locator(".added")).to_have_text("+6.0")
    await page.get_by_role("button", name="Restore version 1").click()
    await expect(row).to_contain_text("5 per million tokens written")
    await actions.click()
    await page.get_by_role("menuitem", name="Delete").click()
    await expect(row).to_have_count(0)
    await page.get_by_role("button", name="Undo").click()
    await expect(row).to_be_visible()
    await expect(page.get_by_role("button", name="Actions for deepgram")).to_have_count(0)
