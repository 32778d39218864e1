"""Writes, crashes, references and collections in any order: what is referred to is always whole."""

import asyncio
import hashlib
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mimi_mqtt.errors import NotFound
from tests.databases import sqlite_store
from tests.fakes.blobs import check, names, objects_of, whole
from tests.unit.files.test_collection import Crash, House

T = TypeVar("T")
CONTENTS = st.sampled_from([b"", b"a", b"b" * 1_000, b"c" * 300_000])
STEPS = st.integers(1, 12)


class Files(RuleBasedStateMachine):
    """A house whose contents are known: `live` has those that are referred to, by title."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.TemporaryDirectory(prefix="mimi-test-")
        folder = Path(self._folder.name)
        self._store = sqlite_store(folder)
        self._run(self._store.open())
        self.house = self._run(House(self._store, folder / "kept").start())
        self.live: dict[str, bytes] = {}
        self.titles = 0

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def teardown(self) -> None:
        self._run(self._settle())
        self._run(self._store.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._folder.cleanup()

    @rule(content=CONTENTS)
    def put(self, content: bytes) -> None:
        self.titles += 1
        self._run(self.house.put(content, f"t{self.titles}"))
        self.live[f"t{self.titles}"] = content

    @rule(content=CONTENTS)
    def put_and_forget(self, content: bytes) -> None:
        self._run(self.house.put(content))

    @rule(content=CONTENTS, step=STEPS)
    def crash_while_putting(self, content: bytes, step: int) -> None:
        self._crash(self.house.put(content), step)

    @rule(step=STEPS)
    def crash_while_collecting(self, step: int) -> None:
        self._crash(self.house.collect(), step)

    @rule()
    def collect(self) -> None:
        self._run(self.house.collect())

    @rule()
    def wait(self) -> None:
        self.house.later()

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        title = data.draw(st.sampled_from(sorted(self.live)))
        self._run(self.house.drop(title))
        del self.live[title]

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def lose_an_object_and_send_it_again(self, data: st.DataObject) -> None:
        content = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        sha256 = hashlib.sha256(content).hexdigest()
        for path in (self.house.folder / "files" / "objects").glob(f"*/{sha256}-*"):
            path.unlink()
        self._run(self.house.put(content))

    def _crash(self, work: Coroutine[Any, Any, object], step: int) -> None:
        self.house.steps, self.house.crash_at = 0, step
        try:
            self._run(work)
        except Crash:
            pass
        finally:
            self._run(self.house.restart())

    @invariant()
    def what_is_referred_to_is_whole(self) -> None:
        self._run(check(self._store, self.house.blobs.place))
        for content in set(self.live.values()):
            sha256 = hashlib.sha256(content).hexdigest()
            assert self._run(whole(self.house.blobs, sha256)) == content

    async def _settle(self) -> None:
        """In the end, nothing else is left."""
        for _ in range(2):
            self.house.later()
            await self.house.collect()
        wanted = {hashlib.sha256(content).hexdigest() for content in self.live.values()}
        assert await names(self._store) == wanted
        assert len(await objects_of(self.house.blobs.place)) == len(wanted)
        assert (await self.house.blobs.usage()).bytes == sum(map(len, set(self.live.values())))
        for sha256 in wanted:
            try:
                await whole(self.house.blobs, sha256)
            except NotFound as error:
                raise AssertionError from error


TestFiles = Files.TestCase
TestFiles.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
