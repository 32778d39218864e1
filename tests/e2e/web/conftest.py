"""The web app in Debian's Chromium, with a real server: what a person sees and does."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.e2e.conftest import Server, clean_environ

ROOT = Path(__file__).parents[3]
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
SCREENSHOTS = ROOT / "build/screenshots"
expect.set_options(timeout=20_000)

PASSWORD = "a long password of mine"
SIZES = {"desktop": (1280, 900), "phone": (360, 780)}
THEMES = ("light", "dark")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


def chromium_path() -> str:
    """Debian's Chromium, which scripts/test installs."""
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("Chromium is missing: ./scripts/test installs it, or apt-get install chromium")
    return found


@asynccontextmanager
async def chromium(*options: str) -> AsyncIterator[Browser]:
    """A browser with further options."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), args=[*CHROMIUM, *options]
        )
        yield browser
        await browser.close()


@dataclass
class Tab:
    """A page of the app, and what went wrong in it: what it logs as errors, among them refusals by its own
    policy."""

    page: Page
    site: "Site"
    errors: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of errors that the test causes itself."""

    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(part in error for part in self.expected)]

    async def goto(self, path: str) -> None:
        """Opens an address of the app and waits for its heading."""
        await self.page.goto(f"{self.site.url}{path}")
        await self.page.locator("h1").first.wait_for()

    async def settled(self) -> None:
        """Until nothing is loading."""
        await self.page.wait_for_function("() => document.querySelectorAll('.skeleton').length === 0")

    async def violations(self) -> list[str]:
        """What axe finds wrong with what is shown."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = await self.page.evaluate(
            "rules => axe.run(document, {runOnly: rules}).then(r => r.violations)", RULES
        )
        return [
            f"{each['id']}: {node['html'][:160]} ({node.get('failureSummary', '')[:200]})"
            for each in found
            for node in each["nodes"]
        ]

    async def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        found: int = await self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return found

    async def shot(self, name: str) -> None:
        """Keeps a picture of the whole page under build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        # As high as the page, so that what keeps its place in the window is where it belongs.
        before = self.page.viewport_size or {"width": 1280, "height": 900}
        height: int = await self.page.evaluate("() => document.documentElement.scrollHeight")
        await self.page.set_viewport_size(
            {"width": before["width"], "height": min(8000, max(before["height"], height))}
        )
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")
        await self.page.set_viewport_size(before)


@dataclass
class Site:
    """A running server, and browsers that look at it."""

    server: Server
    url: str
    browser: Browser
    setup_link: str
    tabs: list[Tab] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    @asynccontextmanager
    async def program(self, as_: str = "ada") -> AsyncIterator[httpx.AsyncClient]:
        """A client of the API, signed in."""
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v1", trust_env=False, timeout=30) as client:
            signed = await client.post("/session", json={"user_name": as_, "password": PASSWORD})
            assert signed.status_code == 201, signed.text
            yield client

    async def first_admin(self) -> None:
        """Makes the administrator ada, as the printed link does."""
        token = self.setup_link.partition("#token=")[2]
        given = {"token": token, "user_name": "ada", "password": PASSWORD}
        # The API is loaded with its first request, which takes a while on a busy machine.
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            made = await client.post(f"{self.url}/api/v1/setup", json=given)
            assert made.status_code == 201, made.text

    async def tab(
        self,
        as_: str | None = "ada",
        size: str = "desktop",
        theme: str = "light",
        language: str = "en",
        **options: Any,
    ) -> Tab:
        """A new tab in a browser profile of its own, signed in as `as_`."""
        width, height = SIZES[size]
        context = await self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,  # type: ignore[arg-type]
            locale={"en": "en-GB", "vi": "vi-VN", "zh": "zh-CN", "ja": "ja-JP", "ru": "ru-RU"}[language],
            timezone_id="Europe/Berlin",
            service_workers="block",
            reduced_motion="reduce",
            **options,
        )
        self.contexts.append(context)
        if as_ is not None:
            signed = await context.request.post(
                f"{self.url}/api/v1/session", data={"user_name": as_, "password": PASSWORD}
            )
            assert signed.status == 201, await signed.text()
        page = await context.new_page()
        page.set_default_timeout(20_000)
        made = Tab(page, self)
        page.on("console", lambda said: made.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: made.errors.append(str(error)))
        self.tabs.append(made)
        return made

    async def close_tabs(self) -> list[str]:
        """Closes all tabs, and returns what went wrong in them."""
        found = [error for tab in self.tabs for error in tab.unexpected()]
        for context in self.contexts:
            await context.close()
        self.tabs.clear()
        self.contexts.clear()
        return found


@asynccontextmanager
async def serving(folder: Path, *options: str, **settings: str) -> AsyncIterator[Site]:
    """A server on free ports, and a browser."""
    (folder / "server.log").touch()
    binds = {f"MIMI_{part}__BIND": "127.0.0.1:0" for part in ("MQTT", "UDP", "HTTP")}
    # Tests open more pages in a minute, each without a cache, than the people of one address do.
    shares = {"MIMI_SHARES__HTTP_REQUESTS_PER_MINUTE": "100000", "MIMI_SHARES__HTTP_CPU_PERCENT": "100"}
    defaults = binds | shares | {"MIMI_PROVIDERS__FIND_LLM": "false"}
    server = Server(folder, clean_environ(**(defaults | settings)))
    await server.start()
    try:
        url = server.ota.removesuffix("/xiaozhi/ota/")
        link = await _printed_link(server)
        async with chromium(*options) as browser:
            yield Site(server, url, browser, link)
    finally:
        await server.stop()


async def _printed_link(server: Server) -> str:
    assert server.process is not None
    assert server.process.stdout is not None
    said = server.welcome
    async with asyncio.timeout(20):
        while "/setup#token=" not in said:
            line = (await server.process.stdout.readline()).decode()
            assert line, f"the server printed no link:\n{said}"
            said += line
    found = re.search(r"\S+/setup#token=\S+", said)
    assert found
    return found[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One server and browser for a module's tests, with the administrator ada."""
    async with serving(tmp_path_factory.mktemp("web")) as made:
        await made.first_admin()
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def site(module_site: Site) -> AsyncIterator[Site]:
    """The module's server and browser; a page that logs an error fails the test."""
    yield module_site
    assert await module_site.close_tabs() == []


OpenTab = Callable[..., Tab]
