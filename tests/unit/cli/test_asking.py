"""Commands for devices on the command line: mistakes are told before anything is asked."""

from pathlib import Path

import pytest

from mimi_mqtt.cli import main

DEVICE = "aa:bb:cc:00:11:22"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["say", "kitchen", "hello"], "MAC address"),
        (["say", DEVICE, "  "], "'text'"),
        (["say", DEVICE, "x" * 3000], "'text'"),
        (["say", DEVICE, "hello"], "server.secret"),  # no server was ever started here
        (["call", DEVICE, "t", "--timeout", "0"], "'timeout_s'"),
        (["end", DEVICE, "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_mistake_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) in (1, 2)
    assert told in capsys.readouterr().err
    assert list(Path().iterdir()) == []  # asking makes no secret


@pytest.mark.parametrize(
    "arguments",
    [["call", DEVICE, "t", "[1]"], ["call", DEVICE, "t", "{"], ["alert", DEVICE, "x", "--emotion", "grumpy"]],
)
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: mimi-mqtt" in capsys.readouterr().err
