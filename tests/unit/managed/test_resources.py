"""Managed resources: what is accepted, versions with their history, secrets, and the audit of each change."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlmodel import select

from mimi_mqtt.config import AgentSettings, ProviderSettings, Settings
from mimi_mqtt.config.voice import PriceSettings
from mimi_mqtt.errors import Conflict, Invalid, LimitReached, MimiError, NotFound
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.secret_files import Secrets
from mimi_mqtt.managed import kinds
from mimi_mqtt.managed.kinds import Kind
from mimi_mqtt.managed.merging import Entry
from mimi_mqtt.managed.resources import Change, ManagedResources, opened
from mimi_mqtt.store import managed
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AuditEntry, ManagedResource, ManagedVersion
from tests.databases import sqlite_store

ADA = Author("ada", "u-ada", "192.0.2.1")
KEY = "sk-1234567890-abcd"


async def agent(resources: ManagedResources, key: str = "chef", /, **content: object) -> int:
    return (await resources.put(Change("agent", key, content), ADA)).version


async def provider(
    resources: ManagedResources, name: str, secrets: Mapping[str, str | None], **options: object
) -> None:
    await resources.put(Change("provider", name, options, secrets), ADA)


async def audit_of(store: Store) -> list[AuditEntry]:
    async with store.read() as session:
        return list((await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all())  # type: ignore[arg-type]


async def test_an_agent_keeps_what_it_was_given_and_nothing_else(resources: ManagedResources) -> None:
    await agent(resources, name="Chef", language="vi", tts=["edge", "offline"], voice={"vi": "FEMALE"})
    kept = await resources.get("agent", "chef")
    assert kept.content == {
        "name": "Chef", "language": "vi", "tts": ["edge", "offline"], "voice": {"vi": "female"}
    }  # fmt: skip
    assert (kept.version, kept.author) == (1, "ada")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"nam": "Chef"}, "nam: there is no such key; did you mean name?"),
        ({"speed": 9}, "speed: must be 0.5 to 2"),
        ({"language": "klingon!"}, "language: must be a language such as en or zh-CN"),
        ({"prompt": "{{ device.nam }}"}, "prompt: device has no 'nam'"),
        ({"prompt": "{% for"}, "prompt: line 1 of the template"),
        ({"llm": "nobody"}, "llm: there is no provider 'nobody'"),
        ({"vision": ["nobody"]}, "vision: there is no provider 'nobody'"),
        ({"s2s": ["a", "b"]}, "s2s: must be one provider's name"),
        ({"end_silence_ms": 5}, "end_silence_ms: must be greater than or equal to 200"),
        ({"wake_word": "shout"}, "wake_word: must be 'greet', 'answer' or 'listen'"),
        ({"name": "a\0b"}, "U+0000"),
        ({"name": "\ud800"}, "surrogates"),
        ({"greeting": "x" * 70_000}, "chef: longer than 65536"),
    ],
)
async def test_a_wrong_agent_is_refused_with_the_name_of_its_field(
    resources: ManagedResources, content: dict[str, object], told: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await agent(resources, **content)
    assert told in str(refused.value)
    assert await resources.list_all("agent") == []


@pytest.mark.parametrize("key", ["", "Chef", "a b", "x" * 33, "../etc"])
async def test_an_agent_needs_a_name_that_broker_yaml_could_have(
    resources: ManagedResources, key: str
) -> None:
    with pytest.raises(Invalid):
        await agent(resources, key, name="Chef")


async def test_a_wrong_prompt_is_not_quoted(resources: ManagedResources) -> None:
    with pytest.raises(Invalid) as refused:
        await agent(resources, prompt="The code is 1234 {{ nobody }}")
    assert "1234" not in str(refused.value)


async def test_each_change_is_a_version_and_the_same_again_is_none(resources: ManagedResources) -> None:
    assert await agent(resources, name="Chef", prompt="Be brief.\nBe kind.") == 1
    assert await agent(resources, name="Chef", prompt="Be brief.\nBe kind.") == 1
    assert await agent(resources, name="Cook", prompt="Be brief.\nBe rude.") == 2
    history = await resources.versions("agent", "chef")
    assert [(each.number, each.author, each.action) for each in history] == [
        (2, "ada", "change"), (1, "ada", "create")
    ]  # fmt: skip
    name, prompt = await resources.diff("agent", "chef", 1, 2)
    assert (name.field, name.before, name.after) == ("name", "Chef", "Cook")
    assert "-Be kind.\n+Be rude." in prompt.unified
    assert " Be brief." in prompt.unified


async def test_a_patch_changes_what_it_names_and_null_takes_a_field_back(resources: ManagedResources) -> None:
    await agent(resources, name="Chef", speed=1.5)
    changed = await resources.patch(Change("agent", "chef", {"speed": None, "language": "de"}), ADA)
    assert changed.content == {"name": "Chef", "language": "de"}
    with pytest.raises(NotFound):
        await resources.patch(Change("agent", "maid", {"name": "Maid"}), ADA)


async def test_an_earlier_version_is_restored_as_a_new_one_also_after_a_deletion(
    resources: ManagedResources,
) -> None:
    await agent(resources, name="Chef")
    await agent(resources, name="Cook")
    restored = await resources.restore("agent", "chef", 1, ADA)
    assert (restored.version, restored.content) == (3, {"name": "Chef"})
    await resources.delete("agent", "chef", ADA)
    with pytest.raises(NotFound):
        await resources.get("agent", "chef")
    with pytest.raises(NotFound):
        await resources.delete("agent", "chef", ADA)
    restored = await resources.restore("agent", "chef", 2, ADA)
    assert (restored.version, restored.content) == (5, {"name": "Cook"})
    assert [each.action for each in await resources.versions("agent", "chef")] == [
        "restore", "delete", "restore", "change", "create"
    ]  # fmt: skip


async def test_the_history_is_bounded(
    resources: ManagedResources, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "MAX_VERSIONS", 3)
    monkeypatch.setattr(managed, "MAX_DELETED", 2)
    for speed in (0.5, 0.6, 0.7, 0.8, 0.9):
        await agent(resources, speed=speed)
    assert [each.number for each in await resources.versions("agent", "chef")] == [5, 4, 3]
    with pytest.raises(NotFound, match="no version 2"):
        await resources.restore("agent", "chef", 2, ADA)
    for key in ("a", "b", "c"):
        await agent(resources, key, name="x")
        await resources.delete("agent", key, ADA)
    with pytest.raises(NotFound):
        await resources.versions("agent", "a")
    assert await resources.versions("agent", "b")
    async with store.read() as session:
        assert len((await session.scalars(select(ManagedVersion))).all()) == 3 + 2 * 2


async def test_a_kind_has_a_most_number_of_resources(
    resources: ManagedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "MAX_OF_KIND", {"agent": 1})
    monkeypatch.setattr("mimi_mqtt.managed.resources.MAX_OF_KIND", {"agent": 1})
    await agent(resources, name="Chef")
    await agent(resources, name="Cook")
    with pytest.raises(LimitReached):
        await agent(resources, "maid", name="Maid")


async def test_a_change_expects_the_version_that_is_there_at_that_moment(resources: ManagedResources) -> None:
    seen: list[int] = []

    def expect_one(version: int) -> None:
        seen.append(version)
        if version != 1:
            raise Conflict("another version")

    await agent(resources, name="Chef")
    await resources.put(Change("agent", "chef", {"name": "Cook"}), ADA, expect_one)
    with pytest.raises(Conflict):
        await resources.delete("agent", "chef", ADA, expect_one)
    assert seen == [1, 2]
    assert (await resources.get("agent", "chef")).content == {"name": "Cook"}


async def test_broker_yaml_wins_over_what_people_set(store: Store, credentials: Credentials) -> None:
    base = Settings(
        assistant=AgentSettings(name="Max"),
        agents={"chef": AgentSettings(name="Chef")},
        providers=ProviderSettings(
            prices={"openai": PriceSettings(per_minute=1)}, options={"openai": {"llm_model": "gpt"}}
        ),
    )
    resources = ManagedResources(store, credentials, {}, lambda: base)
    refused: list[tuple[Kind, str, dict[str, object], str]] = [
        ("agent", "chef", {"name": "Cook"}, "broker.yaml has the agent chef"),
        ("agent", "default", {"name": "Tom"}, "assistant.name"),
        ("price", "openai", {"per_minute": 2}, "prices of openai"),
        ("provider", "openai", {"llm_model": "other"}, "providers.options.openai.llm_model"),
    ]
    for kind, key, content, told in refused:
        with pytest.raises(Conflict, match=told):
            await resources.put(Change(kind, key, content), ADA)
    await agent(resources, "default", language="de")


@pytest.mark.parametrize(
    ("name", "options", "secrets", "told"),
    [
        ("nobody", {}, {}, "there is no provider 'nobody'"),
        ("openai:", {}, {}, "there is no provider 'openai:'"),
        ("openai", {"modell": 1}, {}, "modell: there is no such key"),
        ("openai", {"base_url": "ftp://x"}, {}, "base_url: must be an address that begins with"),
        ("openai", {"base_url": "http://user:pw@host/v1"}, {}, "base_url: must not hold a user name"),
        ("openai", {"api_key": KEY}, {}, "api_key: is secret: give it among the secrets"),
        ("openai", {}, {"token": "x"}, "token: openai has no such secret; it has api_key"),
        ("openai", {}, {"api_key": "a\nb"}, "api_key: must be printable"),
        ("openai", {}, {"api_key": " "}, "api_key: must have 1 to"),
        ("openai", {}, {"api_key": "x" * 5_000}, "api_key: must have 1 to"),
        ("wyoming", {"stt_uri": "unix:///run/docker.sock"}, {}, "stt_uri: a socket of this machine"),
        ("piper", {"tts_model": "/etc/passwd"}, {}, "tts_model: must be the name of a local model"),
    ],
)
async def test_wrong_options_of_a_provider_are_refused(
    resources: ManagedResources,
    name: str,
    options: dict[str, object],
    secrets: dict[str, str | None],
    told: str,
) -> None:
    with pytest.raises(Invalid) as refused:
        await provider(resources, name, secrets, **options)
    assert told in str(refused.value)
    assert KEY not in str(refused.value)


async def test_a_key_is_stored_encrypted_and_told_to_nobody(
    resources: ManagedResources, store: Store, credentials: Credentials
) -> None:
    await provider(resources, "openai:house", {"api_key": KEY}, base_url="http://192.0.2.9/v1")
    found = await resources.get("provider", "openai:house")
    assert set(found.secrets) == {"api_key"}
    history = await resources.versions("provider", "openai:house")
    assert [each.secrets_changed for each in history] == [("api_key",)]
    entries = await audit_of(store)
    async with store.read() as session:
        (row,) = (await session.scalars(select(ManagedResource))).all()
        versions = (await session.scalars(select(ManagedVersion))).all()
    assert opened(row, credentials).secrets == {"api_key": KEY}
    told = [repr(found), repr(history), str(row.secrets), *(str(each.model_dump()) for each in versions)]
    told += [str(entry.model_dump()) for entry in entries] + [repr(opened(row, credentials))]
    assert not [each for each in told if KEY in each or KEY[-8:] in each]
    assert entries[0].after == {"base_url": "http://192.0.2.9/v1", "api_key": "changed"}


async def test_a_key_does_not_follow_its_provider_to_another_address(resources: ManagedResources) -> None:
    await provider(resources, "openai:house", {"api_key": KEY}, base_url="http://192.0.2.9/v1")
    await provider(resources, "openai:house", {}, base_url="http://192.0.2.9/v1", llm_model="small")
    assert (await resources.get("provider", "openai:house")).secrets
    await provider(resources, "openai:house", {}, base_url="http://evil.example/v1")
    assert (await resources.get("provider", "openai:house")).secrets == {}


async def test_a_provisioned_key_is_not_sent_to_a_managed_address(
    store: Store, credentials: Credentials
) -> None:
    resources = ManagedResources(store, credentials, {"OPENAI_API_KEY": KEY}, Settings)
    with pytest.raises(Conflict, match="sent only to an address that is set there too"):
        await provider(resources, "openai", {}, base_url="http://evil.example/v1")


async def test_null_removes_a_key(resources: ManagedResources) -> None:
    await provider(resources, "openai", {"api_key": KEY})
    await provider(resources, "openai", {"api_key": None})
    assert (await resources.get("provider", "openai")).secrets == {}
    assert (await resources.get("provider", "openai")).version == 2


async def test_keys_outlive_a_rotation_of_the_server_s_secret(
    resources: ManagedResources, store: Store, credentials: Credentials
) -> None:
    async def row() -> ManagedResource:
        async with store.read() as session:
            return (await session.scalars(select(ManagedResource))).one()

    await provider(resources, "openai", {"api_key": KEY})
    first = credentials.secret_id
    credentials.take(Secrets(b"t" * 32, b"s" * 32, float("inf")))
    assert (await row()).secret_id == first
    assert opened(await row(), credentials).secrets == {"api_key": KEY}
    await resources.reseal({})
    assert (await row()).secret_id == credentials.secret_id
    # At once, without an overlap: the process that knows the key encrypts it again.
    credentials.take(Secrets(b"u" * 32))
    credentials.drop_old(float("inf"))
    assert opened(await row(), credentials).unreadable == ("api_key",)
    await resources.reseal({("provider", "openai"): Entry(99, {}, {"api_key": "of another version"})})
    assert opened(await row(), credentials).unreadable == ("api_key",)
    await resources.reseal({("provider", "openai"): Entry(1, {}, {"api_key": KEY})})
    assert opened(await row(), credentials).secrets == {"api_key": KEY}
    assert (await row()).version == 1


async def test_a_sealed_key_is_of_no_use_in_another_place(
    resources: ManagedResources, store: Store, credentials: Credentials
) -> None:
    await provider(resources, "openai", {"api_key": KEY})
    async with store.read() as session:
        row = (await session.scalars(select(ManagedResource))).one()
    row.key = "custom"
    assert opened(row, credentials).unreadable == ("api_key",)
    row.key, row.secrets = "openai", {"api_key": {**row.secrets["api_key"], "sealed": "bm9uZQ=="}}
    assert opened(row, credentials).unreadable == ("api_key",)


async def test_every_change_has_an_audit_entry_without_long_texts(
    resources: ManagedResources, store: Store
) -> None:
    await agent(resources, name="Chef", prompt="The door's code is 1234.")
    await agent(resources, name="Cook", prompt="The door's code is 1234.")
    await resources.delete("agent", "chef", ADA)
    entries = await audit_of(store)
    assert [(entry.action, entry.target, entry.author, entry.address) for entry in entries] == [
        ("agent.create", "agent:chef", "ada", "192.0.2.1"),
        ("agent.change", "agent:chef", "ada", "192.0.2.1"),
        ("agent.delete", "agent:chef", "ada", "192.0.2.1"),
    ]
    assert entries[0].after == {"name": "Chef", "prompt": "changed"}
    assert (entries[1].before, entries[1].after) == ({"name": "Chef"}, {"name": "Cook"})


async def test_many_are_written_all_or_none(resources: ManagedResources, store: Store) -> None:
    good, bad = Change("agent", "chef", {"name": "Chef"}), Change("price", "openai", {"per_minute": -1})
    with pytest.raises(Invalid, match="price openai: per_minute"):
        await resources.put_all([good, bad], ADA)
    assert await resources.list_all("agent") == []
    assert await audit_of(store) == []
    await resources.put_all([good], ADA)
    assert [each.action for each in await resources.versions("agent", "chef")] == ["import"]


async def test_two_processes_on_one_database_write_one_after_the_other(
    resources: ManagedResources, credentials: Credentials, tmp_path: Path
) -> None:
    other_store = sqlite_store(tmp_path)
    await other_store.open()
    other = ManagedResources(other_store, credentials, {}, Settings)
    try:
        done = await asyncio.gather(
            *(agent(each, speed=speed) for speed in (0.5, 0.7, 0.9) for each in (resources, other)),
            return_exceptions=True,
        )
        assert not [
            each for each in done if isinstance(each, BaseException) and not isinstance(each, MimiError)
        ]
        numbers = [each.number for each in await resources.versions("agent", "chef")]
        assert numbers == sorted(set(numbers), reverse=True)
    finally:
        await other_store.aclose()


async def test_a_person_who_is_deleted_is_named_in_no_history(
    resources: ManagedResources, store: Store
) -> None:
    await agent(resources, name="Chef")
    async with store.write() as session:
        await managed.forget_author(session, "u-ada")
    assert [each.author for each in await resources.versions("agent", "chef")] == [""]
