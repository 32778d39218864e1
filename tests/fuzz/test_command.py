"""The command line of `scripts/fuzz`: what it prints, and its exit codes."""

import importlib.util
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz import registry


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A fuzzer that finds something in mqtt-ack and nothing in any other target; its command lines."""
    ran: list[list[str]] = []

    def run(line: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(line)
        if "mqtt-ack" not in line:
            return subprocess.CompletedProcess(line, 0, "", "stat::number_of_executed_units: 42\n")
        (prefix,) = (flag.partition("=")[2] for flag in line if flag.startswith("-artifact_prefix="))
        Path(prefix + "crash-1").write_bytes(b"bad")
        return subprocess.CompletedProcess(line, 77, "", "AssertionError: broken\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return ran


def test_the_list_has_every_target_with_its_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(registry.NAMES)
    assert all(len(line.split()) > 3 for line in lines)


def test_a_finding_is_saved_named_and_fails_the_run(
    crashing: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["mqtt-ack", "ota-mask", "--corpus", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    saved = tmp_path / "crashes" / "mqtt-ack" / "crash-1"
    assert saved.read_bytes() == b"bad"
    assert str(saved) in told
    assert "AssertionError: broken" in told
    assert "ok    ota-mask: 42 inputs" in told


def test_all_runs_every_target_for_its_time_with_bounds(crashing: list[list[str]], tmp_path: Path) -> None:
    command.main(["all", "--seconds", "7", "--corpus", str(tmp_path)])
    assert [line[3] for line in crashing] == list(registry.NAMES)
    for line in crashing:
        assert {"-max_total_time=7", "-timeout=10", "-rss_limit_mb=1024"} <= set(line)
        assert len(list(Path(line[-1]).iterdir())) == len(registry.find(line[3]).seeds)


def test_a_clean_run_leaves_nothing_behind(
    crashing: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: str(made))
    assert command.main(["ota-mask"]) == 0
    assert not made.exists()


def test_an_input_is_replayed_without_atheris(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "input"
    saved.write_bytes(registry.find("ota-language").seeds[0])
    assert command.main(["ota-language", "--replay", str(saved)]) == 0
    assert "accepted" in capsys.readouterr().out


def test_without_atheris_the_cure_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert command.main(["ota-mask"]) == 2
    assert "mimi-mqtt[fuzz]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["all", "--replay", "x"], ["ota-mask", "--seconds", "0"]]
)
def test_wrong_arguments_are_told(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
