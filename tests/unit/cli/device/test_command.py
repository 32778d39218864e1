import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.cli.device import actions, client
from mimi_mqtt.cli.device.actions import Action
from mimi_mqtt.cli.device.options import DeviceOptions, Summary
from mimi_mqtt.wire.messages import AudioParams

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
        (["--text", " "], "--text"),
        (["--say", "a", "--save", "no-such-folder/a.wav"], "no-such-folder"),
        (["--say", "a", "--ota", "192.168.1.10:8003"], "http://"),
    ],
)
def test_what_can_not_be_done_is_refused_clearly(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*OTA, *arguments]) == 2
    assert word in capsys.readouterr().err


def test_unreachable_ota_is_exit_code_1_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OTA, "--text", "hi", "--json"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1, "nothing was heard, so there is nothing to tell of it"
    summary = json.loads(shown[0])
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


def answer(monkeypatch: pytest.MonkeyPatch, summary: Summary, *told: Action) -> list[DeviceOptions]:
    """Has every conversation end like this; the options that were asked for."""
    asked: list[DeviceOptions] = []

    async def converse(options: DeviceOptions, tell: Callable[[Action], None]) -> Summary:
        asked.append(options)
        for action in told:
            tell(action)
        return summary

    monkeypatch.setattr(client, "converse", converse)
    return asked


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, Summary(True))
    arguments = [
        "--wav", "in.wav", "--mode", "manual", "--mac", "02:00:00:00:00:01", "--save", "out.wav",
        "--loss", "5", "--jitter", "40", "--seed", "7", "--language", "vi", "--voice", "openai",
        "--sample-rate", "24000", "--frame-ms", "20", "--timeout", "12", "--transport", "mqtt",
    ]  # fmt: skip
    assert main([*OTA, *arguments]) == 0
    assert asked == [
        DeviceOptions(
            ota=OTA[2],
            mac="02:00:00:00:00:01",
            wav=Path("in.wav"),
            mode="manual",
            language="vi",
            voice="openai",
            sample_rate=24_000,
            frame_ms=20,
            loss_percent=5,
            jitter_ms=40,
            seed=7,
            timeout_s=12,
            save=Path("out.wav"),
        )
    ]


def test_conversation_is_told_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(
        monkeypatch,
        Summary(True, "what time is it", "Noon.", 640, 1200, 2, 60, 120, ("self.x",)),
        actions.Send(b"{}"),
        actions.ChannelOpened("10.0.0.1", 8884, "s", AudioParams(24_000)),
        actions.Heard("what time is it"),
        actions.ToolCalled("self.x"),
        actions.AlertShown("Error", "Low battery"),
        actions.Sentence("Noon."),
    )
    assert main([*OTA, "--say", "what time is it", "--save", "a.wav", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = ["10.0.0.1:8884", "what time is it", "self.x", "battery", "Noon", "640 ms", "2 packets", "a.wav"]
    for line, word in zip(lines[:-1], shown, strict=True):
        assert word in line
    assert json.loads(lines[-1])["first_audio_ms"] == 640


def test_failure_is_told_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, Summary(False, error="the answer could not be heard"))
    assert main([*OTA, "--text", "hi"]) == 1
    shown = capsys.readouterr()
    assert "could not be heard" in shown.err
    assert "{" not in shown.out
