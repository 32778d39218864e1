"""Signing in by OpenID Connect, with a real provider on this machine."""

import socket
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

with warnings.catch_warnings():  # the provider uses what its library deprecates
    warnings.simplefilter("ignore")
    import oidc_provider_mock

from mimi_mqtt.app import App
from mimi_mqtt.config import Settings
from mimi_mqtt.people.access import Role
from tests.databases import new_database
from tests.fakes.people import PASSWORD, added

API = "/api/v1"
COOKIE = "mimi_session"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")


@dataclass
class Provider:
    """A provider; `vouches` puts claims on one of its people."""

    url: str

    async def vouches(self, subject: str, **claims: object) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            reply = await client.put(f"{self.url}/users/{subject}", json=claims)
            assert reply.is_success


@pytest.fixture
def provider() -> Iterator[Provider]:
    with oidc_provider_mock.run_server_in_thread() as server:
        yield Provider(f"http://localhost:{server.server_port}")


@asynccontextmanager
async def serving(
    folder: Path, issuer: str, http: dict[str, Any] | None = None, **oidc: Any
) -> AsyncIterator[App]:
    """A server with the provider; ada is its administrator."""
    anywhere = {"bind": "127.0.0.1:0"}
    settings = Settings.model_validate(
        {
            "server": {"data_dir": folder},
            "http": anywhere | (http or {}),
            "mqtt": anywhere,
            "udp": anywhere,
            # The collections of the tests' own garbage would count as this address's.
            "shares": {"http_cpu_percent": 100},
            "oidc": {"issuer": issuer, "client_id": "mimi", "client_secret": "s3cret", **oidc},
        }
    )
    new_database(folder)
    app = App(settings, {})
    await app.start()
    try:
        await added(app._parts.people.accounts, "ada", Role.ADMIN)
        yield app
    finally:
        await app.stop()


@asynccontextmanager
async def browser(app: App) -> AsyncIterator[httpx.AsyncClient]:
    url = f"http://127.0.0.1:{app.http_port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        yield client


async def agreed(client: httpx.AsyncClient, address: str, subject: str) -> str:
    """The address that the provider sends the browser to, when the person signed in there."""
    reply = await client.post(address, data={"sub": subject})
    assert reply.status_code == 302, reply.text
    return reply.headers["location"]


async def sign_in(client: httpx.AsyncClient, subject: str) -> httpx.Response:
    """The whole way; the answer of the callback."""
    start = await client.get("/login/oidc")
    assert start.status_code == 302, start.text
    return await client.get(await agreed(client, start.headers["location"], subject))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_person_of_the_provider_gets_an_account_and_its_role_follows_the_claim(
    tmp_path: Path, provider: Provider
) -> None:
    async with serving(tmp_path, provider.url, new_users=True, admins=["chiefs"]) as app:
        await provider.vouches(
            "s-1",
            preferred_username="Ada",
            name="Ada L.",
            email="a@x.org",
            email_verified=True,
            groups=["chiefs"],
        )
        async with browser(app) as client:
            start = await client.get("/login/oidc")
            asked = parse_qs(urlsplit(start.headers["location"]).query)
            assert asked["code_challenge_method"] == ["S256"]
            assert asked["nonce"]
            assert asked["state"]
            assert asked["redirect_uri"] == [f"http://127.0.0.1:{app.http_port}/login/oidc/callback"]
            reply = await sign_in(client, "s-1")
            assert (reply.status_code, reply.headers["location"]) == (303, "/")
            me = (await client.get(f"{API}/me")).json()
            # There is an ada already, who is somebody else.
            assert (me["name"], me["role"]) == ("Ada2", "admin")
            assert (me["account"]["email"], me["account"]["display_name"]) == ("a@x.org", "Ada L.")
            await provider.vouches("s-1", groups=[])
            await sign_in(client, "s-1")
            assert (await client.get(f"{API}/me")).json()["role"] == "member"
            assert (await client.get(f"{API}/session/ways")).json()["openid"] == {
                "label": "single sign-on",
                "path": "/login/oidc",
            }


async def test_forged_state_signs_nobody_in(tmp_path: Path, provider: Provider) -> None:
    async with (
        serving(tmp_path, provider.url, new_users=True) as app,
        browser(app) as attacker,
        browser(app) as victim,
    ):
        start = await attacker.get("/login/oidc")
        answer = await agreed(attacker, start.headers["location"], "mallory")
        # The answer to the attacker's sign-in, in the victim's browser.
        for address in (
            answer,
            f"{answer}x",
            "/login/oidc/callback?code=x&state=y",
            "/login/oidc/callback",
        ):
            reply = await victim.get(address)
            assert reply.status_code == 400, address
            assert COOKIE not in victim.cookies
        # In a browser that began a sign-in of its own, too.
        await victim.get("/login/oidc")
        assert (await victim.get(answer)).status_code == 400
        assert (await attacker.get(answer)).status_code == 303
        assert (await attacker.get(answer)).status_code == 400, "once"


async def test_verified_email_of_a_user_links_nothing(tmp_path: Path, provider: Provider) -> None:
    async with serving(tmp_path, provider.url) as app:
        await provider.vouches("s-9", email="ada@x.org", email_verified=True, preferred_username="ada")
        async with browser(app) as client:
            reply = await sign_in(client, "s-9")
            assert reply.status_code == 403
            assert "linked" in reply.json()["error"]
            assert COOKIE not in client.cookies
        assert len(await app._parts.people.accounts.users.page(9)) == 1


async def test_person_who_is_signed_in_links_an_identity(tmp_path: Path, provider: Provider) -> None:
    async with serving(tmp_path, provider.url) as app, browser(app) as client:
        assert (await client.post("/login/oidc")).status_code == 401
        await client.post(f"{API}/session", json={"user_name": "ada", "password": PASSWORD})
        # A link that she follows starts a sign-in, and links nothing.
        assert (await sign_in(client, "s-7")).status_code == 403
        foreign = await client.post("/login/oidc", headers={"Origin": "http://evil.example"})
        assert foreign.status_code == 403
        begun = await client.post("/login/oidc")
        assert begun.status_code == 200
        reply = await client.get(await agreed(client, begun.json()["url"], "s-7"))
        assert reply.status_code == 303
        (identity,) = (await client.get(f"{API}/me/identities")).json()
        assert (identity["issuer"], identity["subject"]) == (provider.url, "s-7")
        async with browser(app) as another:
            assert (await sign_in(another, "s-7")).status_code == 303
            me = (await another.get(f"{API}/me")).json()
            assert (me["name"], me["role"]) == ("ada", "admin"), "a linked account keeps its role"
        gone = await client.delete(f"{API}/me/identities", params={"issuer": provider.url, "subject": "s-7"})
        assert gone.status_code == 204
        assert (await sign_in(client, "s-7")).status_code == 403


async def test_identity_is_linked_to_who_began_it(tmp_path: Path, provider: Provider) -> None:
    async with serving(tmp_path, provider.url) as app, browser(app) as client:
        await added(app._parts.people.accounts, "bob")
        await client.post(f"{API}/session", json={"user_name": "ada", "password": PASSWORD})
        begun = await client.post("/login/oidc")
        answer = await agreed(client, begun.json()["url"], "s-8")
        await client.post(f"{API}/session", json={"user_name": "bob", "password": PASSWORD})
        assert (await client.get(answer)).status_code == 400
        assert (await client.get(f"{API}/me/identities")).json() == []


async def test_people_outside_of_the_named_groups_and_disabled_ones_stay_outside(
    tmp_path: Path, provider: Provider
) -> None:
    async with serving(tmp_path, provider.url, new_users=True, claim="hd", members=["example.org"]) as app:
        cases: list[tuple[dict[str, object], int]] = [
            ({"hd": "example.org"}, 303),
            ({"hd": "evil.org"}, 403),
            ({}, 403),
            ({"hd": ["example.org"]}, 303),
        ]
        for number, (claims, status) in enumerate(cases):
            await provider.vouches(f"p-{number}", **claims)
            async with browser(app) as client:
                assert (await sign_in(client, f"p-{number}")).status_code == status
        async with browser(app) as admin, browser(app) as client:
            await admin.post(f"{API}/session", json={"user_name": "ada", "password": PASSWORD})
            await sign_in(client, "p-0")
            user = (await client.get(f"{API}/me")).json()["id"]
            await admin.patch(f"{API}/users/{user}", json={"disabled": True})
            assert (await sign_in(client, "p-0")).status_code == 403
            assert (await client.get(f"{API}/me")).status_code == 401


async def test_provider_that_refuses_or_is_another_one_or_down_is_told_so(
    tmp_path: Path, provider: Provider
) -> None:
    async with serving(tmp_path, provider.url) as app, browser(app) as client:
        start = await client.get("/login/oidc")
        state = parse_qs(urlsplit(start.headers["location"]).query)["state"][0]
        denied = await client.get(f"/login/oidc/callback?error=access_denied&state={state}")
        assert denied.status_code == 400
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with serving(tmp_path / "b", f"http://127.0.0.1:{port}") as app, browser(app) as client:
        reply = await client.get("/login/oidc")
        assert reply.status_code == 502
        assert "can't be reached" in reply.json()["error"]
        given = {"user_name": "ada", "password": PASSWORD}
        assert (await client.post(f"{API}/session", json=given)).status_code == 201


async def test_description_of_another_issuer_is_not_used(tmp_path: Path, provider: Provider) -> None:
    issuer = provider.url.replace("localhost", "LOCALHOST")  # which the provider does not call itself
    async with serving(tmp_path, issuer) as app, browser(app) as client:
        assert (await client.get("/login/oidc")).status_code == 502


async def test_behind_a_proxy_the_provider_sends_people_to_the_public_address(
    tmp_path: Path, provider: Provider
) -> None:
    public = "https://voice.example.org"
    async with serving(tmp_path, provider.url, http={"public_url": public}, new_users=True) as app:
        async with browser(app) as client:
            # Whoever begins at another address is sent to the public one first: the cookie has to be there.
            start = await client.get("/login/oidc")
            assert (start.status_code, start.headers["location"]) == (303, f"{public}/login/oidc?here")
            for host in ("voice.example.org", None):  # a proxy that tells its name, and one that does not
                headers = {"Host": host} if host else {}
                asked = await client.get("/login/oidc?here", headers=headers)
                assert parse_qs(urlsplit(asked.headers["location"]).query)["redirect_uri"] == [
                    f"{public}/login/oidc/callback"
                ]
                assert "; secure" in asked.headers["set-cookie"].lower()
            reply = await client.post("/login/oidc")
            assert reply.status_code == 401
        async with browser(app) as client:
            by_proxy = {"user_name": "ada", "password": PASSWORD}
            signed = await client.post(f"{API}/session", json=by_proxy, headers={"Origin": public})
            assert "; secure" in signed.headers["set-cookie"].lower()
            direct = await client.post(f"{API}/session", json=by_proxy)
            assert "; secure" not in direct.headers["set-cookie"].lower()
            refused = await client.post("/login/oidc")
            assert (refused.status_code, public in refused.json()["error"]) == (409, True)


async def test_without_a_provider_there_is_nothing(tmp_path: Path) -> None:
    anywhere = {"bind": "127.0.0.1:0"}
    settings = Settings.model_validate(
        {"server": {"data_dir": tmp_path}, "http": anywhere, "mqtt": anywhere, "udp": anywhere}
    )
    app = App(settings, {})
    await app.start()
    try:
        async with browser(app) as client:
            for path in ("/login/oidc", "/login/oidc/callback?code=x&state=y"):
                assert (await client.get(path)).status_code == 404
    finally:
        await app.stop()
