"""Talks to a server as a simulated device and says whether it was answered with speech.

It boots, connects and behaves like the firmware that --like names, turn after turn. Exit code 0 means: every
turn was answered with audible speech, and held what --expect wants. Not simulated yet: the WebSocket
transport, `notify` (shown as ignored) and the camera.
"""

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.device.profiles import DEFAULT, PROFILES

DROP_AT: Final = ("idle", "connecting", "listening", "thinking", "speaking")


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
    source.add_argument(
        "--say", action="append", metavar="TEXT", help="speech, synthesised; given again: the next turn"
    )
    source.add_argument("--wav", type=Path, metavar="FILE", help="speech, 16-bit mono or stereo of any rate")
    source.add_argument("--text", metavar="TEXT", help="a wake word's text; nothing is spoken")
    source.add_argument("--mic", action="store_true", help="this machine's microphone and loudspeaker")
    source.add_argument(
        "--interactive", action="store_true",
        help="a turn for each line of standard input: a text to say, /mic, /abort or /quit",
    )  # fmt: skip
    parser.add_argument(
        "--like", choices=tuple(PROFILES), default=DEFAULT, metavar="DEVICE",
        help="; ".join(f"{name}: {profile.summary}" for name, profile in PROFILES.items())
        + f" (default: {DEFAULT})",
    )  # fmt: skip
    parser.add_argument(
        "--expect", action="append", default=[], metavar="TEXT",
        help="exit code 1 unless what was heard or answered has TEXT in it; given again: in the next turn",
    )  # fmt: skip
    parser.add_argument(
        "--abort-after", type=_between(0, 3_600_000), metavar="MS",
        help="interrupts each reply, this long after its first audio",
    )  # fmt: skip
    parser.add_argument(
        "--drop-control", choices=DROP_AT, metavar="STATE",
        help=f"breaks the control connection once, in the first turn, while {', '.join(DROP_AT[:-1])} "
        f"or {DROP_AT[-1]}; the device comes back by itself",
    )  # fmt: skip
    parser.add_argument(
        "--reconnect-after", type=_between(0, 3600), metavar="S",
        help="time to the next attempt after a lost control connection (default: the device's own, 10 s)",
    )  # fmt: skip
    parser.add_argument(
        "--mode", choices=("auto", "manual", "realtime"), default="auto",
        help="auto: the server finds the end of the speech; manual: as with a button; "
        "realtime: goes on sending while the server speaks (default: auto)",
    )  # fmt: skip
    parser.add_argument("--mac", metavar="MAC", help="the device's address (default: this machine's own)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="writes the answers as WAV")
    parser.add_argument(
        "--json",
        action="store_true",
        help="a line of JSON for each turn and, last, for all of them; the rest goes to standard error",
    )
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
    parser.add_argument(
        "--transport", choices=("mqtt", "websocket"), default=None,
        help="as OTA tells (default), or over WebSocket in any case",
    )  # fmt: skip
    parser.add_argument(
        "--websocket-version", type=int, choices=(1, 2, 3), default=1, help="of binary frames (default: 1)"
    )
    parser.add_argument("--language", default="en", metavar="TAG", help="the user's language (default: en)")
    parser.add_argument(
        "--voice",
        default="auto",
        metavar="NAME",
        help="voice of --say: a provider, a model of `mimi-mqtt models list`, or auto, the best that this "
        "machine has for --language (default: auto)",
    )
    parser.add_argument(
        "--sample-rate", type=int, choices=(16_000, 24_000), default=16_000, help="of the microphone, in Hz"
    )
    parser.add_argument("--frame-ms", type=int, choices=(20, 40, 60), default=60, help="of the microphone")
    parser.add_argument(
        "--timeout",
        type=_between(1, 3600),
        default=30.0,
        metavar="S",
        help="for each turn, the start included (default: 30 s)",
    )


def run(args: argparse.Namespace) -> int:
    """Holds one conversation; 0 when each turn was answered with audible speech. Raises ConfigError."""
    # Imported now, so that the help and a wrong argument are told without delay.
    from mimi_mqtt.cli.device.client import converse
    from mimi_mqtt.cli.device.options import DeviceOptions
    from mimi_mqtt.cli.device.report import Report

    options = DeviceOptions(
        ota=args.ota,
        mac=args.mac,
        say=tuple(args.say or ()),
        wav=args.wav,
        text=args.text,
        mic=args.mic,
        interactive=args.interactive,
        like=args.like,
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
        abort_after_ms=args.abort_after,
        drop_control=args.drop_control,
        reconnect_after_s=args.reconnect_after,
        transport=args.transport,
        websocket_version=args.websocket_version,
        expect=tuple(args.expect),
    )
    report = Report(as_json=args.json)
    summary = asyncio.run(converse(options, report.tell))
    report.end(options, summary)
    return 0 if summary.ok else 1
