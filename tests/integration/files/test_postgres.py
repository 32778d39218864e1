"""Blobs of two nodes that share PostgreSQL and a folder: nothing live is deleted, and the quota is kept."""

import asyncio
import random
from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKey, MetaData, String, Table, delete, insert, select

from mimi_mqtt.errors import LimitReached
from mimi_mqtt.files.collection import Collector
from mimi_mqtt.store.engine import Store, StoreConflict
from tests.fakes.blobs import Clock, blobs_in, check, names, objects_of, parts, whole

pytestmark = pytest.mark.timeout(90)

METADATA = MetaData()
Table("blobs", METADATA, Column("sha256", String, primary_key=True))
ALBUM = Table(
    "album",
    METADATA,
    Column("title", String, primary_key=True),
    Column("sha256", String, ForeignKey("blobs.sha256", ondelete="RESTRICT"), index=True),
)


async def test_two_nodes_that_write_and_collect_lose_nothing(postgres_url: str, tmp_path: Path) -> None:
    nodes = [Store(postgres_url), Store(postgres_url)]
    await asyncio.gather(*(node.open() for node in nodes))
    async with nodes[0].write() as session:
        await (await session.connection()).run_sync(ALBUM.create)
    clock = Clock()
    both = [await blobs_in(node, tmp_path, clock=clock) for node in nodes]
    # Without a grace period, as if every write took that long.
    collectors = [Collector(blobs, grace_s=0, metadata=METADATA) for blobs in both]

    async def write(number: int) -> str | None:
        """Stores one of a few contents, and refers to it when it is still there."""
        blobs, content = both[number % 2], bytes([number % 5]) * 100
        try:
            blob = await blobs.put(parts(content), max_bytes=100)
            async with blobs.store.write() as session:
                await session.execute(insert(ALBUM), [{"title": str(number), "sha256": blob.sha256}])
        except (StoreConflict, Exception):  # noqa: BLE001 - a collector was faster: nothing is kept then
            return None
        return blob.sha256

    async def erase(number: int) -> None:
        async with both[number % 2].store.write() as session:
            await session.execute(delete(ALBUM).where(ALBUM.c.title == str(number)))

    chance = random.Random(1)
    for start in range(0, 60, 6):
        clock.forward(1)
        work = [write(number) for number in range(start, start + 6)]
        work += [erase(chance.randrange(start + 1)) for _ in range(3)]
        work += [collector.collect() for collector in collectors]
        chance.shuffle(work)
        await asyncio.gather(*work)
        async with nodes[0].read() as session:
            live = set((await session.execute(select(ALBUM.c.sha256))).scalars().all())
        for sha256 in live:
            assert len(await whole(both[0], sha256)) == 100
    clock.forward(1)
    for collector in collectors:
        await collector.collect()
    assert await names(nodes[0]) == live
    await check(nodes[0], both[0].place)
    for node in nodes:
        await node.aclose()


async def test_a_quota_is_kept_by_two_nodes(postgres_url: str, tmp_path: Path) -> None:
    nodes = [Store(postgres_url), Store(postgres_url)]
    await asyncio.gather(*(node.open() for node in nodes))
    both = [await blobs_in(node, tmp_path, quota=100_000) for node in nodes]
    put = await asyncio.gather(
        *(both[number % 2].put(parts(bytes([number]) * 30_000), max_bytes=30_000) for number in range(10)),
        return_exceptions=True,
    )
    kept = [found for found in put if not isinstance(found, BaseException)]
    assert {type(found) for found in put if isinstance(found, BaseException)} == {LimitReached}
    assert 1 <= len(kept) <= 3
    assert (await both[0].usage()).bytes == 30_000 * len(kept)
    same = await asyncio.gather(*(blobs.put(parts(bytes([1]) * 9), max_bytes=9) for blobs in both * 5))
    assert len(set(same)) == 1
    await check(nodes[0], both[0].place)
    assert len(await objects_of(both[0].place)) >= len(kept) + 1
    for node in nodes:
        await node.aclose()
