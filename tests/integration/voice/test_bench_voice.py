"""The bench of recognisers and voices, with the smallest of everything."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mimi_mqtt.cli.bench import voice


def _measure(*arguments: str) -> Mapping[str, Any]:
    parser = argparse.ArgumentParser()
    voice.configure(parser)
    found = voice.measure(parser.parse_args(list(arguments)))["en"]
    assert isinstance(found, dict)
    return found


def test_every_part_gives_its_rows(models_dir: Path) -> None:
    recogniser = "faster_whisper:whisper-tiny-en"
    found = _measure(
        f"--models-dir={models_dir}", "--sentences=1", f"--recognisers={recogniser}", "--voices=offline",
        "--talkers=2", "--only=hearing,voices,talkers",
    )  # fmt: skip
    conditions = [row["condition"] for row in found["hearing"]]
    assert {"clean", "20 dB", "10 dB", "5 % lost"} == set(conditions)
    assert {row["utterances"] for row in found["hearing"]} == {2}
    assert [row["voice"] for row in found["voices"]] == ["offline"]
    assert isinstance(found["voices"][0][f"error_percent_heard_by_{recogniser}"], float)
    assert [(row["talkers"], row["refused"]) for row in found["talkers"]] == [(2, 0)]
    assert found["speakers"]


def test_a_whole_server_answers(models_dir: Path) -> None:
    found = _measure(f"--models-dir={models_dir}", "--sentences=1", "--only=answers", "--turns=1")
    assert found["not_measured"] == [line for line in found["not_measured"] if "spoken by" in line]
    assert found["answers"]["turns"] == 1
    assert found["answers"]["unanswered"] == 0


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    found = _measure(
        f"--models-dir={tmp_path}", "--sentences=1", "--recognisers=faster_whisper:whisper-base",
        "--voices=piper:piper-en-joe", "--only=hearing,voices,talkers",
    )  # fmt: skip
    assert found["hearing"] == found["voices"] == found["talkers"] == []
    told = "\n".join(found["not_measured"])
    assert "recogniser faster_whisper:whisper-base: " in told
    assert "voice piper:piper-en-joe for en: " in told


@pytest.mark.parametrize(
    "argument",
    ["--languages=xx", "--only=nothing", "--talkers=0", "--talkers=501", "--sentences=51", "--turns=0"],
)
def test_what_is_measured_is_bounded(argument: str) -> None:
    parser = argparse.ArgumentParser()
    voice.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([argument])
