"""Output of the simulated device: lines for people as things happen, and JSON lines for programs."""

import json
import sys
from typing import Any, TextIO

from mimi_mqtt.cli.device import actions
from mimi_mqtt.cli.device.client import Note, Told
from mimi_mqtt.cli.device.options import DeviceOptions, Summary, TurnReport


class Report:
    """Prints what happens. With `as_json` standard output has JSON alone, and people read standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._people: TextIO = sys.stderr if as_json else sys.stdout

    def tell(self, told: Told) -> None:
        """Prints an action of the device, a finished turn or a remark."""
        line = _line(told)
        if line:
            print(line, file=self._people, flush=True)
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
        if options.save is not None and summary.audio_ms:
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
        case actions.ToolCalled(name):
            return f"tool      {name}"
        case actions.AlertShown(status, message):
            return f"alert     {status}: {message}"
        case actions.Ignored(type=kind):
            return f"ignored   a message of type {kind!r}, which this device does not know or simulate"
        case actions.ChannelClosed(reason):
            return f"closed    {reason}"
        case Note(text):
            return f"note      {text}"
        case TurnReport():
            return _turn_line(told)
    return ""


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
