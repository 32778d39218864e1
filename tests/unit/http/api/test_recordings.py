"""The sound of turns by the API: whole or in part, for whom it belongs to, until it is too old."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mimi_mqtt.errors import FilesError
from mimi_mqtt.files.collection import Collector
from mimi_mqtt.files.recordings import Recorded, Recordings, Side
from mimi_mqtt.store import conversation_pages, conversations, files, pruning
from mimi_mqtt.store.conversation_pages import Filter
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.store.viewers import EVERYTHING
from mimi_mqtt.wire.ogg import OggOpusReader
from tests.databases import sqlite_store
from tests.fakes.api import client
from tests.fakes.blobs import Clock, blobs_in, names

DEVICE = "aa-bb-cc-00-11-22"
PACKETS = tuple(bytes([0x58, number, 7]) for number in range(50))  # SILK, 60 ms


class House:
    def __init__(self, recordings: Recordings, clock: Clock) -> None:
        self.recordings, self.clock = recordings, clock
        self.store = recordings.blobs.store

    async def add(
        self, turn: int = 1, side: Side = "user", owner: str = "u-bob", group: str = "", session: str = "s-1"
    ) -> None:
        await self.recordings._store_all(
            [Recorded(session, turn, side, DEVICE, owner, group, 16_000, PACKETS, self.clock.now)]
        )

    async def talk(self, session_id: str = "s-1") -> None:
        async with self.store.write() as session:
            turn = TurnRecord(session_id, DEVICE, 1, datetime.now(UTC), "auto", "hi", "hello", "answered", {})
            await conversations.save_turns(session, [turn])

    async def expire(self) -> None:
        async with self.store.write() as session:
            await self.recordings.expire(session, self.clock.now)

    async def count(self, as_: str = "ada", session: str = "s-1") -> int:
        async with client(as_=as_, recordings=self.recordings) as api:
            return len((await api.get(f"/conversations/{session}/recordings")).json())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = sqlite_store(tmp_path)
    await store.open()
    clock = Clock()
    blobs = await blobs_in(store, tmp_path / "files", clock=clock)
    yield House(Recordings(blobs, keep_days=30), clock)
    await store.aclose()


async def test_both_sides_of_a_turn_are_opus_as_it_came(house: House) -> None:
    await house.add(side="user")
    await house.add(side="assistant")
    async with client(as_="bob", recordings=house.recordings) as api:
        listed = (await api.get("/conversations/s-1/recordings")).json()
        assert [(each["turn"], each["side"], each["duration_ms"]) for each in listed] == [
            (1, "user", 3_000),
            (1, "assistant", 3_000),
        ]
        reply = await api.get("/conversations/s-1/turns/1/audio/user")
    assert reply.headers["content-type"] == "audio/ogg"
    assert len(reply.content) == listed[0]["bytes"]
    reader = OggOpusReader()
    assert tuple(reader.feed(reply.content)) == PACKETS
    reader.finish()


async def test_a_player_may_ask_for_a_part(house: House) -> None:
    await house.add()
    path = "/conversations/s-1/turns/1/audio/user"
    async with client(as_="bob", recordings=house.recordings) as api:
        whole = (await api.get(path)).content
        for wanted, part in (("0-9", whole[:10]), ("10-", whole[10:]), ("-4", whole[-4:])):
            reply = await api.get(path, headers={"Range": f"bytes={wanted}"})
            assert (reply.status_code, reply.content) == (206, part)
        reply = await api.get(path, headers={"Range": "bytes=99999-"})
        assert (reply.status_code, reply.headers["content-range"]) == (416, f"bytes */{len(whole)}")
        for wanted in ("bytes=-", "bytes=5-2", "lines=1-2", "bytes=0-1,3-4"):
            reply = await api.get(path, headers={"Range": wanted})
            assert (reply.status_code, reply.content) == (200, whole)
        reply = await api.get(path, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
        assert (reply.status_code, reply.content) == (200, whole)


@pytest.mark.parametrize(("name", "sees"), [("ada", {1, 2, 3}), ("bob", {1, 2}), ("eve", set())])
async def test_each_hears_his_own_and_what_is_shared(house: House, name: str, sees: set[int]) -> None:
    await house.add(1, owner="u-bob")
    await house.add(2, owner="u-tim", group="g-home")
    await house.add(3, owner="")
    async with client(as_=name, recordings=house.recordings) as api:
        for turn in (1, 2, 3):
            reply = await api.get(f"/conversations/s-1/turns/{turn}/audio/user")
            assert reply.status_code == (200 if turn in sees else 404)
        listed = (await api.get("/conversations/s-1/recordings")).json()
        assert {each["turn"] for each in listed} == sees


@pytest.mark.parametrize(
    "path", ["s-1/turns/1/audio/both", "s-1/turns/-1/audio/user", "s-1/turns/x/audio/user"]
)
async def test_a_wrong_address_is_refused(house: House, path: str) -> None:
    async with client(recordings=house.recordings) as api:
        assert (await api.get(f"/conversations/{path}")).status_code == 422


async def test_recordings_end_with_their_time(house: House) -> None:
    await house.talk()
    await house.add()
    house.clock.forward(29 * 86_400)
    await house.expire()
    assert await house.count() == 1
    house.clock.forward(2 * 86_400)
    await house.expire()
    assert await house.count() == 0
    await Collector(house.recordings.blobs).collect()
    assert await names(house.store) == set()


async def test_recordings_end_with_their_conversation(house: House) -> None:
    await house.add(session="s-2")
    await house.expire()
    assert await house.count(session="s-2") == 1  # its turn may still be written
    house.clock.forward(timedelta(hours=3).total_seconds())
    await house.expire()
    assert await house.count(session="s-2") == 0
    await house.talk()
    await house.add()
    async with house.store.write() as session:
        assert await conversation_pages.delete_some(session, EVERYTHING, Filter()) == 1
    assert await house.count() == 0
    await house.talk()
    await house.add()
    async with house.store.write() as session:
        assert await pruning.forget_oldest(session, 10) == 1
    assert await house.count() == 0


async def test_recordings_end_with_their_device_and_their_owner(house: House) -> None:
    await house.add(1, owner="u-bob")
    await house.add(2, owner="u-tim")
    async with house.store.write() as session:
        await files.delete_of_owner(session, "u-bob")
    assert await house.count() == 1
    async with house.store.write() as session:
        await files.delete_of_devices(session, [DEVICE])
    assert await house.count() == 0


async def test_a_turn_that_is_recorded_twice_is_kept_once(house: House) -> None:
    await house.add()
    await house.add()
    assert await house.count() == 1


async def test_packets_that_are_none_do_not_spoil_a_recording(house: House) -> None:
    broken = (b"", *PACKETS[:2], b"\xff\xff")
    await house.recordings._store_all(
        [Recorded("s-1", 1, "user", DEVICE, "", "", 16_000, broken, house.clock.now)]
    )
    async with client(recordings=house.recordings) as api:
        reply = await api.get("/conversations/s-1/turns/1/audio/user")
    assert tuple(OggOpusReader().feed(reply.content))[:2] == PACKETS[:2]


async def test_a_place_that_fails_drops_a_recording_and_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: object, __: str) -> None:
        raise FilesError("the disk is full")

    await house.recordings.start()
    with monkeypatch.context() as broken:
        broken.setattr(house.recordings.blobs.place, "take", fails)
        house.recordings.add(Recorded("s-1", 1, "user", DEVICE, "", "", 16_000, PACKETS, house.clock.now))
        await house.recordings.aclose()
    assert house.recordings.blobs.failure == "the disk is full"
    assert await house.count() == 0
    await house.add()
    assert await house.count() == 1
