"""Talks to a server as a simulated device and says whether it was answered with speech.

It boots, connects and behaves like the firmware. Exit code 0 means: answered with audible speech.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mimi_mqtt.errors import ConfigError

if TYPE_CHECKING:
    from mimi_mqtt.cli.device.actions import Action
    from mimi_mqtt.cli.device.options import DeviceOptions, Summary


def _between(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = high + 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be a number from {low:g} to {high:g}, not {text!r}")
        return value

    return parse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares what is said, how the device listens, and what the network is like."""
    parser.add_argument("--ota", required=True, metavar="URL", help="OTA address, as `serve` shows it")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--say", metavar="TEXT", help="speech, synthesised")
    source.add_argument("--wav", type=Path, metavar="FILE", help="speech, 16-bit mono or stereo of any rate")
    source.add_argument("--text", metavar="TEXT", help="a wake word's text; nothing is spoken")
    source.add_argument("--mic", action="store_true", help="this machine's microphone and loudspeaker")
    parser.add_argument(
        "--mode", choices=("auto", "manual", "realtime"), default="auto",
        help="auto: the server finds the end of the speech; manual: as with a button; "
        "realtime: goes on sending while the server speaks (default: auto)",
    )  # fmt: skip
    parser.add_argument("--mac", metavar="MAC", help="whose device this is (default: this machine's own)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="writes the answer as WAV")
    parser.add_argument("--json", action="store_true", help="last line is a JSON summary")
    parser.add_argument(
        "--loss", type=_between(0, 100), default=0.0, metavar="PERCENT", help="audio packets lost, both ways"
    )
    parser.add_argument(
        "--jitter",
        type=_between(0, 10_000),
        default=0.0,
        metavar="MS",
        help="audio packets late by up to this",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="makes loss and jitter repeatable")
    parser.add_argument("--transport", choices=("mqtt", "websocket"), default="mqtt", help="default: mqtt")
    parser.add_argument("--language", default="en", metavar="TAG", help="the user's language (default: en)")
    parser.add_argument(
        "--voice", default="offline", metavar="PROVIDER", help="who speaks --say (default: offline)"
    )
    parser.add_argument(
        "--sample-rate", type=int, choices=(16_000, 24_000), default=16_000, help="of the microphone, in Hz"
    )
    parser.add_argument("--frame-ms", type=int, choices=(20, 40, 60), default=60, help="of the microphone")
    parser.add_argument(
        "--timeout", type=_between(1, 3600), default=30.0, metavar="S", help="for all of it (default: 30 s)"
    )


def run(args: argparse.Namespace) -> int:
    """Holds one conversation; 0 when it was answered with audible speech. Raises ConfigError."""
    if args.transport == "websocket":
        raise ConfigError("--transport websocket: the server has no WebSocket audio channel yet; use mqtt")
    # Imported now, so that the help and a wrong argument are told without delay.
    from mimi_mqtt.cli.device.client import converse
    from mimi_mqtt.cli.device.options import DeviceOptions

    options = DeviceOptions(
        ota=args.ota,
        mac=args.mac,
        say=args.say,
        wav=args.wav,
        text=args.text,
        mic=args.mic,
        mode=args.mode,
        language=args.language,
        voice=args.voice,
        sample_rate=args.sample_rate,
        frame_ms=args.frame_ms,
        loss_percent=args.loss,
        jitter_ms=args.jitter,
        seed=args.seed,
        timeout_s=args.timeout,
        save=args.save,
    )
    summary = asyncio.run(converse(options, _tell))
    _report(options, summary)
    if args.json:
        print(json.dumps(summary.to_json(), ensure_ascii=False), flush=True)
    return 0 if summary.ok else 1


def _tell(action: "Action") -> None:
    """What its user would see on the device's screen."""
    from mimi_mqtt.cli.device import actions

    match action:
        case actions.ChannelOpened(server, port, _, audio):
            line = f"channel   {server}:{port}, {audio.sample_rate} Hz, frames of {audio.frame_duration} ms"
        case actions.Heard(text):
            line = f"heard     {text}"
        case actions.Sentence(text):
            line = f"answer    {text}"
        case actions.ToolCalled(name):
            line = f"tool      {name}"
        case actions.AlertShown(status, message):
            line = f"alert     {status}: {message}"
        case actions.ChannelClosed(reason):
            line = f"closed    {reason}"
        case _:
            return
    print(line, flush=True)


def _report(options: "DeviceOptions", summary: "Summary") -> None:
    if summary.first_audio_ms is not None:
        print(f"latency   {summary.first_audio_ms} ms from the end of the speech to the first audio")
    if summary.ok or summary.audio_ms:
        print(
            f"audio     {summary.audio_ms} ms played, {summary.lost} packets lost, "
            f"{summary.clipped_start_ms} ms cut off at the start, {summary.clipped_end_ms} ms at the end"
        )
    if options.save is not None and summary.audio_ms:
        print(f"saved     {options.save}")
    if summary.error:
        print(f"mimi-mqtt device: {summary.error}", file=sys.stderr)
