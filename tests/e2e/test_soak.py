"""Three minutes of devices that talk, interrupt, vanish and come back: nothing grows, and nothing is left."""

from pathlib import Path

import pytest

from tests.e2e.conftest import clean_environ, run_command

_SECONDS = 180
_MOST_GROWTH_MIB_PER_MINUTE = 1.5
"""What the allocator's fragmentation may add; ended sessions that stayed would add several times as much."""


@pytest.mark.timeout(_SECONDS + 180)
async def test_the_server_is_after_three_minutes_of_devices_as_it_was_before(tmp_path: Path) -> None:
    """Without the garbage collector: an ended session must go by itself, as full collections are rare."""
    done = await run_command(
        "bench", "soak", "--seconds", str(_SECONDS), "--devices", "12", "--collector", "off", "--json",
        cwd=tmp_path, environ=clean_environ(), timeout=_SECONDS + 150,
    )  # fmt: skip
    assert done.code == 0, done.err
    figures = done.summary
    assert figures["turns"] > 100, figures
    assert figures["dropped_connections"] > 10, figures
    assert not figures["unanswered"], figures["unanswered_first"]
    assert not figures["faults_logged"], figures["faults_first"]
    left = {name: value for name, value in figures.items() if name.endswith(("_left", "_alive"))}
    assert len(left) == 8
    assert not any(left.values()), left
    assert figures["full_collections"] == 0, figures
    assert figures["memory_mib_per_minute"] < _MOST_GROWTH_MIB_PER_MINUTE, figures
