"""Sessions and accounts at the running server: other origins, proxies, start and first user."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.app import App
from mimi_mqtt.people.access import Role
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.store import people as rows
from tests.fakes.people import PASSWORD, added
from tests.integration.test_app import running

API = "/api/v1"


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    monkeypatch.chdir(tmp_path)
    async with running(tmp_path, {"trusted_proxies": ["127.0.0.1"]}) as started:
        await added(started._parts.people.accounts, "ada", Role.ADMIN)
        yield started


@pytest.fixture
async def browser(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the cookie of ada's session."""
    url = f"http://127.0.0.1:{app.http_port}"
    async with httpx.AsyncClient(timeout=60.0, base_url=url, trust_env=False) as client:
        reply = await client.post(f"{API}/session", json={"user_name": "ada", "password": PASSWORD})
        assert reply.status_code == 201
        yield client


async def make_user(browser: httpx.AsyncClient, name: str, **headers: str) -> httpx.Response:
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    return await browser.post(f"{API}/users", json={"name": name}, headers=sent)


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080"},  # another service of the same machine, the same site to Lax
        {"Origin": "http://127.0.0.1"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "http://mimi.lan", "Host": "mimi.lan.evil.lan"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://evil.lan", "Host": "mimi.lan:8003"},
        {"Origin": "http://mimi.lan", "Host": "mimi.lan:8003"},
    ],
)
async def test_page_of_another_origin_changes_nothing_with_the_cookie(
    app: App, browser: httpx.AsyncClient, sent: dict[str, str]
) -> None:
    for method, path in (("POST", "/users"), ("DELETE", "/session"), ("PUT", "/me/password")):
        cookie = {"Cookie": f"mimi_session={browser.cookies['mimi_session']}"}
        reply = await browser.request(method, API + path, json={"name": "mallory"}, headers=sent | cookie)
        assert reply.status_code == 403
        assert "http.allowed_hosts" in reply.text
    assert (await browser.get(f"{API}/me")).status_code == 200
    assert [user.name for user in await app._parts.people.accounts.users.page(9)] == ["ada"]


async def test_own_pages_work_by_plain_names_and_behind_a_proxy(browser: httpx.AsyncClient) -> None:
    # By plain HTTP under a name browsers send no Sec-Fetch-Site, but an Origin.
    cookie = f"mimi_session={browser.cookies['mimi_session']}"
    port = browser.base_url.port
    for name, sent in {
        "one": {"Host": f"mimi.lan:{port}", "Origin": f"http://mimi.lan:{port}"},
        "two": {"Host": f"MIMI.lan:{port}", "Origin": f"http://mimi.lan:{port}"},
        "three": {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
        "four": {
            "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "voice.lan",
            "Origin": "https://voice.lan",
        },
        "five": {},
    }.items():  # fmt: skip
        reply = await browser.post(f"{API}/users", json={"name": name}, headers=sent | {"Cookie": cookie})
        assert reply.status_code == 201, (name, reply.text)
    foreign = {"X-Forwarded-Host": "voice.lan", "X-Forwarded-Proto": "https", "Origin": "https://evil.lan"}
    assert (await make_user(browser, "six", **foreign)).status_code == 403


async def test_cookie_given_behind_a_proxy_with_tls_is_for_https_alone(browser: httpx.AsyncClient) -> None:
    given = {"user_name": "ada", "password": PASSWORD}
    plain = await browser.post(f"{API}/session", json=given)
    secure = await browser.post(f"{API}/session", json=given, headers={"X-Forwarded-Proto": "https"})
    assert "secure" not in plain.headers["set-cookie"].lower()
    assert "secure" in secure.headers["set-cookie"].lower()


async def test_audit_has_the_address_of_the_client_not_of_the_proxy(
    app: App, browser: httpx.AsyncClient
) -> None:
    await make_user(browser, "carl", **{"X-Forwarded-For": "192.0.2.7"})
    entries = (await browser.get(f"{API}/audit?action=user.create")).json()["items"]
    assert (entries[0]["author"], entries[0]["address"]) == ("ada", "192.0.2.7")


async def test_change_by_another_process_is_felt_within_a_second(
    app: App, browser: httpx.AsyncClient
) -> None:
    async with app._parts.foundation.store.write() as session:
        user = await rows.user_named(session, "ada")
        assert user is not None
        user.disabled = True
        session.add(user)
    async with asyncio.timeout(10):
        while (await browser.get(f"{API}/me")).status_code == 200:  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.05)
    assert (await browser.get(f"{API}/me")).status_code == 401


async def test_server_without_users_makes_a_link_that_makes_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(tmp_path) as app:
        token = await app.setup_token()
        assert token is not None
        url = f"http://127.0.0.1:{app.http_port}"
        async with httpx.AsyncClient(timeout=60.0, base_url=url, trust_env=False) as client:
            page = await client.get("/setup", headers={"Accept": "text/html"})
            assert page.status_code == 200
            assert page.headers["content-security-policy"].startswith("default-src 'none'")
            assert token not in page.text
            given = {"token": token, "user_name": "ada", "password": PASSWORD}
            replies = await asyncio.gather(*(client.post(f"{API}/setup", json=given) for _ in range(4)))
            assert sorted(reply.status_code for reply in replies) == [201, 422, 422, 422]
        assert await app.setup_token() is None
        made = await app._parts.people.accounts.users.named("ada")
        assert made.role == "admin"
        assert command_line().user_id == ""
