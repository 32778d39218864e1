"""`mimi-mqtt api`: mistakes are told before anything is sent."""

from pathlib import Path

import pytest

from mimi_mqtt.cli import main


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["http://192.0.2.1/api/v1/devices"], "no whole address"),
        (["devices", "-d", "{"], "@FILE"),
        (["devices", "-d", "@nowhere.json"], "nowhere.json"),
        (["devices", "-H", "X"], "Name: value"),
        (["devices", "-H", ": x"], "Name: value"),
        (["devices", "-H", "X: a\r\nY: b"], "Name: value"),
        (["devices", "-H", "X: ü\n"], "Name: value"),
        (["devices", "--all", "-X", "delete"], "--all"),
        (["devices"], "server.secret"),  # no server was ever started here
        (["devices", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_mistake_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["api", *arguments]) in (1, 2)
    assert told in capsys.readouterr().err
    assert list(Path().iterdir()) == []  # asking makes no secret


def test_a_method_that_there_is_not_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["api", "devices", "-X", "BREW"])
    assert ended.value.code == 2
    assert "usage: mimi-mqtt" in capsys.readouterr().err
