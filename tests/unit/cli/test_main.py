"""The command line as a whole: commands, exit codes, and output that nobody reads to its end."""

import subprocess
import sys

import pytest

from mimi_mqtt.cli import main


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    command = "import sys; sys.stdin.read(); from mimi_mqtt.cli import main; main(['config'])"
    process = subprocess.Popen(
        [sys.executable, "-c", command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()  # before the command begins to write
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert err == b""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("mimi-mqtt ")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["config", "--nonsense"]])
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: mimi-mqtt" in capsys.readouterr().err
