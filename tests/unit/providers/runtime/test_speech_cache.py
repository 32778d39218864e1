"""The speech cache on disk: what it keeps, what it drops, and that nothing on the disk can break it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime import speech_cache
from mimi_mqtt.providers.runtime.speech_cache import SpeechCache, _packed, _unpacked
from tests.unit.providers.fakes import chunk

DAY_S = 86_400.0
Open = Callable[..., Awaitable[SpeechCache]]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def reopen(tmp_path: Path, clock: Clock) -> AsyncIterator[Open]:
    """Opens the cache in the same folder, the one before closed: what is put is on disk then."""
    opened: list[SpeechCache] = []

    async def make(max_bytes: int = 100_000) -> SpeechCache:
        for cache in opened:
            await cache.aclose()
        opened.append(SpeechCache(tmp_path / "speech", max_bytes, 30 * DAY_S, clock))
        await opened[-1].start()
        return opened[-1]

    yield make
    for cache in opened:
        await cache.aclose()


def samples(chunks: object) -> list[int]:
    assert isinstance(chunks, (list, tuple))
    return [int(sample) for part in chunks for sample in part.pcm]


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "speech").iterdir())


async def test_a_phrase_survives_a_restart_with_its_rate(reopen: Open) -> None:
    cache = await reopen()
    cache.put("a", [chunk(1, 2), chunk(3)])
    again = await (await reopen()).get("a")
    assert samples(again) == [1, 2, 3]
    assert again[0].sample_rate == 16_000


async def test_a_phrase_comes_back_in_chunks(reopen: Open) -> None:
    cache = await reopen()
    cache.put("a", [SpeechChunk(np.arange(5_000, dtype=np.int16), 16_000)])
    again = await (await reopen()).get("a")
    assert [part.pcm.size for part in again] == [3_200, 1_800]


async def test_what_was_never_put_is_not_there(reopen: Open) -> None:
    assert await (await reopen()).get("a") == ()


async def test_the_longest_unused_phrase_makes_room(reopen: Open, clock: Clock) -> None:
    cache = await reopen(16_000)  # for eight phrases of 2,000 bytes and less
    for number in range(8):
        clock.now += 1
        cache.put(str(number), [SpeechChunk(np.ones(900, np.int16), 16_000)])
    cache = await reopen(16_000)
    clock.now += 1
    assert await cache.get("0")
    cache.put("8", [SpeechChunk(np.ones(900, np.int16), 16_000)])
    cache = await reopen(16_000)
    assert await cache.get("0")
    assert not await cache.get("1")
    assert await cache.get("8")


async def test_a_smaller_bound_holds_from_the_start(reopen: Open, tmp_path: Path) -> None:
    cache = await reopen()
    for number in range(8):
        cache.put(str(number), [SpeechChunk(np.ones(900, np.int16), 16_000)])
    await reopen(4_000)
    assert len(files(tmp_path)) == 2


async def test_a_phrase_that_would_take_more_than_its_share_is_not_kept(reopen: Open) -> None:
    cache = await reopen(4_000)
    cache.put("a", [SpeechChunk(np.ones(300, np.int16), 16_000)])
    assert not await (await reopen(4_000)).get("a")


async def test_a_phrase_that_nobody_needs_any_more_goes(reopen: Open, clock: Clock, tmp_path: Path) -> None:
    cache = await reopen()
    cache.put("old", [chunk(1)])
    cache.put("used", [chunk(2)])
    cache = await reopen()
    clock.now += 29 * DAY_S
    for key in ("old", "used"):
        assert await cache.get(key)
    clock.now += 29 * DAY_S
    assert await cache.get("used")
    clock.now += 2 * DAY_S
    cache = await reopen()
    assert not await cache.get("old")
    assert await cache.get("used")
    assert len(files(tmp_path)) == 1


async def test_age_counts_while_the_server_runs(reopen: Open, clock: Clock, tmp_path: Path) -> None:
    cache = await reopen()
    cache.put("old", [chunk(1)])
    cache = await reopen()
    clock.now += 31 * DAY_S
    cache.put("new", [chunk(2)])
    await cache.aclose()
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("content", [b"", b"x" * 10, b"x" * 1_000], ids=["empty", "short", "other"])
async def test_a_broken_file_is_dropped(reopen: Open, tmp_path: Path, content: bytes) -> None:
    cache = await reopen()
    cache.put("a", [chunk(1, 2, 3)])
    cache = await reopen()
    files(tmp_path)[0].write_bytes(content)
    assert await cache.get("a") == ()
    assert files(tmp_path) == []
    cache.put("a", [chunk(4)])
    assert samples(await (await reopen()).get("a")) == [4]


async def test_a_changed_sample_is_noticed(reopen: Open, tmp_path: Path) -> None:
    cache = await reopen()
    cache.put("a", [chunk(1, 2, 3)])
    cache = await reopen()
    content = bytearray(files(tmp_path)[0].read_bytes())
    content[-1] ^= 1
    files(tmp_path)[0].write_bytes(content)
    assert await cache.get("a") == ()


async def test_a_file_that_somebody_deleted_is_no_harm(reopen: Open, tmp_path: Path) -> None:
    cache = await reopen()
    cache.put("a", [chunk(1)])
    cache = await reopen()
    files(tmp_path)[0].unlink()
    assert await cache.get("a") == ()


async def test_what_a_crash_left_half_written_is_cleared_away(reopen: Open, tmp_path: Path) -> None:
    await reopen()
    (tmp_path / "speech" / "abc.new").write_bytes(b"half")
    await reopen()
    assert files(tmp_path) == []


async def test_a_disk_that_refuses_costs_the_cache_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "speech").write_text("a file where the folder should be")
    cache = SpeechCache(tmp_path / "speech", 100_000)
    await cache.start()
    cache.put("a", [chunk(1)])
    await cache.aclose()
    assert await cache.get("a") == ()


async def test_a_phrase_in_memory_needs_no_disk(reopen: Open, tmp_path: Path) -> None:
    cache = await reopen()
    cache.put("put", [chunk(1)])
    cache = await reopen()
    assert await cache.get("put")
    files(tmp_path)[0].unlink()
    assert samples(await cache.get("put")) == [1]


async def test_memory_is_bounded_and_the_disk_has_the_rest(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech_cache, "_MEMORY_BYTES", 16_000)
    cache = await reopen()
    for number in range(10):
        cache.put(str(number), [SpeechChunk(np.full(1_000, number, np.int16), 16_000)])
    assert cache._memory.weight == 16_000
    assert samples(await cache.get("0"))[:1] == [0]
    assert cache._memory.weight == 16_000


async def test_a_phrase_said_from_memory_each_day_does_not_age(reopen: Open, clock: Clock) -> None:
    cache = await reopen()
    cache.put("a", [chunk(1)])
    cache = await reopen()
    await cache.get("a")
    for _ in range(20):
        clock.now += 2 * DAY_S
        await cache.get("a")
    assert await (await reopen()).get("a")


async def test_nothing_is_kept_before_the_start_and_after_the_end(tmp_path: Path) -> None:
    cache = SpeechCache(tmp_path / "speech", 100_000)
    cache.put("a", [chunk(1)])
    assert await cache.get("a") == ()
    await cache.aclose()
    assert not (tmp_path / "speech").exists()


async def test_only_the_owner_may_read_what_was_said(reopen: Open, tmp_path: Path) -> None:
    await reopen()
    assert (tmp_path / "speech").stat().st_mode & 0o077 == 0


def test_requests_are_counted_and_forgotten(tmp_path: Path) -> None:
    cache = SpeechCache(tmp_path, 1)
    assert [cache.times_asked("a") for _ in range(3)] == [1, 2, 3]
    for number in range(5_000):
        cache.times_asked(str(number))
    assert cache.times_asked("a") == 1


@given(parts=st.lists(st.lists(st.integers(-32_768, 32_767), min_size=1), min_size=1, max_size=5))
def test_samples_survive_the_file(parts: list[list[int]]) -> None:
    unpacked = _unpacked(_packed([chunk(*part) for part in parts]))
    assert samples(unpacked) == [sample for part in parts for sample in part]


@given(content=st.binary(max_size=200))
def test_any_file_is_speech_or_nothing(content: bytes) -> None:
    assert isinstance(_unpacked(content), (tuple, list))
