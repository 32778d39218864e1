"""Passkeys over the REST API, and what attackers get."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from mimi_mqtt.config import SharesSettings
from mimi_mqtt.config.connections import HttpSettings
from mimi_mqtt.errors import Invalid, StoreError
from mimi_mqtt.http.passkey_cookie import PASSKEY_COOKIE
from mimi_mqtt.people.access import Role, Scope
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.passkeys import CHALLENGE_S, MAX_PASSKEYS, Site
from mimi_mqtt.people.users import UserChange
from mimi_mqtt.store.audit import AuditFilter
from mimi_mqtt.store.tables import Passkey
from tests.databases import sqlite_store
from tests.fakes.api import client
from tests.fakes.authenticator import UP, UV, Authenticator
from tests.fakes.people import PASSWORD, Keys, added, as_caller

ORIGIN = "http://localhost:8003"
TRIES = 5


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[Accounts]:
    """ada is an administrator, bob and eve are members."""
    store = sqlite_store(tmp_path)
    await store.open()
    built = Accounts.build(store, Keys(), shares=SharesSettings(failed_logins=TRIES))
    await added(built, "ada", Role.ADMIN)
    await added(built, "bob")
    await added(built, "eve")
    yield built
    await built.aclose()
    await store.aclose()


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None:
        return

    monkeypatch.setattr("mimi_mqtt.people.sign_in.asyncio.sleep", at_once)


@asynccontextmanager
async def browser(
    people: Accounts, as_: str = "", *, origin: str = ORIGIN, public_url: str | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at a page of the server, signed in as `as_`."""
    settings = SimpleNamespace(current=lambda: SimpleNamespace(http=HttpSettings(public_url=public_url)))
    host = origin.partition("://")[2] if public_url is None else "inside:8003"
    async with client(as_="", people=people, authenticator=people.authenticator, settings=settings) as api:
        api.base_url = httpx.URL(f"http://{host}/api/v1/")
        api.headers["Origin"] = origin
        if as_:
            reply = await api.post("/session", json={"user_name": as_, "password": PASSWORD})
            assert reply.status_code == 201, reply.text
        yield api


async def asked(api: httpx.AsyncClient, path: str) -> Mapping[str, Any]:
    reply = await api.post(f"{path}/options")
    assert reply.status_code == 200, reply.text
    options: Mapping[str, Any] = reply.json()["options"]
    return options


async def registered(api: httpx.AsyncClient, device: Authenticator, name: str = "Phone") -> httpx.Response:
    options = await asked(api, "/me/passkeys")
    return await api.post("/me/passkeys", json={"name": name, "credential": device.create(options)})


async def signed_in(api: httpx.AsyncClient, device: Authenticator) -> httpx.Response:
    options = await asked(api, "/session/passkey")
    return await api.post("/session/passkey", json={"credential": device.get(options)})


async def made_by(people: Accounts, name: str, **given: Any) -> Authenticator:
    """An authenticator with a passkey of a person."""
    device = Authenticator(**given)
    async with browser(people, name, origin=device.origin) as api:
        reply = await registered(api, device)
        assert reply.status_code == 201, reply.text
    device.count += 1
    return device


async def test_a_passkey_is_registered_and_signs_in(people: Accounts) -> None:
    device = Authenticator()
    async with browser(people, "bob") as api:
        options = await asked(api, "/me/passkeys")
        assert options["rp"]["id"] == "localhost"
        assert options["authenticatorSelection"]["residentKey"] == "required"
        assert options["authenticatorSelection"]["userVerification"] == "required"
        made = await registered(api, device, " Phone ")
        assert made.status_code == 201, made.text
        assert made.json() | {"id": "", "created_at": ""} == {
            "id": "", "name": "Phone", "host": "localhost", "synced": False, "created_at": "",
            "used_at": None,
        }  # fmt: skip
        again = await asked(api, "/me/passkeys")
        assert [each["id"] for each in again["excludeCredentials"]] == [device.create(options)["id"]]
    device.count = 2
    async with browser(people) as api:
        options = await asked(api, "/session/passkey")
        assert "allowCredentials" not in options or options["allowCredentials"] == []
        reply = await signed_in(api, device)
        assert reply.status_code == 201, reply.text
        assert reply.json()["name"] == "bob"
        assert PASSKEY_COOKIE not in api.cookies
        assert (await api.get("/me")).json()["name"] == "bob"
        (told,) = (await api.get("/me/passkeys")).json()
        assert told["used_at"] is not None
        session = (await api.get("/me/sessions")).json()
        assert [each["current"] for each in session].count(True) == 1


async def test_the_challenge_cookie_is_out_of_reach(people: Accounts) -> None:
    async with browser(people) as api:
        reply = await api.post("/session/passkey/options")
    words = {word.strip().lower() for word in reply.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/api/v1", f"max-age={CHALLENGE_S}"} <= words


async def test_an_answer_is_good_once(people: Accounts) -> None:
    """A recorded answer, with its cookie, does not sign in again."""
    device = await made_by(people, "bob")
    async with browser(people) as api:
        options = await asked(api, "/session/passkey")
        cookie = api.cookies[PASSKEY_COOKIE]
        answer = device.get(options)
        assert (await api.post("/session/passkey", json={"credential": answer})).status_code == 201
    async with browser(people) as thief:
        sent = {"credential": answer}
        replayed = await thief.post(
            "/session/passkey", json=sent, headers={"Cookie": f"{PASSKEY_COOKIE}={cookie}"}
        )
        assert replayed.status_code == 401
        device.count += 5  # a counter that went on does not help either
        sent = {"credential": device.get(options)}
        replayed = await thief.post(
            "/session/passkey", json=sent, headers={"Cookie": f"{PASSKEY_COOKIE}={cookie}"}
        )
        assert replayed.status_code == 401


async def test_an_answer_needs_the_browser_that_was_asked(people: Accounts) -> None:
    device = await made_by(people, "bob")
    async with browser(people) as api, browser(people) as other:
        options = await asked(api, "/session/passkey")
        credential = device.get(options)
        without = await other.post("/session/passkey", json={"credential": credential})
        assert without.status_code == 422
        await asked(other, "/session/passkey")
        with_another = await other.post("/session/passkey", json={"credential": credential})
        assert with_another.status_code == 401


async def test_a_challenge_is_over_after_a_while(people: Accounts) -> None:
    site, now = Site(ORIGIN, "localhost"), datetime.now(UTC)
    device = await made_by(people, "bob")
    question = await people.passkeys.ask_to_sign_in(site, now)
    answer = device.get(question.options)
    late = now + timedelta(seconds=CHALLENGE_S + 1)
    with pytest.raises(Invalid, match="try again"):
        await people.passkeys.check(site, question.cookie, answer, "192.0.2.1", late)
    for damaged in ("", "x", question.cookie + "x", question.cookie[1:], "a.b"):
        with pytest.raises(Invalid, match="try again"):
            await people.passkeys.check(site, damaged, answer, "192.0.2.1", now)
    assert await people.passkeys.check(site, question.cookie, answer, "192.0.2.1", now) is not None


async def test_a_challenge_to_sign_in_registers_nothing(people: Accounts) -> None:
    async with browser(people, "bob") as api, browser(people, "eve") as eve:
        options = dict(await asked(api, "/session/passkey"))
        options["user"] = {"id": "dS1ldmU"}
        sent = {"name": "x", "credential": Authenticator().create(options)}
        assert (await api.post("/me/passkeys", json=sent)).status_code == 422
        # Nor does one that another person was asked.
        options = dict(await asked(eve, "/me/passkeys"))
        sent = {"name": "x", "credential": Authenticator().create(options)}
        cookie = f"mimi_session={api.cookies['mimi_session']}; {PASSKEY_COOKIE}={eve.cookies[PASSKEY_COOKIE]}"
        api.cookies.clear()
        assert (await api.post("/me/passkeys", json=sent, headers={"Cookie": cookie})).status_code == 422


@pytest.mark.parametrize(
    "lie",
    [
        {"origin": "http://evil.localhost:8003"},
        {"origin": "http://localhost:9999"},
        {"origin": "https://localhost:8003"},
        {"rp_id": "evil.example"},
        {"flags": UP},
        {"flags": UV},
        {"cross_origin": True},
        {"handle": b"u-eve"},
        {"handle": b""},
    ],
    ids=lambda lie: " ".join(f"{key}={value}" for key, value in lie.items()),
)
async def test_an_answer_for_another_page_or_person_or_without_one_is_refused(
    people: Accounts, lie: dict[str, Any]
) -> None:
    device = await made_by(people, "bob")
    for key, value in lie.items():
        setattr(device, key, value)
    async with browser(people) as api:
        assert (await signed_in(api, device)).status_code == 401


async def test_another_persons_passkey_signs_nobody_else_in(people: Accounts) -> None:
    """eve names bob's credential and signs with her own key; or names hers and claims to be bob."""
    bobs, eves = await made_by(people, "bob"), await made_by(people, "eve")
    async with browser(people) as api:
        forged = Authenticator(credential_id=bobs.credential_id, key=eves.key, handle=bobs.handle, count=9)
        assert (await signed_in(api, forged)).status_code == 401
        forged = Authenticator(credential_id=eves.credential_id, key=eves.key, handle=bobs.handle, count=9)
        assert (await signed_in(api, forged)).status_code == 401


async def test_a_copied_authenticator_is_refused_and_told(people: Accounts) -> None:
    device = await made_by(people, "bob")
    clone = deepcopy(device)
    device.count = 7
    async with browser(people) as api:
        assert (await signed_in(api, device)).status_code == 201
    async with browser(people) as api:
        assert (await signed_in(api, clone)).status_code == 401
    (entry,) = await people.audit.page(AuditFilter(action="passkey.copied"), 10)
    assert (entry.author, entry.before["count"], entry.after["count"]) == ("bob", 7, 2)


async def test_authenticators_without_a_counter_sign_in_each_time(people: Accounts) -> None:
    device = await made_by(people, "bob", count=0)
    device.count = 0
    async with browser(people) as api:
        for _ in range(3):
            assert (await signed_in(api, device)).status_code == 201


async def test_disabled_people_do_not_sign_in(people: Accounts) -> None:
    device = await made_by(people, "bob")
    ada, bob = await people.users.named("ada"), await people.users.named("bob")
    await people.users.change(as_caller(ada), bob.id, UserChange(disabled=True), datetime.now(UTC))
    async with browser(people) as api:
        assert (await signed_in(api, device)).status_code == 401


async def test_a_passkey_does_not_outlive_its_person(people: Accounts) -> None:
    device = await made_by(people, "bob")
    ada, bob = await people.users.named("ada"), await people.users.named("bob")
    await people.users.remove(as_caller(ada), bob.id, datetime.now(UTC))
    async with browser(people) as api:
        assert (await signed_in(api, device)).status_code == 401
    assert await people.passkeys.list(bob.id) == []


async def test_removal_ends_the_passkey_and_nothing_else(people: Accounts) -> None:
    device = await made_by(people, "bob")
    async with browser(people) as api:
        assert (await signed_in(api, device)).status_code == 201
        (told,) = (await api.get("/me/passkeys")).json()
        assert (await api.delete(f"/me/passkeys/{told['id']}")).status_code == 204
        assert (await api.get("/me")).status_code == 200, "the session goes on"
        assert (await api.get("/me/passkeys")).json() == []
    device.count += 1
    async with browser(people) as api:
        assert (await signed_in(api, device)).status_code == 401
    actions = [each.action for each in await people.audit.page(AuditFilter(action="passkey."), 10)]
    assert actions == ["passkey.revoke", "passkey.create"]


async def test_others_do_not_see_or_remove_it_and_administrators_do(people: Accounts) -> None:
    await made_by(people, "bob")
    bob = await people.users.named("bob")
    (row,) = await people.passkeys.list(bob.id)
    async with browser(people, "eve") as eve:
        assert (await eve.get("/me/passkeys")).json() == []
        assert (await eve.delete(f"/me/passkeys/{row.id}")).status_code == 404
        assert (await eve.get(f"/users/{bob.id}/passkeys")).status_code == 403
        assert (await eve.delete(f"/users/{bob.id}/passkeys/{row.id}")).status_code == 403
    async with browser(people, "ada") as ada:
        assert [each["id"] for each in (await ada.get(f"/users/{bob.id}/passkeys")).json()] == [row.id]
        assert (await ada.delete(f"/users/u-none/passkeys/{row.id}")).status_code == 404
        assert (await ada.delete(f"/users/{bob.id}/passkeys/{row.id}")).status_code == 204


async def test_guesses_count_with_wrong_passwords(people: Accounts) -> None:
    device = await made_by(people, "bob")
    device.flags = UP
    async with browser(people) as api:
        for _ in range(TRIES):
            assert (await signed_in(api, device)).status_code == 401
        device.flags = UP | UV
        assert (await signed_in(api, device)).status_code == 429
        by_password = await api.post("/session", json={"user_name": "bob", "password": PASSWORD})
        assert by_password.status_code == 429


async def test_an_outage_of_the_database_locks_no_passkey_out(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await made_by(people, "bob")

    async def out_of_reach(*_: object) -> None:
        raise StoreError("the database is down")

    async with browser(people) as api:
        with monkeypatch.context() as outage:
            outage.setattr(people.passkeys, "_used", out_of_reach)
            for _ in range(TRIES + 1):
                assert (await signed_in(api, device)).status_code == 503
        assert (await signed_in(api, device)).status_code == 201


async def test_unknown_passkeys_are_bounded_too(people: Accounts) -> None:
    async with browser(people) as api:
        codes = [(await signed_in(api, Authenticator(handle=b"x"))).status_code for _ in range(TRIES + 1)]
    assert codes == [401] * TRIES + [429]


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("http://192.168.1.5:8003", "name in place of an IP address"),
        ("https://[fd00::1]", "name in place of an IP address"),
        ("http://mimi.lan:8003", "https://"),
    ],
)
async def test_where_browsers_have_no_passkeys_it_is_told(people: Accounts, origin: str, told: str) -> None:
    async with browser(people, origin=origin) as api:
        for path in ("/session/passkey/options",):
            reply = await api.post(path)
            assert reply.status_code == 422
            assert told in reply.json()["detail"]


async def test_pages_of_other_origins_ask_for_none(people: Accounts) -> None:
    async with browser(people) as api:
        for origin in ("https://tool.example.net", "http://localhost:9000", "null", ""):
            reply = await api.post("/session/passkey/options", headers={"Origin": origin})
            assert reply.status_code == 422, origin


async def test_behind_a_proxy_they_belong_to_the_public_name(people: Accounts) -> None:
    public = "https://voice.example.org"
    device = Authenticator(origin=public, rp_id="voice.example.org")
    async with browser(people, "bob", origin=public, public_url=public) as api:
        assert (await registered(api, device)).status_code == 201
        device.count += 1
        assert (await signed_in(api, device)).status_code == 201
        assert (await api.get("/me/passkeys")).json()[0]["host"] == "voice.example.org"
    # It is good there alone.
    device.count += 1
    device.origin, device.rp_id = ORIGIN, "localhost"
    async with browser(people) as api:
        assert (await signed_in(api, device)).status_code == 401


async def test_a_key_registers_no_passkey(people: Accounts) -> None:
    bob = await people.users.named("bob")
    made = await people.keys.create(as_caller(bob), bob.id, "key", [Scope.PROFILE], datetime.now(UTC))
    async with browser(people) as api:
        api.headers["Authorization"] = f"Bearer {made.secret}"
        assert (await api.post("/me/passkeys/options")).status_code == 403


async def test_there_is_a_most(people: Accounts) -> None:
    bob = await people.users.named("bob")
    async with people.passkeys._store.write() as session:
        session.add_all(
            Passkey(
                id=f"p{number}", credential_id=f"c{number}", user_id=bob.id, name="x", rp_id="localhost",
                public_key="", sign_count=0, transports=[], synced=False, created_at=datetime.now(UTC),
            )
            for number in range(MAX_PASSKEYS)
        )  # fmt: skip
    async with browser(people, "bob") as api:
        reply = await api.post("/me/passkeys/options")
        assert reply.status_code == 429
        assert "passkeys" in reply.json()["detail"]


@pytest.mark.parametrize(
    "credential",
    [
        {}, {"id": 5}, {"id": "x" * 5_000}, {"id": "\u0130", "response": []},
        {"response": {"clientDataJSON": 1}},
        {"id": "eA", "rawId": "eA", "type": "public-key", "response": {"clientDataJSON": "e30"}},
    ],
)  # fmt: skip
async def test_strange_answers_are_refused(people: Accounts, credential: dict[str, Any]) -> None:
    async with browser(people, "bob") as api:
        await asked(api, "/session/passkey")
        assert (await api.post("/session/passkey", json={"credential": credential})).status_code == 401
        await asked(api, "/me/passkeys")
        reply = await api.post("/me/passkeys", json={"name": "x", "credential": credential})
        assert reply.status_code == 422
        assert "credential" in reply.text


async def test_a_passkey_is_registered_once(people: Accounts) -> None:
    device = Authenticator()
    async with browser(people, "bob") as api:
        assert (await registered(api, device)).status_code == 201
        assert (await registered(api, device)).status_code == 409
    async with browser(people, "eve") as api:
        assert (await registered(api, device)).status_code == 409
