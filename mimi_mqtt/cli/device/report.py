"""Output of the simulated device: lines for people as things happen, and JSON lines for programs."""

import json
import sys
from typing import Any, TextIO

from mimi_mqtt.cli.device import actions
from mimi_mqtt.cli.device.client import Note, Told
from mimi_mqtt.cli.device.options import DeviceOptions, Summary, TurnReport
from mimi_mqtt.cli.device.screen import picture
from mimi_mqtt.wire.glyphs import Glyph


class Report:
    """Prints what happens. With `as_json` standard output has JSON alone, and people read standard error.

    With `pictures` glyphs that were pushed are drawn in letters."""

    def __init__(self, *, as_json: bool, pictures: bool = False) -> None:
        self._as_json = as_json
        self._pictures = pictures
        self._people: TextIO = sys.stderr if as_json else sys.stdout

    def tell(self, told: Told) -> None:
        """Prints an action of the device, a finished turn or a remark."""
        line = _line(told)
        if line:
            print(line, file=self._people, flush=True)
        if self._pictures and isinstance(told, actions.GlyphsPushed):
            for glyph in told.glyphs:
                print(_drawn(glyph, told.bpp), file=self._people, flush=True)
        if isinstance(told, TurnReport):
            self._print_json(told.to_json())

    def end(self, options: DeviceOptions, summary: Summary) -> None:
        """The outcome of the whole run."""
        if len(summary.turns) > 1:
            answered = sum(turn.ok for turn in summary.turns)
            print(
                f"summary   {answered} of {len(summary.turns)} turns answered in {summary.sessions} "
                f"session{'s' if summary.sessions != 1 else ''}, {summary.audio_ms} ms played, "
                f"{summary.lost} packets lost, {summary.reconnects} reconnects",
                file=self._people,
                flush=True,
            )
        for update in summary.updates:
            came = f"failed: {update.error}" if update.error else "taken"
            print(f"update    {update.version}, {update.size:,} bytes: {came}", file=self._people, flush=True)
        if options.save is not None and (summary.audio_ms or summary.notices):
            print(f"saved     {options.save}", file=self._people, flush=True)
        if summary.error:
            print(f"mimi-mqtt device: {summary.error}", file=sys.stderr, flush=True)
        self._print_json(summary.to_json())

    def _print_json(self, fields: dict[str, Any]) -> None:
        if self._as_json:
            print(json.dumps(fields, ensure_ascii=False), flush=True)


def _line(told: Told) -> str:
    match told:
        case actions.ChannelOpened(server, port, _, audio, _):
            place = f"{server}:{port}" if server else "the WebSocket"
            return f"channel   {place}, {audio.sample_rate} Hz, frames of {audio.frame_duration} ms"
        case actions.Heard(text):
            return f"heard     {text}"
        case actions.Sentence(text):
            return f"answer    {text}"
        case actions.GlyphsPushed(glyphs):
            return f"glyphs    {len(glyphs)}: {''.join([chr(glyph.codepoint) for glyph in glyphs])}"
        case actions.GlyphsRefused(reason):
            return f"glyphs    refused: {reason}"
        case actions.Unreadable(characters):
            return f"boxes     {characters}: neither the device's font nor what was pushed has them"
        case actions.ToolCalled(name):
            return f"tool      {name}"
        case actions.PostPicture(question=question):
            return f"picture   {'a screenshot' if question is None else f'a photo: {question}'}"
        case actions.PicturePosted(result, failed):
            return f"picture   {'failed: ' if failed else ''}{result}"
        case actions.AlertShown(status, message):
            return f"alert     {status}: {message}"
        case actions.FetchNotice():
            return "notify    a sound is fetched"
        case actions.StopNotice():
            return "notify    the sound is cancelled"
        case actions.NoticePlayed(audio_ms, texts, error):
            line = f"notify    {audio_ms} ms of sound were heard; subtitles: {' | '.join(texts) or 'none'}"
            return f"{line}\nfailed    {error}" if error else line
        case actions.Ignored(type=kind):
            return f"ignored   a message of type {kind!r}, which this device does not know or simulate"
        case actions.ChannelClosed(reason):
            return f"closed    {reason}"
        case Note(text):
            return f"note      {text}"
        case TurnReport():
            return _turn_line(told)
    return ""


def _drawn(glyph: Glyph, bpp: int) -> str:
    head = (
        f"U+{glyph.codepoint:04X} {chr(glyph.codepoint)}  {glyph.box_w} x {glyph.box_h} at {glyph.ofs_x}, "
        f"{glyph.ofs_y}; advance {glyph.adv_w / 16:g} px"
    )
    return "\n".join([head, *(f"  |{row}|" for row in picture(glyph, bpp))])


def _turn_line(turn: TurnReport) -> str:
    latency = (
        "no audio"
        if turn.first_audio_ms is None
        else f"{turn.first_audio_ms} ms from the end of the speech to the first audio"
    )
    parts = [
        latency,
        f"{turn.received} packets came",
        f"{turn.audio_ms} ms played",
        f"{turn.lost} packets lost",
        f"{turn.overflowed} dropped by the full queue",
        f"{turn.clipped_start_ms} ms cut off at the start",
        f"{turn.clipped_end_ms} ms at the end",
    ]
    if turn.tail_ms is not None:
        parts.append(f"interrupted, {turn.tail_ms} ms were heard after it")
    if turn.attempts > 1:
        parts.append(f"woken {turn.attempts} times")
    line = f"turn {turn.number}    {', '.join(parts)}"
    return line if turn.ok else f"{line}\nfailed    {turn.error}"
