"""`mimi-mqtt rotate-secret`, with a running server and without."""

import time
from pathlib import Path

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.fleet import secret_files
from tests.unit.cli.test_server_process import server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMI_CONFIG", raising=False)
    data = tmp_path / "data"
    (tmp_path / "broker.yaml").write_text(f"server: {{data_dir: {data}}}\n")
    secret_files.load(data, 0)
    return data


@pytest.mark.parametrize(("arguments", "days"), [([], 30), (["--keep-days", "7"], 7), (["--now"], 0)])
def test_the_secret_is_rotated_without_a_server(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], days: int
) -> None:
    before, now = secret_files.load(folder, 0), time.time()
    assert main(["rotate-secret", *arguments]) == 0
    after = secret_files.load(folder, 0)
    assert after.current != before.current
    assert after.old == (before.current if days else None)
    assert after.old_until == pytest.approx(now + days * 86_400 if days else 0, abs=600)
    assert "the next one that starts" in capsys.readouterr().out


def test_a_second_rotation_within_the_first_says_whom_it_shuts_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rotate-secret"]) == 0
    assert "can't connect until it boots" not in capsys.readouterr().out
    assert main(["rotate-secret"]) == 0
    assert "can't connect until it boots" in capsys.readouterr().out


def test_a_running_server_takes_it_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server(folder):
        assert main(["rotate-secret"]) == 0
    assert "the running server uses it" in capsys.readouterr().out


def test_a_server_that_refuses_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server(folder, "broker.yaml has a mistake"):
        assert main(["rotate-secret"]) == 1
    told = capsys.readouterr().err
    assert "broker.yaml has a mistake" in told
    assert "mimi-mqtt reload" in told


def test_without_a_secret_none_is_made(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / secret_files.SECRET_FILE).unlink()
    assert main(["rotate-secret"]) == 1
    assert "--config" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["--keep-days", "0"], ["--keep-days", "x"], ["--now", "--keep-days", "3"]]
)
def test_nonsense_is_refused(folder: Path, arguments: list[str]) -> None:
    before = secret_files.load(folder, 0)
    with pytest.raises(SystemExit) as ended:
        main(["rotate-secret", *arguments])
    assert ended.value.code == 2
    assert secret_files.load(folder, 0) == before
