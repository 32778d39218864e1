"""Conversations and statistics over REST: pages, rights, deletion, and bad input."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from sqlalchemy import text
from sqlmodel import select

from mimi_mqtt.fleet.entry import DeviceInfo
from mimi_mqtt.memory import history
from mimi_mqtt.memory.history import ConversationHistory
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AuditEntry
from mimi_mqtt.store.turn_record import ProviderUse
from tests.databases import sqlite_store
from tests.fakes import api
from tests.unit.store.conversation_checks import BOB, EVE, HALL, KITCHEN, NOW, OFFICE, add_device, said, save

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def client(**given: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """A client of the API, whose directory knows no device but those given."""
    return api.client(**{"directory": {}, **given})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = sqlite_store(tmp_path)
    await opened.open()
    yield opened
    await opened.aclose()


@pytest.fixture
async def conversations(store: Store) -> ConversationHistory:
    """Bob's kitchen, Eve's hall, and an office of Ada's that is shared with Bob's household."""
    await add_device(store, KITCHEN, BOB)
    await add_device(store, HALL, EVE)
    await add_device(store, OFFICE, "u-ada", "g-home")
    await save(
        store,
        said("bobs", uses=(ProviderUse("llm", "openai", input_tokens=3, cost=0.25),), heard_s=60.0),
        said("eves", device=HALL, owner=EVE, after_s=1, outcome="failed", error="timeout"),
        said("adas", device=OFFICE, owner="u-ada", after_s=2, heard="sécret light"),
        said("adas", 2, device=OFFICE, owner="u-ada", after_s=3, heard="and now off"),
    )
    return ConversationHistory(store, ZONE)


async def test_a_list_goes_page_by_page_to_its_end(conversations: ConversationHistory) -> None:
    async with client(conversations=conversations) as http:
        first = (await http.get("/conversations", params={"limit": 2})).json()
        rest = (await http.get("/conversations", params={"limit": 2, "cursor": first["next"]})).json()
    assert [each["id"] for each in first["items"]] == ["adas", "eves"]
    assert [each["id"] for each in rest["items"]] == ["bobs"]
    assert rest["next"] is None
    assert first["items"][0] == {
        "id": "adas", "device": OFFICE, "agent": "default", "owner": "u-ada", "turns": 2,
        "started_at": "2026-08-01T12:00:02Z", "last_turn_at": "2026-08-01T12:00:03Z", "outcome": "answered",
        "opening": "sécret light", "device_name": "",
    }  # fmt: skip


async def test_a_device_s_name_is_told_to_who_sees_the_device(conversations: ConversationHistory) -> None:
    # Bob's kitchen was given to Eve: what he said to it stays his, and what it is called now is hers.
    directory = {
        KITCHEN: DeviceInfo(KITCHEN, name="Eve's kitchen", owner_id="u-eve"),
        OFFICE: DeviceInfo(OFFICE, name="Office", owner_id="u-ada", group_id="g-home"),
    }
    async with client(as_="bob", conversations=conversations, directory=directory) as http:
        listed = (await http.get("/conversations")).json()["items"]
        found = (await http.get("/conversations/search", params={"q": "light"})).json()["items"]
        one = (await http.get("/conversations/adas")).json()
        days = {"from": "2026-08-01", "to": "2026-08-01", "by": "device"}
        sums = (await http.get("/statistics", params=days)).json()["items"]
    names = {"adas": "Office", "bobs": ""}
    assert {each["id"]: each["device_name"] for each in listed} == names
    assert {each["conversation"]["id"]: each["conversation"]["device_name"] for each in found} == names
    assert one["device_name"] == "Office"
    assert {each["device"]: each["device_name"] for each in sums}[OFFICE] == "Office"
    assert "Eve's kitchen" not in {each["device_name"] for each in sums}


@pytest.mark.parametrize(
    ("who", "seen"), [("ada", ["adas", "eves", "bobs"]), ("bob", ["adas", "bobs"]), ("eve", ["eves"])]
)
async def test_everybody_sees_what_is_his_on_every_route(
    conversations: ConversationHistory, who: str, seen: list[str]
) -> None:
    async with client(as_=who, conversations=conversations) as http:
        listed = (await http.get("/conversations")).json()["items"]
        assert [each["id"] for each in listed] == seen
        found = (await http.get("/conversations/search", params={"q": "light"})).json()["items"]
        assert [each["conversation"]["id"] for each in found] == seen
        turns = (await http.get("/statistics", params={"from": "2026-08-01", "to": "2026-08-01"})).json()
        assert sum(day["turns"] for day in turns["items"]) == len(seen) + ("adas" in seen)
        for id_ in ("adas", "eves", "bobs"):
            status = 200 if id_ in seen else 404
            assert (await http.get(f"/conversations/{id_}")).status_code == status
            assert (await http.get(f"/conversations/{id_}/turns/1")).status_code == status
            if id_ not in seen:
                assert (await http.delete(f"/conversations/{id_}")).status_code == 404


async def test_a_conversation_has_its_turns_in_pages(conversations: ConversationHistory) -> None:
    async with client(as_="bob", conversations=conversations) as http:
        first = (await http.get("/conversations/adas", params={"limit": 1})).json()
        cursor = first["page"]["next"]
        rest = (await http.get("/conversations/adas", params={"limit": 1, "cursor": cursor})).json()
        turn = (await http.get("/conversations/bobs/turns/1")).json()
        missing = await http.get("/conversations/bobs/turns/2")
    assert [each["heard"] for each in first["page"]["items"]] == ["sécret light"]
    assert [each["heard"] for each in rest["page"]["items"]] == ["and now off"]
    assert rest["page"]["next"] is None
    assert (turn["cost"], turn["kind"], turn["uses"][0]["input_tokens"]) == (0.25, "utterance", 3)
    assert missing.status_code == 404


async def test_a_member_deletes_what_is_his_and_not_what_is_shared_with_him(
    conversations: ConversationHistory, store: Store
) -> None:
    async with client(as_="bob", conversations=conversations) as http:
        assert (await http.delete("/conversations/adas")).status_code == 404
        everything = {"from": "2020-01-01T00:00:00Z"}
        answer = await http.delete("/conversations", params=everything)
        assert answer.json() == {"deleted": 1, "more": False}
        left = (await http.get("/conversations")).json()["items"]
        assert [each["id"] for each in left] == ["adas"]
    async with client(conversations=conversations) as http:
        assert (await http.delete("/conversations/eves")).status_code == 204
        assert (await http.delete("/conversations", params={"device": OFFICE})).json()["deleted"] == 1
    async with store.read() as session:
        entries = [
            (entry.author, entry.action, entry.target)
            for entry in (await session.scalars(select(AuditEntry))).all()
        ]
        words = (await session.execute(text("SELECT count(*) FROM turn_words"))).scalar_one()
    assert entries == [
        ("bob", "conversation.delete_many", "conversations"),
        ("ada", "conversation.delete", "conversation:eves"),
        ("ada", "conversation.delete_many", f"device:{OFFICE}"),
    ]
    assert words == 0


async def test_a_deletion_of_many_is_bounded_and_says_that_there_are_more(
    conversations: ConversationHistory, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_DELETED", 4)
    monkeypatch.setattr(history, "AT_ONCE", 2)
    await save(store, *(said(f"s{number}", after_s=-60 - number) for number in range(5)))
    before = {"to": (NOW - timedelta(seconds=30)).isoformat()}
    async with client(conversations=conversations) as http:
        answers = [(await http.delete("/conversations", params=before)).json() for _ in range(2)]
    assert answers == [{"deleted": 4, "more": True}, {"deleted": 1, "more": False}]


async def test_statistics_tell_minutes_costs_and_errors(conversations: ConversationHistory) -> None:
    august = {"from": "2026-08-01", "to": "2026-08-31"}
    async with client(conversations=conversations) as http:
        days = (await http.get("/statistics", params=august)).json()
        devices = (await http.get("/statistics", params={**august, "by": "device", "limit": 2})).json()
        rest = await http.get(
            "/statistics", params={**august, "by": "device", "limit": 2, "cursor": devices["next"]}
        )
        providers = (await http.get("/statistics", params={**august, "by": "provider"})).json()["items"]
    assert (days["from"], days["to"], days["timezone"]) == ("2026-08-01", "2026-08-31", "Asia/Ho_Chi_Minh")
    (day,) = days["items"]
    told = (day["day"], day["turns"], day["failed"], day["errors"], day["minutes"], day["cost"])
    assert told == ("2026-08-01", 4, 1, {"timeout": 1}, 1.0, 0.25)
    assert [each["device"] for each in [*devices["items"], *rest.json()["items"]]] == [KITCHEN, HALL, OFFICE]
    assert [(each["role"], each["provider"], each["turns"]) for each in providers] == [("llm", "openai", 1)]


async def test_the_last_thirty_days_are_told_by_default(
    conversations: ConversationHistory, store: Store
) -> None:
    now = datetime.now(UTC)
    await save(store, said("new", started_at=now), said("old", started_at=now - timedelta(days=40)))
    async with client(conversations=conversations) as http:
        items = (await http.get("/statistics")).json()["items"]
    today = now.astimezone(ZONE).date()
    mine = {each["day"]: each["turns"] for each in items}
    assert mine.get(now.date().isoformat(), mine.get(today.isoformat())) == 1
    assert (today - timedelta(days=40)).isoformat() not in mine


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/conversations?cursor=WzFd", 422),
        ("/conversations?cursor=WzkyMjMzNzIwMzY4NTQ3NzU4MDcwMCwieCJd", 422),
        ("/conversations?limit=0", 422),
        ("/conversations?limit=201", 422),
        ("/conversations?device=kitchen", 422),
        ("/conversations?from=yesterday", 422),
        ("/conversations?from=0001-01-01T00:00:00%2B14:00", 422),
        ("/conversations/search", 422),
        ("/conversations/search?q=%20", 422),
        ("/conversations/search?q=" + "x" * 201, 422),
        ("/conversations/search?q=light%00", 422),
        ("/conversations/none", 404),
        ("/conversations/%00", 404),
        ("/conversations/bobs/turns/0", 422),
        ("/conversations/bobs/turns/99999999999", 422),
        ("/statistics?by=weather", 422),
        ("/statistics?from=2026-08-02&to=2026-08-01", 422),
        ("/statistics?to=0001-01-01", 422),
        ("/statistics?from=0001-01-01&to=9999-12-31", 422),
        ("/statistics?cursor=WyJ4Il0", 422),
        ("/statistics?by=device&cursor=WyJcdTAwMDAiXQ", 422),
    ],
)
async def test_bad_input_gets_a_clear_error(
    conversations: ConversationHistory, path: str, status: int
) -> None:
    async with client(conversations=conversations) as http:
        answer = await http.get(path)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["detail"]


async def test_everything_is_not_deleted_by_a_mistake(conversations: ConversationHistory) -> None:
    async with client(conversations=conversations) as http:
        answer = await http.delete("/conversations")
    assert answer.status_code == 422
    assert "name a device" in answer.json()["detail"]
