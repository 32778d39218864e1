"""One attacked server for each module: every attack finds it as the one before left it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.attacks.scene import Scene, scene_in


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene_in(tmp_path_factory.mktemp("attacked")) as scene:
        yield scene
        process = scene.server.process
    assert not process.is_running(), "the server did not stop"
