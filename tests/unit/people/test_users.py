"""Accounts: what is possible in them, and who may give credentials of them."""

import asyncio
from dataclasses import replace

import pytest

from mimi_mqtt.errors import Conflict, Forbidden, Invalid, LimitReached, NotFound
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.problems import Problem
from mimi_mqtt.people import users
from mimi_mqtt.people.access import Role, Scope, Via
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.people.sessions import Browser
from mimi_mqtt.people.users import NewUser, UserChange
from mimi_mqtt.store import device_keys, devices
from mimi_mqtt.store.audit import AuditFilter
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device, ListedDevice
from tests.fakes.people import NOW, PASSWORD, added, as_caller


async def test_names_are_unique_without_regard_to_case(people: Accounts) -> None:
    await added(people, "Straße")
    for name in ("STRASSE", "strasse", "  straße "):
        with pytest.raises(Conflict):
            await added(people, name)
    assert (await people.users.named("STRASSE")).name == "Straße"


async def test_two_that_are_made_at_once_under_one_name_become_one(people: Accounts) -> None:
    made = await asyncio.gather(*(added(people, "anna") for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(each, Conflict) for each in made) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        NewUser(""), NewUser("a b"), NewUser("a" * 65), NewUser("a\x1b[2J"),
        NewUser("<script>"),
        NewUser("ok", email="nobody"), NewUser("ok", email="a@b\r\nBcc: c@d"),
        NewUser("ok", language="english!"),
        NewUser("ok", zone="Mars/Olympus"), NewUser("ok", zone="../../etc/passwd"),
        NewUser("ok", display_name="x" * 65), NewUser("ok", display_name="a\x1b[2J"),
        NewUser("ok", password="short"), NewUser("longenough", password="LongEnough"),
        NewUser("ok", password="x" * 1025),
    ],
)  # fmt: skip
async def test_impossible_values_are_refused(people: Accounts, wrong: NewUser) -> None:
    with pytest.raises(Invalid):
        await people.users.create(command_line(), wrong, NOW)
    assert await people.links.is_needed(), "nothing was made"


async def test_the_last_administrator_stays(people: Accounts) -> None:
    ada = await added(people, "ada", Role.ADMIN)
    for change in (UserChange(role=Role.MEMBER), UserChange(disabled=True)):
        with pytest.raises(Conflict, match="last administrator"):
            await people.users.change(command_line(), ada.id, change, NOW)
    with pytest.raises(Conflict, match="last administrator"):
        await people.users.remove(command_line(), ada.id, NOW)
    eve = await added(people, "eve", Role.ADMIN)
    await people.users.change(command_line(), eve.id, UserChange(disabled=True), NOW)
    with pytest.raises(Conflict):
        await people.users.remove(command_line(), ada.id, NOW)
    await people.users.remove(command_line(), eve.id, NOW)
    with pytest.raises(NotFound):
        await people.users.get(eve.id)


async def test_change_is_made_to_the_version_that_was_read(people: Accounts) -> None:
    bob = await added(people, "bob")
    change = UserChange(display_name="Bob")
    changed = await people.users.change(
        command_line(), bob.id, change, NOW, if_version=lambda version: etags.check('"1"', version)
    )
    assert (changed.display_name, changed.version) == ("Bob", 2)
    with pytest.raises(Problem, match="changed meanwhile"):
        await people.users.change(
            command_line(), bob.id, UserChange(email="b@x.org"), NOW,
            if_version=lambda version: etags.check('"1"', version),
        )  # fmt: skip
    assert (await people.users.get(bob.id)).email == ""
    same = await people.users.change(command_line(), bob.id, change, NOW)
    assert same.version == 2, "nothing changed"


@pytest.mark.parametrize(
    "change",
    [UserChange(role=Role.ADMIN), UserChange(disabled=True)],
)
async def test_sessions_end_with_another_role_and_with_the_account(
    people: Accounts, change: UserChange
) -> None:
    bob = await added(people, "bob")
    await people.sessions.begin(bob, Browser(), NOW)
    await people.users.change(command_line(), bob.id, UserChange(display_name="Bob"), NOW)
    assert len(await people.sessions.list(bob.id, NOW)) == 1
    await people.users.change(command_line(), bob.id, change, NOW)
    assert await people.sessions.list(bob.id, NOW) == []
    assert (await people.users.get(bob.id)).token_epoch == 2


async def test_key_with_few_scopes_makes_no_administrator_and_takes_over_nobody(people: Accounts) -> None:
    ada = await added(people, "ada", Role.ADMIN)
    bob = await added(people, "bob")
    weak = as_caller(ada, frozenset({Scope.PEOPLE, Scope.PROFILE}), via=Via.KEY)
    for attempt in (
        people.users.create(weak, NewUser("mallory", Role.ADMIN, password=PASSWORD), NOW),
        people.users.create(weak, NewUser("mallory", password=PASSWORD), NOW),
        people.users.change(weak, bob.id, UserChange(role=Role.ADMIN), NOW),
        people.users.change(weak, ada.id, UserChange(disabled=True), NOW),
        people.users.set_password(weak, ada.id, "new password", NOW),
        people.users.set_password(weak, bob.id, "new password", NOW),
        people.users.remove(weak, bob.id, NOW),
        people.links.for_password(weak, ada.id, NOW),
        people.openid.link(weak, ada.id, "https://auth.example", "mallory", NOW),
        people.openid.link(weak, bob.id, "https://auth.example", "mallory", NOW),
    ):
        with pytest.raises(Forbidden):
            await attempt
    await people.users.change(weak, bob.id, UserChange(display_name="Bob"), NOW)


async def test_there_are_no_more_than_the_bound(people: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "MAX_USERS", 1)
    await added(people, "ada", Role.ADMIN)
    with pytest.raises(LimitReached):
        await added(people, "bob")


async def test_every_change_is_in_the_audit_without_secrets(people: Accounts) -> None:
    ada = as_caller(await added(people, "ada", Role.ADMIN))
    bob = await people.users.create(ada, NewUser("bob", password=PASSWORD), NOW)
    await people.users.change(ada, bob.id, UserChange(email="b@x.org"), NOW)
    await people.users.set_password(ada, bob.id, "another password", NOW)
    await people.links.for_password(ada, bob.id, NOW)
    found = await people.audit.page(AuditFilter(target=f"user:{bob.id}"), 10)
    assert [entry.action for entry in reversed(found)] == [
        "user.create", "user.change", "user.password", "user.link",
    ]  # fmt: skip
    assert {(entry.author, entry.user_id, entry.address) for entry in found} == {
        ("ada", ada.user_id, "192.0.2.1")
    }
    told = str([(entry.before, entry.after) for entry in found])
    assert "another" not in told
    assert "argon" not in told
    changed = found[2]
    assert (changed.before, changed.after) == ({"email": ""}, {"email": "b@x.org"})


async def test_pages_follow_each_other(people: Accounts) -> None:
    for name in ("carl", "Anna", "bob", "dora"):
        await added(people, name, password=None)
    first = await people.users.page(2)
    assert [user.name for user in first] == ["Anna", "bob"]
    rest = await people.users.page(5, after=first[-1].folded_name)
    assert [user.name for user in rest] == ["carl", "dora"]
    assert [user.name for user in await people.users.page(5, text="AN")] == ["Anna"]
    assert await people.users.page(5, text="%") == []


async def test_people_are_found_whatever_the_case_of_their_letters(people: Accounts) -> None:
    """On both kinds of database, also after a change of their names."""
    new = NewUser("emile", display_name="ÉMILE Zola", email="Émile@x.org")
    emile = await people.users.create(command_line(), new, NOW)
    bob = await people.users.create(command_line(), NewUser("bob"), NOW)
    await people.users.change_own(as_caller(bob), UserChange(display_name="Anna Strauß"), None, NOW)

    async def found(text: str) -> list[str]:
        return [user.name for user in await people.users.page(5, text=text)]

    for text in ("émile z", "ÉMILE", "éMILE@X"):
        assert await found(text) == ["emile"]
    for text in ("Strauß", "STRAUSS", "anna s"):
        assert await found(text) == ["bob"]
    await people.users.change(command_line(), emile.id, UserChange(display_name="Ødegård"), NOW)
    assert (await found("ÉMILE Z"), await found("ødegÅrd")) == ([], ["emile"])


async def test_groups_are_seen_by_their_members(people: Accounts) -> None:
    ada = as_caller(await added(people, "ada", Role.ADMIN))
    bob, eve = await added(people, "bob"), await added(people, "eve")
    home = await people.groups.create(ada, "Home", NOW)
    await people.groups.add_member(ada, home.id, bob.id)
    await people.groups.add_member(ada, home.id, bob.id)
    inside, outside = as_caller(bob, groups=frozenset({home.id})), as_caller(eve)
    assert [group.name for group in await people.groups.page(inside, 9)] == ["Home"]
    assert await people.groups.page(outside, 9) == []
    for attempt in (
        people.groups.get(outside, home.id),
        people.groups.rename(outside, home.id, "Mine", NOW),
        people.groups.add_member(outside, home.id, eve.id),
        people.groups.remove_member(outside, home.id, bob.id),
        people.groups.remove(outside, home.id, NOW),
        people.groups.remove_member(replace(outside, groups=frozenset({home.id})), home.id, bob.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    members = await people.groups.members([home])
    assert [member.name for member in members[home.id]] == ["bob"]
    await people.groups.remove_member(inside, home.id, bob.id)
    assert (await people.groups.members([home]))[home.id] == []


async def test_devices_of_a_removed_group_are_shared_with_nobody(people: Accounts, store: Store) -> None:
    """Each node notices by the revision of the device; others' devices keep their group."""
    ada = as_caller(await added(people, "ada", Role.ADMIN))
    home, office = [await people.groups.create(ada, name, NOW) for name in ("Home", "Office")]
    kitchen, desk = "aa-bb-cc-00-11-01", "aa-bb-cc-00-11-02"
    async with store.write() as session:
        for device_id, group_id in ((kitchen, home.id), (desk, office.id)):
            device = Device(
                id=device_id, client_id="c", group_id=group_id, revision=0, created_at=NOW, updated_at=NOW,
                last_seen_at=NOW,
            )  # fmt: skip
            await devices.save_changed(session, device, NOW)
        revision = device.revision
        for value, group_id in (("s1", home.id), ("s2", office.id)):
            session.add(ListedDevice(kind="serial", value=value, group_id=group_id, created_at=NOW))
    await people.groups.remove(ada, home.id, NOW)
    async with store.read() as session:
        changed = await devices.changed_since(session, revision)
        shared = {each.id: each.group_id for each in await devices.list_all(session)}
        listed = {each.value: each.group_id for each in await device_keys.list_page(session, ("", ""), 9)}
    assert [each.id for each in changed] == [kitchen]
    assert shared == {kitchen: "", desk: office.id}
    assert listed == {"s1": "", "s2": office.id}
    entries = await people.audit.page(AuditFilter(target=f"device:{kitchen}"), 9)
    assert [(each.action, each.author, each.before, each.after) for each in entries] == [
        ("device.share", "ada", {"group_id": home.id}, {"group_id": ""})
    ]
