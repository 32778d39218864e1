"""What surrounds each page: signing in, navigation, language, theme, a lost server."""

import re
import signal

import pytest
from playwright.async_api import expect

from tests.e2e.web.conftest import PASSWORD, SIZES, THEMES, Site

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


async def test_signing_in_and_out_stays_at_the_address(site: Site) -> None:
    tab = await site.tab(as_=None)
    tab.expected = ["401"]
    await tab.goto("/about")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await tab.page.get_by_label("User name").fill("ada")
    await tab.page.get_by_label("Password").fill("wrong")
    await tab.page.get_by_role("button", name="Sign in").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("wrong user name or password")
    await tab.page.get_by_label("Password").fill(PASSWORD)
    await tab.page.get_by_role("button", name="Sign in").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("About")
    cookies = await tab.page.context.cookies()
    assert [(each["name"], each["httpOnly"], each["sameSite"]) for each in cookies] == [
        ("mimi_session", True, "Lax")
    ]
    await tab.page.get_by_role("button", name=re.compile("Signed in as")).click()
    await tab.page.get_by_role("menuitem", name="Sign out").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Sign in")


async def test_language_and_theme_are_kept(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/components")
    await tab.page.get_by_role("button", name="Language").click()
    await tab.page.get_by_role("menuitem", name="Tiếng Việt").click()
    await expect(tab.page.locator("html")).to_have_attribute("lang", "vi")
    await expect(tab.page.get_by_role("navigation").first).to_contain_text("Thiết bị")
    await tab.page.get_by_role("button", name="Sáng hoặc tối").click()
    await tab.page.get_by_role("menuitem", name="Tối").click()
    await tab.page.reload()
    await expect(tab.page.locator("html")).to_have_attribute("data-theme", "dark")
    await expect(tab.page.get_by_role("navigation").first).to_contain_text("Thiết bị")


async def test_keyboard_reaches_the_content_and_a_new_page(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/about")
    await tab.page.keyboard.press("Tab")
    await expect(tab.page.get_by_text("Skip to content")).to_be_focused()
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.locator("main")).to_be_focused()
    await tab.page.get_by_role("navigation").first.get_by_role("link", name="Devices").press("Enter")
    await expect(tab.page.get_by_role("heading", level=1)).to_be_focused()


async def test_links_out_of_the_app_and_into_new_tabs_are_the_browsers(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/about")
    async with tab.page.context.expect_page() as opened:
        await tab.page.get_by_role("link", name="Devices").first.click(modifiers=["ControlOrMeta"])
    other = await opened.value
    await expect(other).to_have_url(f"{site.url}/devices")
    await other.close()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("About")
    await tab.page.get_by_role("link", name="OpenAPI document").click()
    await expect(tab.page.locator("body")).to_contain_text('"openapi"')


async def test_back_leads_to_the_place_and_the_form_that_were_left(site: Site) -> None:
    tab = await site.tab()
    page = tab.page
    title = page.get_by_role("heading", level=1)
    side = page.get_by_role("navigation").first
    await tab.goto("/settings")
    await tab.settled()
    await page.evaluate("() => scrollTo(0, 2000)")
    await side.get_by_role("link", name="Agents").click()
    await expect(title).to_have_text("Agents")
    assert await page.evaluate("() => scrollY") == 0
    await page.go_back()
    await expect(title).to_have_text("Settings")
    await page.wait_for_function("() => scrollY === 2000")

    # What is still being typed is nothing to the next page.
    await side.get_by_role("link", name="Conversations").click()
    await page.get_by_role("searchbox").fill("light")
    await side.get_by_role("link", name="Agents").click()
    await page.locator("tbody a").first.click()
    greeting = page.get_by_role("textbox", name="Greeting")
    await greeting.wait_for()
    form = page.url
    await side.get_by_role("link", name="About").click()
    await expect(title).to_have_text("About")
    await page.go_back()
    await greeting.fill("Good morning")
    for answer in ("Stay", "Leave without saving"):
        await page.go_back()
        await page.get_by_role("button", name=answer).click()
        await expect(page).to_have_url(form if answer == "Stay" else f"{site.url}/agents")
    await expect(title).to_have_text("Agents")


async def test_unknown_address_has_a_page(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/nothing-here")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("There is nothing here")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
async def test_components_in_all_their_states(site: Site, size: str, theme: str) -> None:
    tab = await site.tab(size=size, theme=theme)
    await tab.goto("/components")
    await tab.page.locator(".u-legend").wait_for()
    assert await tab.violations() == []
    assert await tab.overflow() <= 0
    await tab.shot(f"components-{size}-{theme}")


async def test_open_page_outlives_a_killed_server(site: Site) -> None:
    tab = await site.tab()
    tab.expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET"]
    await tab.goto("/about")
    await tab.settled()  # the page itself would tell the same of what it still asks for
    await site.server.stop(signal.SIGKILL)
    await expect(tab.page.get_by_text("The server does not answer.")).to_be_visible()
    await site.server.restart()
    await expect(tab.page.get_by_text("The server does not answer.")).to_be_hidden()
