import json
from pathlib import Path

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.cli.device.options import Summary

OTA = ["device", "--ota", "http://127.0.0.1:9/ota/"]


@pytest.mark.parametrize(
    "arguments",
    [
        OTA,
        [*OTA, "--say", "a", "--text", "b"],
        ["device", "--say", "a"],
        [*OTA, "--say", "a", "--mode", "always"],
        [*OTA, "--say", "a", "--loss", "101"],
        [*OTA, "--say", "a", "--jitter", "-1"],
        [*OTA, "--say", "a", "--timeout", "soon"],
        [*OTA, "--say", "a", "--frame-ms", "30"],
    ],
)
def test_wrong_arguments_are_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--say", "a", "--transport", "websocket"], "WebSocket"),
        (["--say", "a", "--mac", "phone"], "--mac"),
        (["--wav", "no-such-file.wav"], "--wav"),
    ],
)
def test_what_can_not_be_done_is_refused_clearly(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*OTA, *arguments]) == 2
    assert word in capsys.readouterr().err


def test_unreachable_ota_is_exit_code_1_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OTA, "--text", "hi", "--json"]) == 1
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["ok"] is False
    assert "OTA can't be reached" in summary["error"]


def test_summary_has_exactly_the_promised_fields() -> None:
    good = Summary(True, "a", "b", 500, 1200, 1, 0, 0, ("t",)).to_json()
    assert good == {
        "ok": True,
        "heard": "a",
        "reply": "b",
        "first_audio_ms": 500,
        "audio_ms": 1200,
        "lost": 1,
        "clipped_start_ms": 0,
        "clipped_end_ms": 0,
        "tools_called": ["t"],
    }
    assert Summary(False, error="why").to_json() == Summary(True).to_json() | {"ok": False, "error": "why"}


def test_file_can_be_the_speech(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").write_bytes(b"junk")
    assert main([*OTA, "--wav", str(tmp_path / "a.wav")]) == 2
