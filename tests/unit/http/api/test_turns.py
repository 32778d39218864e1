"""A turn as a file, its sound beside it, and exports."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mimi_mqtt.errors import LimitReached
from mimi_mqtt.files.recordings import Recorded, Recordings
from mimi_mqtt.memory import exports
from mimi_mqtt.memory.exports import ConversationExports
from mimi_mqtt.memory.history import ConversationHistory
from mimi_mqtt.store.conversation_pages import Filter
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.turn_record import ProviderUse, ToolSpan
from mimi_mqtt.store.viewers import Asker
from mimi_mqtt.wire.ogg import OggOpusReader
from tests.databases import sqlite_store
from tests.fakes.api import client
from tests.fakes.blobs import blobs_in
from tests.unit.store.conversation_checks import BOB, EVE, HALL, KITCHEN, add_device, said, save

PACKETS = tuple(bytes([0x58, number % 250, 7]) for number in range(501))


class House:
    def __init__(self, store: Store, recordings: Recordings) -> None:
        self.store = store
        self.parts: dict[str, Any] = {
            "directory": {},
            "conversations": ConversationHistory(store, ZoneInfo("UTC")),
            "exports": ConversationExports(store),
            "recordings": recordings,
        }


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = sqlite_store(tmp_path)
    await store.open()
    await add_device(store, KITCHEN, BOB)
    await add_device(store, HALL, EVE)
    span = ToolSpan("light.on", 700.0, 120.0)
    await save(
        store,
        said(
            "bobs",
            tools_called=("light.on",),
            tool_spans=(span,),
            uses=(ProviderUse("llm", "openai", cost=0.5),),
        ),
        said("bobs", 2, heard="and now\noff\x1b[2J", after_s=5, outcome="failed", error="timeout"),
        said("eves", device=HALL, owner=EVE, heard="secret light", after_s=1),
    )
    recordings = Recordings(await blobs_in(store, tmp_path / "files"), keep_days=30)
    at = datetime.now(UTC)
    await recordings._store_all(
        [
            Recorded("bobs", 1, "user", KITCHEN, BOB, "", 16_000, PACKETS, at),
            Recorded("bobs", 1, "assistant", KITCHEN, "u-tim", "", 24_000, PACKETS[:50], at),
        ]
    )
    yield House(store, recordings)
    await store.aclose()


async def test_a_turn_tells_its_tool_calls_and_its_sound(house: House) -> None:
    async with client(as_="ada", **house.parts) as http:
        conversation = (await http.get("/conversations/bobs")).json()
        one = (await http.get("/conversations/bobs/turns/1")).json()
        found = (await http.get("/conversations/search?q=light")).json()["items"][-1]["turn"]
        turn = conversation["page"]["items"][0]
        assert turn == one
        assert turn["tool_spans"] == [{"name": "light.on", "at_ms": 700.0, "ms": 120.0, "failed": False}]
        assert [each["side"] for each in turn["audio"]] == ["user", "assistant"]
        assert conversation["page"]["items"][1]["audio"] == []
        assert found["audio"] is None
        sound = await http.get(turn["audio"][0]["href"].removeprefix("/api/v1"))
        assert len(sound.content) == turn["audio"][0]["bytes"]


async def test_sound_of_another_is_not_told(house: House) -> None:
    async with client(as_="bob", **house.parts) as http:
        turn = (await http.get("/conversations/bobs/turns/1")).json()
        assert [each["side"] for each in turn["audio"]] == ["user"]
        assert set((await http.get("/conversations/bobs/turns/1/file")).json()["audio"]) == {"user"}


async def test_a_file_has_the_turn_and_its_sound_and_nobodys_name(house: House) -> None:
    async with client(**house.parts) as http:
        reply = await http.get("/conversations/bobs/turns/1/file")
        without = (await http.get("/conversations/bobs/turns/1/file?audio=false")).json()
    assert reply.headers["content-disposition"].startswith('attachment; filename="turn-2026')
    content = reply.json()
    assert (content["format"], content["version"]) == ("mimi_mqtt turn", 1)
    assert content["turn"]["tool_spans"][0]["name"] == "light.on"
    reader = OggOpusReader()
    assert tuple(reader.feed(base64.b64decode(content["audio"]["user"]["data"], validate=True))) == PACKETS
    assert content["audio"]["user"]["duration_ms"] == 501 * 60
    assert without["audio"] == {}
    for private in (KITCHEN, BOB, "bobs", "u-tim"):
        assert private not in reply.text


async def test_an_export_has_all_turns_of_what_fits(house: House) -> None:
    async with client(**house.parts) as http:
        reply = await http.get("/conversations/export")
        lines = [json.loads(line) for line in reply.text.splitlines()]
        assert reply.headers["content-type"] == "application/x-ndjson"
        assert [(line["id"], [turn["number"] for turn in line["turns"]]) for line in lines] == [
            ("bobs", [1, 2]),
            ("eves", [1]),
        ]
        found = (await http.get("/conversations/export?q=light")).text.splitlines()
        assert [json.loads(line)["turns"][0]["heard"] for line in found] == [
            "secret light",
            "turn on the light",
        ]
        one = (await http.get("/conversations/export?conversation=bobs&format=text")).text
        assert one.startswith(f"== 2026-08-01 12:00:00 | device {KITCHEN} | agent default ==\n")
        assert "user: and now off[2J\n" in one  # nothing moves a terminal's cursor
        assert "failed (timeout)\n" in one
        assert (await http.get(f"/conversations/export?owner={EVE}")).text.count("\n") == 1
        assert (await http.get("/conversations/export?outcome=stuck")).text == ""
        wrong = await http.get("/conversations/export?conversation=bobs&q=light")
        assert wrong.status_code == 422
        assert (await http.get("/conversations/export?q=!")).status_code == 422
        assert (await http.get("/conversations/export?conversation=none")).status_code == 404


async def test_an_export_is_of_what_a_member_sees(house: House) -> None:
    async with client(as_="bob", **house.parts) as http:
        for query in ("", f"?owner={EVE}", "?q=secret", f"?device={HALL}"):
            assert "secret" not in (await http.get(f"/conversations/export{query}")).text


async def test_a_long_conversation_is_one_line_in_pieces(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 2)
    await save(house.store, *(said("long", number, after_s=10 + number) for number in range(1, 8)))
    async with client(**house.parts) as http:
        lines = (await http.get("/conversations/export")).text.splitlines()
    first = json.loads(lines[0])
    assert (first["id"], [turn["number"] for turn in first["turns"]]) == ("long", list(range(1, 8)))
    assert [json.loads(line)["id"] for line in lines] == ["long", "bobs", "eves"]


async def test_exports_of_one_caller_are_bounded(house: House) -> None:
    made, ada = ConversationExports(house.store), Asker("u-ada", is_admin=True)
    running = [made.all(ada, Filter()) for _ in range(exports.MAX_EXPORTS)]
    for each in running:
        await anext(each)
    with pytest.raises(LimitReached):
        await anext(made.all(ada, Filter()))
    await anext(made.all(Asker(BOB), Filter()))
    for each in running:
        await each.aclose()
    await anext(made.all(ada, Filter()))


async def test_only_who_may_change_agents_asks_again(house: House) -> None:
    async with client(as_="bob", **house.parts) as http:
        reply = await http.post("/conversations/bobs/turns/1/replay", json={})
    assert (reply.status_code, "agents:write" in reply.json()["detail"]) == (403, True)
