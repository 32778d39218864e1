"""A person who is deleted is in no table any more, and nothing of anybody else's is gone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import String, Text, insert, select, update
from sqlmodel import SQLModel, col

from mimi_mqtt.people.access import Role, Scope
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.people.merge_patch import merged
from mimi_mqtt.people.users import NewUser, UserChange
from mimi_mqtt.store import audit, devices, persons
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from tests.rows import sample_rows

MIA, TOM = "u-mia", "u-tom"
NOW = datetime(2026, 11, 27, tzinfo=UTC)
PERSONS = {
    "account_links": "user_id", "api_keys": "user_id", "audit": "user_id",
    "companion_conversations": "user_id", "companion_messages": "user_id",
    "conversations": "owner_id", "daily_errors": "owner_id",
    "daily_statistics": "owner_id", "devices": "owner_id", "group_members": "user_id",
    "idempotent_requests": "caller", "listed_devices": "owner_id", "managed_versions": "user_id",
    "open_identities": "user_id", "passkeys": "user_id", "recordings": "owner_id", "reminders": "owner",
    "uploads": "owner_id", "users": "id", "web_sessions": "user_id",
}  # fmt: skip
"""The column of each table that says whose a row is."""
OF_DEVICES = ("activations", "notices", "ota_reports", "ota_requests", "session_statistics")
"""Tables that tell of the people who have a device."""
DEVICE_WORDS = ("name", "room", "notes", "user_name", "language", "agent", "search")
KEPT_NAMES = {
    "author", "user_id", "address", "action", "target", "kind", "key", "id", "role", "provider", "media_type",
    "side", "sha256",
}  # fmt: skip
WORDS = "mia-said-this"


def rows_of_two() -> dict[str, list[dict[str, Any]]]:
    """Two rows of every table, the first mia's, the second tom's; all that mia said is `WORDS`."""
    rows = sample_rows(SQLModel.metadata)
    for name, column in PERSONS.items():
        for row, user_id in zip(rows[name], (MIA, TOM), strict=True):
            row[column] = user_id
    for row, user_id in zip(rows["users"], (MIA, TOM), strict=True):
        row |= {
            "name": user_id,
            "folded_name": user_id,
            "role": "member",
            "profile": {"note": user_id},
            "token_epoch": 1,
            "version": 1,
        }
    devices = [row["id"] for row in rows["devices"]]
    for table in SQLModel.metadata.sorted_tables:
        for row, device_id in zip(rows[table.name], devices, strict=True):
            if "device_id" in table.columns:
                row["device_id"] = device_id
    for name in ("conversations", "turns", "companion_messages", "notices", "reminders", "uploads"):
        for found in SQLModel.metadata.tables[name].columns:
            plain = not (found.foreign_keys or found.primary_key or found.unique)
            named = found.name in KEPT_NAMES or found.name in (PERSONS.get(name), "device_id")
            if plain and not named and isinstance(found.type, String | Text):
                rows[name][0][found.name] = WORDS[: found.type.length or 99]
    for row, tom in ((rows["devices"][0], False), (rows["devices"][1], True)):
        row |= {
            "allowed": True,
            "epoch": 1,
            "revision": 1,
            "disabled_by": TOM if tom else MIA,
            "tags": [TOM if tom else WORDS],
        }
        row |= dict.fromkeys(DEVICE_WORDS, TOM if tom else WORDS)
    for row in rows["audit"]:
        del row["id"]  # the next number is the database's
        row |= {"author": row["user_id"], "target": f"user:{row['user_id']}"}
        row |= {"before": {"name": row["user_id"]}, "after": {"owner_id": row["user_id"]}}
    for row, user_id in zip(rows["rollouts"], (MIA, TOM), strict=True):
        row |= {"owners": [user_id], "created_by": user_id, "takes_back": None}
    rows["devices"][0]["browser"] = False
    for name in ("assets", "firmware_images"):
        for row, user_id in zip(rows[name], (MIA, TOM), strict=True):
            row["uploaded_by"] = user_id
    for row, user_id in zip(rows["managed_versions"], (MIA, TOM), strict=True):
        row["author"] = user_id
    for row in rows["idempotent_requests"]:
        row["result"] = row["caller"]
    return rows


async def fill(store: Store) -> None:
    async with store.write() as session:
        connection = await session.connection()
        rows = rows_of_two()
        for table in SQLModel.metadata.sorted_tables:
            if table.name == "blob_usage":
                continue  # there is a row already
            await connection.execute(insert(table), rows[table.name])


async def everything(store: Store) -> dict[str, list[dict[str, Any]]]:
    async with store.read() as session:
        connection = await session.connection()
        return {
            table.name: [dict(row) for row in (await connection.execute(select(table))).mappings()]
            for table in SQLModel.metadata.sorted_tables
        }


def test_every_table_that_names_a_person_is_searched() -> None:
    naming = {"owner_id", "user_id", "owner", "caller", "disabled_by"}
    found = {t.name for t in SQLModel.metadata.sorted_tables if naming & {c.name for c in t.columns}}
    assert found <= PERSONS.keys(), "have store.persons forget them, and add them to PERSONS"


async def test_nothing_is_left_of_a_person_and_all_of_others(store: Store, people: Accounts) -> None:
    await fill(store)
    await people.users.create(command_line(), NewUser("admin", Role.ADMIN), NOW)
    before = await everything(store)
    assert MIA in str(before)
    assert WORDS in str(before)
    await people.users.remove(command_line(), MIA, NOW)
    after = await everything(store)
    for name, rows in after.items():
        for row in rows:
            assert MIA not in str(row), name
            assert WORDS not in str(row), name
    for name in (*PERSONS, "turns", *OF_DEVICES):
        toms = [row for row in before[name] if TOM in str(row.values())]
        assert [row for row in after[name] if TOM in str(row.values())] == toms, name
    owners = sorted(row["owners"] for row in after["rollouts"])
    assert owners == [[persons.REMOVED], [TOM]], "an empty list is for everybody"


MADE_BY = {
    "firmware_images": "uploaded_by", "assets": "uploaded_by", "rollouts": "created_by", "backups": "author"
}  # fmt: skip


async def makers(store: Store) -> dict[str, list[str]]:
    rows = await everything(store)
    return {
        name: [row[column] for row in sorted(rows[name], key=lambda row: str(row["id"]))]
        for name, column in MADE_BY.items()
    }


async def sign(store: Store, made: dict[str, list[str]]) -> None:
    async with store.write() as session:
        for name, column in MADE_BY.items():
            table = SQLModel.metadata.tables[name]
            keys = sorted((await session.scalars(select(table.c.id))).all(), key=str)
            for key, maker in zip(keys, made[name], strict=True):
                await session.execute(update(table).where(table.c.id == key).values({column: maker}))


async def test_what_a_person_made_is_told_by_his_present_name_and_by_none_once_he_is_removed(
    store: Store, people: Accounts
) -> None:
    await fill(store)
    made = {key: [MIA, TOM] for key in MADE_BY}
    await sign(store, made)
    await people.users.change(command_line(), MIA, UserChange(name="winifred"), NOW)
    assert await makers(store) == {key: ["winifred", TOM] for key in MADE_BY}
    await sign(store, made)  # as uploads that ended after it
    await people.users.change(command_line(), MIA, UserChange(name="winnie"), NOW)
    await people.users.remove(command_line(), MIA, NOW)
    assert await makers(store) == {key: [persons.REMOVED, TOM] for key in MADE_BY}


async def test_a_former_name_that_another_person_has_now_stays_with_his_things(
    store: Store, people: Accounts
) -> None:
    await fill(store)
    await people.users.change(command_line(), MIA, UserChange(name="winifred"), NOW)
    await people.users.change(command_line(), TOM, UserChange(name=MIA), NOW)
    await sign(store, {key: [MIA, MIA] for key in MADE_BY})
    await people.users.remove(command_line(), MIA, NOW)
    assert await makers(store) == {key: [MIA, MIA] for key in MADE_BY}


async def test_the_devices_of_a_person_become_nobodys_with_other_credentials(
    store: Store, people: Accounts
) -> None:
    await fill(store)
    before = (await everything(store))["devices"][0]
    await people.users.remove(command_line(), MIA, NOW)
    after = next(row for row in (await everything(store))["devices"] if row["id"] == before["id"])
    assert (after["owner_id"], after["tags"], after["group_id"]) == ("", [], "")
    assert after["epoch"] == before["epoch"] + 1
    assert after["revision"] > before["revision"]


async def test_the_browsers_of_a_person_are_no_devices_any_more(store: Store, people: Accounts) -> None:
    await fill(store)
    async with store.write() as session:
        await session.execute(update(Device).where(col(Device.owner_id) == MIA).values(browser=True, epoch=7))
    await people.users.remove(command_line(), MIA, NOW)
    async with store.read() as session:
        assert [device.owner_id for device in await devices.list_all(session)] == [TOM]


@pytest.mark.parametrize("ending", ["disabled", "password", "sessions"])
async def test_what_ends_a_persons_sessions_ends_his_browser_devices(
    store: Store, people: Accounts, ending: str
) -> None:
    """Or else a browser goes on talking, and hearing, as a person who was locked out."""
    mia = await people.users.create(command_line(), NewUser("mia", Role.MEMBER), NOW)
    async with store.write() as session:
        for number, is_browser in enumerate((True, False)):
            device = Device(
                id=f"02-00-00-00-00-0{number}", client_id="c", owner_id=mia.id, browser=is_browser, epoch=7,
                revision=0, created_at=NOW, updated_at=NOW, last_seen_at=NOW,
            )  # fmt: skip
            await devices.save_changed(session, device, NOW)
    if ending == "disabled":
        await people.users.change(command_line(), mia.id, UserChange(disabled=True), NOW)
    elif ending == "password":
        await people.users.set_password(command_line(), mia.id, "another long password", NOW)
    else:
        await people.sessions.revoke(command_line(), mia.id)
    async with store.read() as session:
        assert [device.epoch for device in await devices.list_all(session)] == [8, 7]


async def test_bytes_of_his_recordings_may_be_collected_at_once(store: Store, people: Accounts) -> None:
    await fill(store)
    hashes = {(await everything(store))[name][0]["sha256"] for name in ("recordings", "uploads")}
    await people.users.remove(command_line(), MIA, NOW)
    touched = {row["sha256"]: row["touched_at"] for row in (await everything(store))["blobs"]}
    assert {touched[each] for each in hashes} == {persons.LONG_AGO}


async def test_a_removal_that_was_cut_off_is_ended_by_the_next(store: Store, people: Accounts) -> None:
    await fill(store)
    async with store.write() as session:
        assert await persons.forget_some(session, MIA)
    await people.users.remove(command_line(), MIA, NOW)
    assert MIA not in str((await everything(store))["users"])


async def test_a_person_changes_his_own_profile_and_versions_are_checked(people: Accounts) -> None:
    user = await people.users.create(command_line(), NewUser("mia"), NOW)
    caller = command_line()
    mine = type(caller)("mia", user.id, Role.MEMBER, frozenset(Scope))
    seen: list[int] = []
    changed = await people.users.change_own(
        mine, UserChange(display_name="Mia", zone="Europe/Berlin"), {"theme": "dark", "a": {"b": 1}}, NOW,
        if_version=seen.append,
    )  # fmt: skip
    assert (changed.display_name, changed.zone, changed.profile) == (
        "Mia", "Europe/Berlin", {"theme": "dark", "a": {"b": 1}},
    )  # fmt: skip
    assert (seen, changed.version) == ([user.version], user.version + 1)
    again = await people.users.change_own(mine, UserChange(), {"theme": None, "a": {"c": 2}}, NOW)
    assert again.profile == {"a": {"b": 1, "c": 2}}
    same = await people.users.change_own(mine, UserChange(display_name="Mia"), None, NOW)
    assert same.version == again.version
    with pytest.raises(ValueError, match="older"):
        await people.users.change_own(mine, UserChange(), {"x": 1}, NOW, if_version=_refuse)


def _refuse(version: int) -> None:
    raise ValueError(f"older than {version}")


@pytest.mark.parametrize(
    "profile",
    [{"x": "y" * 20_000}, {"x": float("nan")}, {"x": ["\ud800"]}, {"\udfff": 1}, {"x": {"y": "\0"}}],
)
async def test_a_profile_is_bounded_and_can_be_read_again(
    people: Accounts, profile: dict[str, object]
) -> None:
    user = await people.users.create(command_line(), NewUser("mia"), NOW)
    caller = type(command_line())("mia", user.id, Role.MEMBER, frozenset(Scope))
    with pytest.raises(Exception, match="profile"):
        await people.users.change_own(caller, UserChange(), profile, NOW)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_patch_is_merged_as_the_standard_says(
    target: dict[str, object], patch: dict[str, object], result: dict[str, object]
) -> None:
    """Examples of RFC 7396, appendix A."""
    assert merged(target, patch) == result


def test_a_deep_patch_is_refused() -> None:
    deep: dict[str, object] = {}
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(Exception, match="inside each other"):
        merged({}, deep)


async def test_a_removal_is_in_the_audit_without_the_name(store: Store, people: Accounts) -> None:
    await people.users.create(command_line(), NewUser("admin", Role.ADMIN), NOW)
    user = await people.users.create(command_line(), NewUser("mia"), NOW)
    await people.users.remove(command_line(), user.id, NOW)
    async with store.read() as session:
        newest = (await audit.entries(session, audit.AuditFilter(), 9))[0]
    assert (newest.action, newest.target, newest.author) == (
        "user.remove", f"user:{persons.REMOVED}", command_line().name,
    )  # fmt: skip


async def test_a_removal_forgets_who_made_his_own_account_and_from_where(
    store: Store, people: Accounts
) -> None:
    token = await people.links.for_setup(NOW)
    assert token is not None
    first = NewUser("winifred", Role.ADMIN, password="correct horse")
    winifred = await people.links.set_up(token, first, "192.0.2.77", NOW)
    await people.users.create(command_line(), NewUser("admin", Role.ADMIN), NOW)
    async with store.write() as session:
        provider = audit.Author("OpenID provider", "", "192.0.2.78")
        audit.record(session, provider, "user.change", f"user:{winifred.id}", after={"role": "admin"})
    await people.users.remove(command_line(), winifred.id, NOW)
    left = str(await everything(store))
    assert not [each for each in (winifred.id, "winifred", "192.0.2.7") if each in left]
