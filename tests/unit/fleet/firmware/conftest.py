from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.firmware import Workshop, workshop_in


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop_in(tmp_path) as made:
        yield made
