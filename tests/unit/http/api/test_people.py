"""Accounts over the REST API: signing in, rights, and what attackers get."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.config import SharesSettings
from mimi_mqtt.people.access import Role
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.users import NewUser
from tests.databases import sqlite_store
from tests.fakes.people import PASSWORD, Keys, added, api_of, signed_in

COOKIE = "mimi_session"


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[Accounts]:
    """ada is an administrator, bob and eve are members; bob is in a group."""
    store = sqlite_store(tmp_path)
    await store.open()
    built = Accounts.build(store, Keys(), shares=SharesSettings(failed_logins=3))
    await added(built, "ada", Role.ADMIN)
    await added(built, "bob")
    await added(built, "eve")
    yield built
    await built.aclose()
    await store.aclose()


async def test_cookie_is_out_of_reach_of_scripts_and_other_sites(people: Accounts) -> None:
    async with api_of(people) as api:
        reply = await api.post("/session", json={"user_name": "bob", "password": PASSWORD})
        assert reply.status_code == 201
        assert reply.json()["name"] == "bob"
        assert "hash" not in reply.text
        words = {word.strip().lower() for word in reply.headers["set-cookie"].split(";")}
        assert {"httponly", "samesite=lax", "path=/"} <= words
        assert "secure" not in words
        secure = await api.post(
            "https://mimi.test/api/v1/session", json={"user_name": "bob", "password": PASSWORD}
        )
        assert "; secure" in secure.headers["set-cookie"].lower()


async def test_sign_in_gives_a_new_cookie_whatever_was_brought(people: Accounts) -> None:
    """Session fixation: a cookie that an attacker put into the browser signs nobody in."""
    async with api_of(people) as api, signed_in(people, "eve") as attacker:
        planted = attacker.cookies[COOKIE]
        for brought in ("x" * 43, planted):
            api.cookies.clear()
            api.cookies.set(COOKIE, brought, domain="mimi.test")
            reply = await api.post("/session", json={"user_name": "bob", "password": PASSWORD})
            given = reply.cookies[COOKIE]
            assert given != brought
            me = await attacker.get("/me", headers={"Cookie": f"{COOKIE}={brought}"})
            assert me.status_code == 401, "the session that the browser had is over"
            me = await api.get("/me", headers={"Cookie": f"{COOKIE}={given}"})
            assert me.json()["name"] == "bob"


async def test_signing_out_ends_the_session_on_the_server(people: Accounts) -> None:
    async with signed_in(people, "bob") as api:
        cookie = api.cookies[COOKIE]
        assert (await api.delete("/session")).status_code == 204
        assert COOKIE not in api.cookies
        again = await api.get("/me", headers={"Cookie": f"{COOKIE}={cookie}"})
        assert again.status_code == 401


async def test_wrong_password_and_unknown_user_get_the_same_answer(people: Accounts) -> None:
    async with api_of(people) as api:
        replies = [
            await api.post("/session", json={"user_name": name, "password": "wrong password"})
            for name in ("bob", "nobody")
        ]
        assert [reply.status_code for reply in replies] == [401, 401]
        assert replies[0].json() == replies[1].json()
        assert "set-cookie" not in replies[0].headers


async def test_guesses_are_refused_with_the_time_to_wait(people: Accounts) -> None:
    async with api_of(people) as api:
        given = {"user_name": "bob", "password": "wrong password"}
        statuses = [(await api.post("/session", json=given)).status_code for _ in range(3)]
        assert statuses == [401] * 3
        reply = await api.post("/tokens", json={"user_name": "bob", "password": PASSWORD})
        assert reply.status_code == 429, "the same count for every door"
        assert int(reply.headers["retry-after"]) > 0
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/users", None),
        ("POST", "/users", {"name": "mallory", "role": "admin", "password": PASSWORD}),
        ("GET", "/users/{ada}", None),
        ("PATCH", "/users/{bob}", {"role": "admin"}),
        ("PUT", "/users/{ada}/password", {"password": "mine from now on"}),
        ("POST", "/users/{ada}/link", None),
        ("GET", "/users/{ada}/sessions", None),
        ("DELETE", "/users/{ada}/sessions", None),
        ("GET", "/users/{ada}/identities", None),
        ("POST", "/users/{bob}/identities", {"subject": "mine"}),
        ("DELETE", "/users/{ada}", None),
        ("GET", "/audit", None),
        ("POST", "/groups", {"name": "Mine"}),
        ("PATCH", "/groups/{home}", {"name": "Mine"}),
        ("PUT", "/groups/{home}/members/{bob}", None),
        ("DELETE", "/groups/{home}", None),
    ],
)
async def test_member_can_not_reach_what_is_for_administrators(
    people: Accounts, method: str, path: str, body: dict[str, str] | None
) -> None:
    async with signed_in(people, "ada") as admin, signed_in(people, "bob") as api:
        ids = {user["name"]: user["id"] for user in (await admin.get("/users")).json()["items"]}
        ids["home"] = (await admin.post("/groups", json={"name": "Home"})).json()["id"]
        reply = await api.request(method, path.format(**ids), json=body)
        assert reply.status_code == 403
        assert "needs the scope" in reply.json()["detail"]
        assert len((await admin.get("/users")).json()["items"]) == 3
        assert (await admin.get(f"/groups/{ids['home']}")).json()["members"] == []


async def test_things_of_others_do_not_exist_for_a_member(people: Accounts) -> None:
    async with signed_in(people, "ada") as admin, signed_in(people, "bob") as api:
        home = (await admin.post("/groups", json={"name": "Home"})).json()["id"]
        key = (await admin.post("/keys", json={"name": "x", "scopes": ["audit"]})).json()["id"]
        session = (await admin.get("/me/sessions")).json()[0]["id"]
        ada = (await admin.get("/me")).json()["id"]
        for method, path in (
            ("GET", f"/groups/{home}"),
            ("DELETE", f"/groups/{home}/members/{ada}"),
            ("DELETE", f"/keys/{key}"),
            ("GET", f"/keys?user_id={ada}"),
            ("GET", "/keys?user_id=*"),
            ("DELETE", f"/me/sessions/{session}"),
            ("DELETE", "/me/identities?issuer=x&subject=y"),
        ):
            assert (await api.request(method, path)).status_code == 404, path
        assert (await api.get("/groups")).json()["items"] == []
        assert len((await admin.get("/keys?user_id=*")).json()["items"]) == 1


async def test_administrator_makes_changes_and_removes_people(people: Accounts) -> None:
    async with signed_in(people, "ada") as api:
        made = await api.post("/users", json={"name": "Carl", "password": PASSWORD, "email": "c@x.org"})
        assert (made.status_code, made.headers["etag"]) == (201, '"1"')
        carl = made.json()["id"]
        assert (await api.post("/users", json={"name": "carl"})).status_code == 409
        stale = await api.patch(f"/users/{carl}", json={"display_name": "C"}, headers={"If-Match": '"7"'})
        assert stale.status_code == 412
        changed = await api.patch(f"/users/{carl}", json={"display_name": "C"}, headers={"If-Match": '"1"'})
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        home = (await api.post("/groups", json={"name": "Home"})).json()["id"]
        assert (await api.put(f"/groups/{home}/members/{carl}")).status_code == 204
        detail = (await api.get(f"/users/{carl}")).json()
        assert detail["groups"] == [{"id": home, "name": "Home"}]
        async with signed_in(people, "carl") as his:
            assert (await his.get("/me")).json()["groups"] == [{"id": home, "name": "Home"}]
            assert [member["name"] for member in (await his.get(f"/groups/{home}")).json()["members"]] == [
                "Carl"
            ]
            assert len((await api.get(f"/users/{carl}/sessions")).json()) == 1
            assert (await api.delete(f"/users/{carl}/sessions")).status_code == 204
            assert (await his.get("/me")).status_code == 401
        assert (await api.delete(f"/users/{carl}")).status_code == 204
        assert (await api.get(f"/users/{carl}")).status_code == 404
        ada = (await api.get("/me")).json()["id"]
        assert (await api.delete(f"/users/{ada}")).status_code == 409, "the last administrator"
        assert (await api.get(f"/audit?target=user:{carl}")).json()["items"] == []
        told = (await api.get("/audit?action=user.remove")).json()["items"]
        assert told[0]["target"] == "user:(removed)"
        assert told[0]["author"] == "ada"
        assert "argon2" not in (await api.get("/audit?limit=200")).text


async def test_audit_is_read_in_pages(people: Accounts) -> None:
    async with signed_in(people, "ada") as api:
        everything = (await api.get("/audit?limit=200")).json()["items"]
        found: list[object] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await api.get(f"/audit?limit=2{cursor and '&cursor=' + cursor}")).json()
            found += page["items"]
            cursor = page["next"]
        assert found == everything
        assert len(found) > 3


async def test_key_is_told_once_and_works_until_it_is_revoked(people: Accounts) -> None:
    async with signed_in(people, "bob") as api:
        wanted = {"name": "script", "scopes": ["profile", "commands"]}
        made = (await api.post("/keys", json=wanted)).json()
        assert made["secret"].startswith("mk_")
        listed = (await api.get("/keys")).json()["items"]
        assert made["secret"] not in str(listed)
        assert (listed[0]["hint"], listed[0]["used_at"]) == (made["secret"][:8], None)
        async with api_of(people, made["secret"]) as program:
            me = (await program.get("/me")).json()
            assert (me["name"], me["via"], me["scopes"]) == ("bob", "key", ["commands", "profile"])
            more = await program.post("/keys", json={"name": "more", "scopes": ["commands"]})
            assert more.status_code == 403
            assert (await api.delete(f"/keys/{made['id']}")).status_code == 204
            assert (await program.get("/me")).status_code == 401


@pytest.mark.parametrize("scopes", [["people"], ["commands", "audit"]])
async def test_member_makes_no_key_beyond_his_role(people: Accounts, scopes: list[str]) -> None:
    async with signed_in(people, "bob") as api:
        reply = await api.post("/keys", json={"name": "x", "scopes": scopes})
        assert reply.status_code == 403
        assert (await api.get("/keys")).json() == {"items": [], "next": None}


async def test_token_is_made_from_a_password_a_session_or_a_key_but_not_from_a_token(
    people: Accounts,
) -> None:
    async with signed_in(people, "bob") as api, api_of(people) as nobody:
        assert (await nobody.post("/tokens", json={})).status_code == 401
        assert (await nobody.post("/tokens", json={"user_name": "bob"})).status_code == 422
        by_password = {"user_name": "bob", "password": PASSWORD, "scopes": ["profile"], "expires_in_s": 60}
        made = await nobody.post("/tokens", json=by_password)
        assert made.status_code == 201
        assert (made.json()["expires_in"], made.json()["scope"]) == (60, "profile")
        assert (await nobody.post("/tokens", json={**by_password, "scopes": ["audit"]})).status_code == 403
        assert (await nobody.post("/tokens", json={**by_password, "expires_in_s": 86_401})).status_code == 422
        assert (await api.post("/tokens", json={})).status_code == 201
        async with api_of(people, made.json()["access_token"]) as program:
            me = (await program.get("/me")).json()
            assert (me["via"], me["scopes"]) == ("token", ["profile"])
            assert (await program.get("/groups")).status_code == 200
            assert (await program.post("/tokens", json={})).status_code == 403
            assert (await program.get("/users")).status_code == 403
            changed = {"present": PASSWORD, "password": "another password"}
            assert (await api.put("/me/password", json=changed)).status_code == 204
            assert (await program.get("/me")).status_code == 401, "ended with the password"


async def test_change_of_password_signs_out_everywhere_but_here(people: Accounts) -> None:
    async with signed_in(people, "bob") as here, signed_in(people, "bob") as there:
        before = here.cookies[COOKIE]
        wrong = await here.put("/me/password", json={"present": "wrong", "password": "another password"})
        assert wrong.status_code == 422
        reply = await here.put("/me/password", json={"present": PASSWORD, "password": "another password"})
        assert reply.status_code == 204
        assert here.cookies[COOKIE] != before
        assert (await here.get("/me")).status_code == 200
        assert (await there.get("/me")).status_code == 401


async def test_person_sees_and_ends_his_own_sessions(people: Accounts) -> None:
    async with signed_in(people, "bob") as here, signed_in(people, "bob") as there:
        found = (await here.get("/me/sessions")).json()
        assert sorted(session["current"] for session in found) == [False, True]
        other = next(session["id"] for session in found if not session["current"])
        assert there.cookies[COOKIE] not in str(found)
        assert (await here.delete(f"/me/sessions/{other}")).status_code == 204
        assert (await there.get("/me")).status_code == 401
        assert (await here.get("/me")).status_code == 200
        assert (await here.delete("/me/sessions")).status_code == 204
        assert (await here.get("/me")).status_code == 401


async def test_first_administrator_is_made_by_the_link_and_signed_in(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path)
    await store.open()
    people = Accounts.build(store, Keys())
    token = await people.links.for_setup(datetime.now(UTC))
    async with api_of(people) as api:
        assert (await api.get("/session/ways")).json() == {"setup": True, "openid": None}
        given = {"token": "guess", "user_name": "ada", "password": PASSWORD}
        assert (await api.post("/setup", json=given)).status_code == 422
        assert (await api.post("/setup", json={**given, "token": token})).status_code == 201
        assert (await api.get("/me")).json()["role"] == "admin"
        assert (await api.post("/setup", json={**given, "token": token})).status_code == 422
        assert (await api.get("/session/ways")).json()["setup"] is False
        link = (await api.post("/users", json={"name": "bob"})).json()["id"]
        reset = (await api.post(f"/users/{link}/link")).json()
        assert reset["path"] == f"/setup#reset={reset['token']}"
        chosen = {"token": reset["token"], "password": "bob's own words"}
        assert (await api.post("/setup/password", json=chosen)).status_code == 204
        assert (await api.post("/setup/password", json=chosen)).status_code == 422
        async with signed_in(people, "bob", "bob's own words"):
            pass
    await people.aclose()
    await store.aclose()


async def test_secrets_of_a_wrong_request_are_not_told_back(people: Accounts) -> None:
    async with api_of(people) as api:
        for path, body in (
            ("/session", {"user_name": "bob", "password": "hunter2 hunter2", "more": 1}),
            ("/setup", {"token": "hunter2 hunter2" * 9, "user_name": "x", "password": "hunter2"}),
            ("/tokens", {"password": "hunter2 hunter2"}),
        ):
            reply: httpx.Response = await api.post(path, json=body)
            assert reply.status_code == 422
            assert "hunter2" not in reply.text


def test_password_is_in_no_representation() -> None:
    assert PASSWORD not in repr(NewUser("bob", password=PASSWORD))


async def test_keys_are_read_in_pages(people: Accounts) -> None:
    async with signed_in(people, "ada") as api:
        for number in range(5):
            await api.post("/keys", json={"name": f"key {number}", "scopes": ["audit"]})
        found: list[str] = []
        path = "/keys?user_id=*&limit=2"
        while True:
            page = (await api.get(path)).json()
            found += [key["name"] for key in page["items"]]
            if page["next"] is None:
                break
            path = f"/keys?user_id=*&limit=2&cursor={page['next']}"
        assert sorted(found) == [f"key {number}" for number in range(5)]


async def test_who_signs_out_everywhere_leaves_others_signed_in(people: Accounts) -> None:
    async with signed_in(people, "bob") as bob, signed_in(people, "eve") as eve:
        assert (await eve.delete("/me/sessions")).status_code == 204
        assert (await eve.get("/me")).status_code == 401
        assert (await bob.get("/me")).status_code == 200
