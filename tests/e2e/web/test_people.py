"""Users, groups, API keys, the audit, and one's own account with passkeys: what a person does there."""

import re
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.e2e.web.conftest import PASSWORD, SIZES, THEMES, Site, Tab, serving

with warnings.catch_warnings():  # the provider uses what its library deprecates
    warnings.simplefilter("ignore")
    import oidc_provider_mock

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

PEOPLE = (
    {"name": "linh", "display_name": "Linh Nguyễn", "email": "linh@example.org", "language": "vi"},
    {"name": "tom", "display_name": "Tom Berger", "role": "admin"},
    {"name": "yuki", "display_name": "Yuki Tanaka"},
    {"name": "anastasia.konstantinopolskaya", "display_name": "Анастасия Константинопольская-Воскресенская"},
)
PAGES = ("account", "users", "groups", "keys", "audit")


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A real OpenID provider on this machine."""
    with oidc_provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_site(tmp_path_factory: pytest.TempPathFactory, provider: str) -> AsyncIterator[Site]:
    """A server with a household, a few people, and a provider that signs people in."""
    settings = {
        "MIMI_OIDC__ISSUER": provider, "MIMI_OIDC__CLIENT_ID": "mimi", "MIMI_OIDC__CLIENT_SECRET": "s3cret",
        "MIMI_OIDC__LABEL": "Example ID", "MIMI_OIDC__NEW_USERS": "true", "MIMI_HTTP__BIND": "localhost:0",
    }  # fmt: skip
    async with serving(tmp_path_factory.mktemp("people"), **settings) as made:
        made.url = re.sub(r"//[^:/]+", "//localhost", made.url)
        await made.first_admin()
        async with made.program() as api:
            ids = [await _add(api, person) for person in PEOPLE]
            groups = [
                (await api.post("/groups", json={"name": name})).json()["id"]
                for name in ("Nguyễn family", "Workshop")
            ]
            for group, user in ((groups[0], ids[0]), (groups[0], ids[2]), (groups[1], ids[1])):
                assert (await api.put(f"/groups/{group}/members/{user}")).is_success
        yield made


async def _add(api: httpx.AsyncClient, person: dict[str, Any]) -> str:
    made = await api.post("/users", json={"password": PASSWORD, **person})
    assert made.status_code == 201, made.text
    found: str = made.json()["id"]
    return found


async def _virtual_authenticator(tab: Tab) -> None:
    """A platform authenticator whose person is always verified."""
    session = await tab.page.context.new_cdp_session(tab.page)
    await session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


async def test_a_person_is_added_by_link_and_sees_the_app_of_a_member(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/users")
    await tab.page.get_by_role("button", name="Add a user").click()
    form = tab.page.get_by_role("dialog")
    await form.get_by_label("User name").fill("bob")
    await form.get_by_label("Displayed name").fill("Bob Miller")
    await form.get_by_role("button", name="Add a user").click()
    link = await tab.page.get_by_role("dialog").locator("code").inner_text()
    assert link.startswith(f"{site.url}/setup#reset=")
    await tab.shot("users-link-desktop-light")
    await tab.page.get_by_role("button", name="Done").click()
    await expect(tab.page.get_by_role("link", name="Bob Miller")).to_be_visible()

    his = await site.tab(as_=None)
    his.expected = ["401", "422"]
    await his.page.goto(link)
    await expect(his.page.get_by_role("heading", level=1)).to_have_text("Set a new password")
    assert "#" not in his.page.url, "the token is not left in the address"
    assert await his.violations() == []
    await his.shot("set-password-desktop-light")
    await his.page.get_by_label("Password", exact=True).fill(PASSWORD)
    await his.page.get_by_label("Password once more").fill(f"{PASSWORD}x")
    await his.page.get_by_role("button", name="Set password").click()
    await expect(his.page.get_by_text("The two passwords differ.")).to_be_visible()
    await his.page.get_by_label("Password once more").fill(PASSWORD)
    await his.page.get_by_role("button", name="Set password").click()
    await his.page.get_by_role("button", name="Sign in").click()
    await his.page.get_by_label("User name").fill("bob")
    await his.page.get_by_label("Password").fill(PASSWORD)
    await his.page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(his.page.get_by_role("button", name="Signed in as Bob Miller")).to_be_visible()
    entries = his.page.get_by_role("navigation").first
    await expect(entries.get_by_role("link", name="API keys")).to_be_visible()
    for hidden in ("Users", "Audit", "Settings", "Backup"):
        await expect(entries.get_by_role("link", name=hidden)).to_have_count(0)
    await his.goto("/groups")
    await expect(his.page.get_by_text("An administrator puts people into groups.")).to_be_visible()
    await his.goto("/keys")
    await expect(his.page.get_by_role("tab")).to_have_count(0)

    again = await site.tab(as_=None)
    again.expected = ["401", "422"]
    await again.page.goto(link)
    await again.page.get_by_label("Password", exact=True).fill(PASSWORD)
    await again.page.get_by_label("Password once more").fill(PASSWORD)
    await again.page.get_by_role("button", name="Set password").click()
    await expect(again.page.get_by_role("alert")).to_contain_text("not good")


async def test_a_passkey_is_registered_and_signs_in(site: Site) -> None:
    tab = await site.tab(as_="linh")
    tab.expected = ["401"]
    await _virtual_authenticator(tab)
    await tab.goto("/account")
    await tab.page.get_by_role("button", name="Add a passkey").click()
    await tab.page.get_by_role("dialog").get_by_label("Name").fill("Laptop")
    await tab.page.get_by_role("dialog").get_by_role("button", name="Go on").click()
    await expect(tab.page.get_by_text("Passkey added")).to_be_visible()
    await expect(tab.page.get_by_role("listitem").filter(has_text="Laptop")).to_contain_text("localhost")
    await tab.page.get_by_role("button", name="Add a passkey").click()
    await tab.page.get_by_role("dialog").get_by_label("Name").fill("The same again")
    await tab.page.get_by_role("dialog").get_by_role("button", name="Go on").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("has a passkey of yours already")
    await tab.page.get_by_role("button", name="Cancel").click()

    signed_in = tab.page.get_by_role("button", name="Signed in as Linh Nguyễn")
    offered = "is => { PublicKeyCredential.isConditionalMediationAvailable = async () => is; }"
    await tab.page.evaluate(offered, False)
    await signed_in.click()
    await tab.page.get_by_role("menuitem", name="Sign out").click()
    await tab.page.get_by_role("button", name="Sign in with a passkey").click()
    await expect(signed_in).to_be_visible()
    # Where the browser offers passkeys at the user name, this authenticator answers at once.
    await tab.page.evaluate(offered, True)
    await signed_in.click()
    await tab.page.get_by_role("menuitem", name="Sign out").click()
    await expect(signed_in).to_be_visible()

    await tab.goto("/account")
    await tab.page.get_by_role("button", name="Remove: Laptop").click()
    await tab.page.get_by_role("button", name="Undo").click()
    await expect(tab.page.get_by_role("button", name="Remove: Laptop")).to_be_visible()


async def test_own_account_password_and_sessions(site: Site) -> None:
    other = await site.tab(as_="yuki")
    await other.goto("/account")
    tab = await site.tab(as_="yuki")
    tab.expected = ["422"]
    await tab.goto("/account")
    await tab.page.get_by_label("Displayed name").fill("Yuki T.")
    await tab.page.get_by_label("Time zone").select_option("Asia/Tokyo")
    await tab.page.get_by_role("button", name="Save").click()
    await expect(tab.page.get_by_role("button", name="Signed in as Yuki T.")).to_be_visible()
    sessions = tab.page.get_by_role("listitem").filter(has_text="Chrome · Linux")
    await expect(sessions).not_to_have_count(1)
    await tab.page.get_by_role("button", name="Sign out all others").click()
    await expect(sessions).to_have_count(1)
    await expect(sessions).to_contain_text("this one")
    other.expected = ["401"]
    await other.page.reload()
    await expect(other.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await tab.page.get_by_label("Present password").fill("wrong")
    await tab.page.get_by_label("New password").fill("another long password")
    await tab.page.get_by_role("button", name="Change password").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("not the account's password")
    await tab.page.get_by_role("region", name="Profile").get_by_label("Language").select_option("ja")
    await tab.page.get_by_role("button", name="Save").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("マイアカウント")


async def test_a_page_that_was_hidden_is_that_of_who_signed_in_elsewhere(site: Site) -> None:
    tab = await site.tab(as_="tom")
    page = tab.page
    seen = "is => { Object.defineProperty(document, 'visibilityState', {value: is, configurable: true});"
    seen += " document.dispatchEvent(new Event('visibilitychange')); }"
    await page.clock.install()
    await tab.goto("/groups")
    entries = page.get_by_role("navigation").first
    await expect(entries.get_by_role("link", name="Users")).to_be_visible()
    await expect(page.get_by_role("heading", name="Workshop")).to_be_visible()
    await page.evaluate(seen, "hidden")
    await page.clock.run_for(31_000)
    request = page.context.request
    assert (await request.delete(f"{site.url}/api/v1/session", headers={"Origin": site.url})).ok
    given = {"user_name": "linh", "password": PASSWORD}
    assert (await request.post(f"{site.url}/api/v1/session", data=given)).ok
    await page.evaluate(seen, "visible")
    await expect(page.get_by_role("button", name="Signed in as Linh Nguyễn")).to_be_visible()
    await expect(entries.get_by_role("link", name="Users")).to_have_count(0)
    await expect(page.get_by_role("heading", name="Nguyễn family")).to_be_visible()
    await expect(page.get_by_role("heading", name="Workshop")).to_have_count(0)


async def test_a_key_is_made_used_and_revoked(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/keys")
    await tab.page.get_by_role("button", name="Make a key").first.click()
    form = tab.page.get_by_role("dialog")
    await form.get_by_label("Name").fill("Home automation")
    await form.get_by_role("button", name="Make the key").click()
    await expect(form.get_by_role("alert")).to_contain_text("at least one thing")
    await form.get_by_label("Read and change the own account").check()
    await tab.settled()
    assert await tab.violations() == []
    await tab.shot("keys-new-desktop-light")
    await form.get_by_role("button", name="Make the key").click()
    secret = await form.get_by_text(re.compile("^mk_.{20}")).first.inner_text()
    assert secret.startswith("mk_")
    await form.get_by_role("button", name="Done").click()
    await expect(tab.page.get_by_text(secret)).to_have_count(0)
    async with httpx.AsyncClient(timeout=60.0, base_url=f"{site.url}/api/v1", trust_env=False) as program:
        program.headers["Authorization"] = f"Bearer {secret}"
        assert (await program.get("/me")).json()["name"] == "ada"
        assert (await program.get("/users")).status_code == 403
        await tab.page.get_by_role("button", name="Revoke Home automation").click()
        await tab.page.get_by_role("button", name="Undo").click()
        assert (await program.get("/me")).status_code == 200
        await tab.page.get_by_role("button", name="Revoke Home automation").click()
        # It is hidden also where the page is left and come back to.
        for name in ("About", "API keys"):
            await tab.page.get_by_role("navigation").first.get_by_role("link", name=name).click()
            await expect(tab.page.get_by_role("heading", level=1)).to_have_text(name)
        await expect(tab.page.get_by_role("button", name="Revoke Home automation")).to_have_count(0)
        await tab.page.get_by_role("status").get_by_role("button", name="Close").last.click()
        await expect(tab.page.get_by_text("No keys")).to_be_visible()
        assert (await program.get("/me")).status_code == 401


async def test_the_last_administrator_stays(site: Site) -> None:
    async with site.program() as api:
        (tom,) = (await api.get("/users", params={"text": "tom"})).json()["items"]
        assert (await api.patch(f"/users/{tom['id']}", json={"role": "member"})).is_success
        (ada,) = (await api.get("/users", params={"text": "ada"})).json()["items"]
    tab = await site.tab()
    tab.expected = ["409"]
    await tab.goto(f"/users/{ada['id']}")
    await tab.page.get_by_label("Role").select_option("member")
    await tab.page.get_by_role("button", name="Save").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("the last administrator")
    await tab.page.reload()
    await tab.page.get_by_role("switch", name="May sign in").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("the last administrator")
    await expect(tab.page.get_by_role("switch", name="May sign in")).to_be_checked()
    await tab.page.get_by_role("button", name="Remove this person").click()
    confirm = tab.page.get_by_role("dialog")
    await expect(confirm.get_by_role("button", name="Remove this person")).to_be_disabled()
    await confirm.get_by_role("textbox").fill("ada")
    await tab.shot("users-remove-desktop-light")
    await confirm.get_by_role("button", name="Remove this person").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("the last administrator")


async def test_a_person_is_disabled_and_removed(site: Site) -> None:
    async with site.program() as api:
        made = await _add(api, {"name": "gone", "display_name": "Gone Soon"})
    his = await site.tab(as_="gone")
    await his.goto("/account")
    his.expected = ["401"]
    tab = await site.tab()
    await tab.goto(f"/users/{made}")
    await expect(tab.page.get_by_text("Chrome · Linux")).to_be_visible()
    await tab.page.get_by_role("switch", name="May sign in").click()
    await expect(tab.page.get_by_text("disabled", exact=True)).to_be_visible()
    await his.page.reload()
    await expect(his.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await tab.page.get_by_role("button", name="Remove this person").click()
    await tab.page.get_by_role("dialog").get_by_role("textbox").fill("gone")
    await tab.page.get_by_role("dialog").get_by_role("button", name="Remove this person").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Users")
    await expect(tab.page.get_by_role("link", name="Gone Soon")).to_have_count(0)


async def test_two_editors_of_an_account_lose_nothing(site: Site) -> None:
    tab = await site.tab()
    tab.expected = ["412"]
    async with site.program() as api:
        made = await _add(api, {"name": "olga", "display_name": "Olga"})
        await tab.goto(f"/users/{made}")
        await tab.page.get_by_label("Displayed name").fill("Olga P.")
        assert (await api.patch(f"/users/{made}", json={"email": "olga@example.org"})).is_success
        await tab.page.get_by_role("button", name="Save").click()
        await expect(tab.page.get_by_role("alert")).to_contain_text("Somebody changed the account meanwhile")
        await expect(tab.page.get_by_label("E-mail")).to_have_value("olga@example.org")
        await expect(tab.page.get_by_label("Displayed name")).to_have_value("Olga P.")
        await tab.page.get_by_role("button", name="Save").click()
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Olga P.")
        saved = (await api.get(f"/users/{made}")).json()
        assert (saved["display_name"], saved["email"]) == ("Olga P.", "olga@example.org")
        assert (await api.delete(f"/users/{made}")).is_success


async def test_groups_get_members_and_lose_them(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/groups")
    card = tab.page.get_by_role("region", name="Workshop")
    await card.get_by_role("button", name="Add a member").click()
    await tab.page.get_by_role("dialog").get_by_role("searchbox").fill("linh")
    await tab.page.get_by_role("dialog").get_by_role("button", name="Add Linh Nguyễn").click()
    await expect(card).to_contain_text("2 members")
    await card.get_by_role("button", name="Actions for Workshop").click()
    await tab.page.get_by_role("menuitem", name="Rename").click()
    await tab.page.get_by_role("dialog").get_by_label("Name").fill("Garage")
    await tab.page.get_by_role("dialog").get_by_role("button", name="Save").click()
    await expect(tab.page.get_by_role("region", name="Garage")).to_be_visible()
    his = await site.tab(as_="linh", language="vi")
    await his.goto("/groups")
    await his.page.get_by_role("region", name="Garage").get_by_role("button", name="Rời nhóm").click()
    await his.page.get_by_role("dialog").get_by_role("button", name="Rời nhóm").click()
    await expect(his.page.get_by_role("region", name="Garage")).to_have_count(0)
    await expect(his.page.get_by_role("region", name="Nguyễn family")).to_be_visible()


async def test_the_audit_tells_all_of_it_in_words(site: Site) -> None:
    tab = await site.tab()
    await tab.goto("/audit")
    rows = tab.page.get_by_role("main").get_by_role("listitem")
    for told in (
        "User: made",
        "API key: ended",
        "Passkey: made",
        "User: link to set a password",
        "Group: changed",
    ):
        await expect(rows.filter(has_text=told).first).to_be_visible()
    await tab.page.get_by_label("What").select_option("key")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("Home automation")
    await rows.first.get_by_text("What changed").click()
    await expect(rows.first).to_contain_text("name: Home automation")
    await tab.shot("audit-filtered-desktop-light")
    await tab.page.get_by_label("Who").select_option(label="Tom Berger")
    await expect(tab.page.get_by_text("No change fits these filters.")).to_be_visible()
    await tab.page.get_by_role("button", name="Clear the filters").click()
    await expect(rows.first).to_be_visible()


async def test_the_provider_signs_people_in(site: Site) -> None:
    tab = await site.tab(as_=None)
    # The page of the provider asks for a font, and for an icon.
    tab.expected = ["401", "ERR_NAME_NOT_RESOLVED", "404"]
    await tab.goto("/")
    assert await tab.violations() == []
    await tab.shot("sign-in-desktop-light")
    await tab.page.get_by_role("link", name="Sign in with Example ID").click()
    await tab.page.locator("input[name=sub]").fill("maria")
    await tab.page.locator("input[name=sub]").press("Enter")
    await expect(tab.page.get_by_role("button", name=re.compile("Signed in as"))).to_be_visible()
    await tab.goto("/account")
    await expect(tab.page.get_by_role("region", name="Single sign-on")).to_contain_text("maria")
    await expect(tab.page.get_by_text("You sign in without a password.")).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
async def test_pages_are_readable_by_everyone(site: Site, size: str, theme: str) -> None:
    language = {
        ("desktop", "light"): "en",
        ("desktop", "dark"): "ru",
        ("phone", "light"): "vi",
        ("phone", "dark"): "ru",
    }
    tab = await site.tab(size=size, theme=theme, language=language[size, theme])
    async with site.program() as api:
        (ada,) = (await api.get("/users", params={"text": "anastasia"})).json()["items"]
    for page in (*PAGES, f"users/{ada['id']}"):
        await tab.goto(f"/{page}")
        await tab.settled()
        assert await tab.violations() == [], page
        assert await tab.overflow() <= 0, page
        await tab.shot(f"{page.partition('/')[0]}{'-one' if '/' in page else ''}-{size}-{theme}")


async def test_small_windows_in_english(site: Site) -> None:
    tab = await site.tab(as_="linh", size="phone")
    for page in ("account", "keys", "groups"):
        await tab.goto(f"/{page}")
        await tab.settled()
        assert await tab.overflow() <= 0, page
        await tab.shot(f"{page}-member-phone-light")
