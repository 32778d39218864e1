"""One turn's timings are told in three places, and are the same in all of them."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import Server

pytestmark = pytest.mark.timeout(300)

STAGES = {"endpoint", "transcript", "first_token", "first_sentence", "speech", "first_audio", "stop", "tools"}


async def in_metrics(server: Server) -> dict[str, float]:
    """Stage -> ms, of the only turn so far."""
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as client:
        text = (await client.get(server.ota.removesuffix("/xiaozhi/ota/") + "/metrics")).text
    samples = [
        sample
        for family in text_string_to_metric_families(text)
        if family.name == "mimi_turn_stage_seconds"
        for sample in family.samples
    ]
    counts = {s.labels["stage"]: s.value for s in samples if s.name.endswith("_count")}
    assert set(counts.values()) == {1}
    return {s.labels["stage"]: s.value * 1000 for s in samples if s.name.endswith("_sum")}


def in_the_log(server: Server) -> dict[str, float]:
    """The numbers of the only line that has such."""
    (line,) = [line for line in server.log.splitlines() if "first_audio=" in line]
    return {stage: float(ms) for stage, ms in re.findall(r"(\w+)=(\d+)", line) if stage in STAGES}


def in_the_record(folder: Path) -> dict[str, float]:
    with closing(sqlite3.connect(folder / "data" / "mimi.db")) as database:
        ((timings,),) = database.execute("SELECT timings_ms FROM turns").fetchall()
    found: dict[str, float] = json.loads(timings)
    return found


async def test_a_turns_timings_are_in_its_record_in_the_metrics_and_in_one_line_of_the_log(
    server: Server,
) -> None:
    done = await server.run("device", "--ota", server.ota, "--say", "set the volume to forty", "--json")
    assert done.code == 0, done.out + done.err + server.log
    metrics = await in_metrics(server)
    await server.stop()  # what is to be written is written then
    record = in_the_record(server.folder)
    assert set(record) == STAGES
    assert metrics == pytest.approx(record, abs=0.1)
    assert in_the_log(server) == pytest.approx(record, abs=0.6)
    in_order = [record[stage] for stage in ("first_token", "first_sentence", "first_audio", "stop")]
    assert in_order == sorted(in_order)
    assert 0 < record["tools"] < record["stop"]
