"""A process that is killed while it writes and collects files leaves whole files, and nothing for ever."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from mimi_mqtt.files.collection import GRACE_S, Collector
from mimi_mqtt.store.engine import Store
from tests.fakes.blobs import Clock, blobs_in, check, names, objects_of, whole

pytestmark = pytest.mark.timeout(90)

_WRITER = """
import asyncio, os, sys
from pathlib import Path
from mimi_mqtt.files.blobs import BlobStore
from mimi_mqtt.files.collection import Collector
from mimi_mqtt.files.places import Folder
from mimi_mqtt.store.engine import Store

async def parts():
    for _ in range(20):
        yield os.urandom(20_000)

async def main(folder):
    store = Store(f"sqlite+aiosqlite:///{folder / 'mimi.db'}")
    await store.open()
    blobs = BlobStore(store, Folder(folder / "files"), folder / "files" / "incoming")
    await blobs.open()
    collector = Collector(blobs, grace_s=0)
    while True:
        # Without a grace period the collector takes some of what is being written: those writes fail.
        work = [blobs.put(parts(), max_bytes=1 << 20) for _ in range(4)]
        await asyncio.gather(*work, collector.collect(), return_exceptions=True)
        print("written", flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


async def _write_and_be_killed(folder: Path, after_s: float) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(folder),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"written\n"
    await asyncio.sleep(after_s)
    process.kill()
    await process.communicate()


async def test_a_killed_writer_leaves_whole_files_and_nothing_for_ever(tmp_path: Path) -> None:
    chance = random.Random(2)
    for _ in range(3):
        await _write_and_be_killed(tmp_path, chance.uniform(0, 0.2))
        store = Store(f"sqlite+aiosqlite:///{tmp_path / 'mimi.db'}")
        await store.open()
        blobs = await blobs_in(store, tmp_path / "files")
        await check(store, blobs.place)
        for sha256 in await names(store):
            assert len(await whole(blobs, sha256)) == 400_000
        await store.aclose()
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'mimi.db'}")
    await store.open()
    clock = Clock()
    clock.forward(GRACE_S + 60)
    blobs = await blobs_in(store, tmp_path / "files", clock=clock)
    await Collector(blobs).collect()
    assert await names(store) == set()
    assert await objects_of(blobs.place) == set()
    assert (await blobs.usage()).bytes == 0
    await store.aclose()
