import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.cli.device import actions, client
from mimi_mqtt.cli.device.client import Note, Told
from mimi_mqtt.cli.device.options import DeviceOptions, Summary, TurnReport
from mimi_mqtt.wire.glyphs import Glyph, TextFont
from mimi_mqtt.wire.messages import AudioParams

OTA = ["device", "--ota", "http://127.0.0.1:9/ota/"]


@pytest.mark.parametrize(
    "arguments",
    [
        [*OTA, "--say", "a", "--text", "b"],
        ["device", "--say", "a"],
        [*OTA, "--say", "a", "--mode", "always"],
        [*OTA, "--say", "a", "--loss", "101"],
        [*OTA, "--say", "a", "--jitter", "-1"],
        [*OTA, "--say", "a", "--timeout", "soon"],
        [*OTA, "--say", "a", "--frame-ms", "30"],
        [*OTA, "--say", "a", "--like", "toaster"],
        [*OTA, "--say", "a", "--drop-control", "sleeping"],
        [*OTA, "--say", "a", "--abort-after", "-1"],
        [*OTA, "--say", "a", "--interactive"],
        [*OTA, "--say", "a", "--glyphs", "noto-v1"],
        [*OTA, "--say", "a", "--glyphs", "noto-v1,basic,large,4"],
        [*OTA, "--say", "a", "--glyphs", "noto-v1,basic,20,3"],
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
        (["--say", "a", "--transport", "websocket", "--loss", "5"], "--loss and --jitter"),
        ([], "--idle"),
        (["--say", "a", "--mac", "phone"], "--mac"),
        (["--say", "a", "--expect", "b", "--expect", "c"], "--expect is given 2 times, for one turn"),
        (["--mic", "--mode", "manual"], "--interactive"),
        (["--say", "🙂"], "there is nothing to say"),
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
    good = Summary(True, "a", "b", 500, 1200, 1, 0, 0, ("t",), sessions=1).to_json()
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
        "turns": 0,
        "sessions": 1,
        "reconnects": 0,
    }
    assert Summary(False, error="why").to_json() == Summary(True).to_json() | {"ok": False, "error": "why"}


def test_file_can_be_the_speech(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").write_bytes(b"junk")
    assert main([*OTA, "--wav", str(tmp_path / "a.wav")]) == 2


def answer(monkeypatch: pytest.MonkeyPatch, summary: Summary, *told: Told) -> list[DeviceOptions]:
    """Has every conversation end like this; the options that were asked for."""
    asked: list[DeviceOptions] = []

    async def converse(options: DeviceOptions, tell: Callable[[Told], None]) -> Summary:
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
        "--websocket-version", "2",
        "--like", "stock-2.4", "--abort-after", "500", "--drop-control", "speaking",
        "--reconnect-after", "1", "--expect", "noon", "--glyphs", "noto-v1,basic,14,1",
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
            like="stock-2.4",
            abort_after_ms=500,
            drop_control="speaking",
            reconnect_after_s=1,
            transport="mqtt",
            websocket_version=2,
            expect=("noon",),
            glyphs=TextFont("noto-v1", "basic", 14, 1),
        )
    ]


def test_each_text_is_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, Summary(True))
    assert main([*OTA, "--say", "one", "--say", "two", "--expect", "a", "--expect", "b"]) == 0
    assert (asked[0].say, asked[0].expect) == (("one", "two"), ("a", "b"))


TURN = TurnReport(
    1, True, "what time is it", "Noon.", 640, 1200, received=20, overflowed=3, lost=2, clipped_start_ms=60,
    clipped_end_ms=120, tail_ms=180, attempts=2, tools_called=("self.x",),
)  # fmt: skip


def test_conversation_is_told_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(
        monkeypatch,
        Summary.of((TURN, replace(TURN, number=2)), "", 1, 0),
        actions.Send(b"{}"),
        Note("read me"),
        actions.ChannelOpened("10.0.0.1", 8884, "s", AudioParams(24_000), 7),
        actions.Heard("what time is it"),
        actions.ToolCalled("self.x"),
        actions.AlertShown("Error", "Low battery"),
        actions.Ignored("notify"),
        actions.Sentence("Noon."),
        TURN,
    )
    assert main([*OTA, "--say", "what time is it", "--save", "a.wav"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [
        "read me", "10.0.0.1:8884", "what time is it", "self.x", "battery", "notify", "Noon", "turn 1",
        "2 of 2 turns", "a.wav",
    ]  # fmt: skip
    for line, word in zip(lines, shown, strict=True):
        assert word in line
    for part in (
        "640 ms",
        "20 packets",
        "1200 ms",
        "3 dropped",
        "2 packets lost",
        "60 ms",
        "120 ms",
        "180 ms",
    ):
        assert part in lines[-3]


GLYPH = Glyph(ord("Ж"), 205, 2, 2, 1, -1, bytes.fromhex("0f8f"))


@pytest.mark.parametrize("drawn", [True, False])
def test_glyphs_are_told_and_drawn_in_letters_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], drawn: bool
) -> None:
    pushed = actions.GlyphsPushed((GLYPH,), 4)
    answer(monkeypatch, Summary(True), pushed, actions.GlyphsRefused("no bitmap"), actions.Unreadable("Ы"))
    assert main([*OTA, "--text", "hi", *(["--glyphs", "a,basic,20,4"] if drawn else [])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("1: Ж")
    assert ("  | @|" in lines, "  |=@|" in lines) == (drawn, drawn)
    assert any("U+0416" in line and "2 x 2 at 1, -1" in line and "12.8" in line for line in lines) == drawn
    assert "no bitmap" in lines[-2]
    assert "Ы" in lines[-1]


def test_a_turn_tells_of_glyphs_and_boxes_only_where_there_are_any() -> None:
    assert not {"glyphs", "boxes", "error"} & TURN.to_json().keys()
    assert replace(TURN, glyphs="Ж", boxes="Ы").to_json().items() >= {"glyphs": "Ж", "boxes": "Ы"}.items()


def test_json_is_alone_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, Summary.of((TURN,), "", 1, 0), actions.Heard("what time is it"), TURN)
    assert main([*OTA, "--say", "what time is it", "--json"]) == 0
    shown = capsys.readouterr()
    turn, summary = map(json.loads, shown.out.splitlines())
    assert (turn["turn"], turn["first_audio_ms"], turn["overflowed"], turn["tail_ms"]) == (1, 640, 3, 180)
    assert (summary["turns"], summary["lost"]) == (1, 5)
    assert "what time is it" in shown.err


def test_first_failure_is_the_summarys() -> None:
    failed = replace(TURN, ok=False, error="too late")
    assert Summary.of((TURN, failed), "and more", 1, 0).error == "too late"
    assert Summary.of((TURN,), "no way", 1, 0).ok is False
    assert Summary.of((), "", 0, 0).ok is False


def test_failure_is_told_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, Summary(False, error="the answer could not be heard"))
    assert main([*OTA, "--text", "hi"]) == 1
    shown = capsys.readouterr()
    assert "could not be heard" in shown.err
    assert "{" not in shown.out
