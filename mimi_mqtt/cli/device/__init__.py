"""Talks to a server as a simulated device and says whether it was answered with speech.

It boots, connects and behaves like the firmware that --like names, turn after turn. Exit code 0 means: every
turn was answered with audible speech, and held what --expect wants; with --idle alone, that a
notice was played, and with --update alone, that an update was taken. Not simulated: the camera.
"""

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.device.profiles import DEFAULT, PROFILES
from mimi_mqtt.wire.glyphs import MAX_FONT_PX, TextFont, read_text_font

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


def _font(text: str) -> TextFont:
    try:
        bundle, charset, size, bpp = text.split(",")
        described: dict[str, object] = {
            "bundle": bundle, "charset": charset, "size": int(size), "bpp": int(bpp)
        }  # fmt: skip
    except ValueError:
        described = {}
    font = read_text_font(described)
    if font is None:
        raise argparse.ArgumentTypeError(
            f"must be BUNDLE,CHARSET,SIZE,BPP such as noto-v1,basic,20,4 (size 1 to {MAX_FONT_PX}, bpp 1, 2, "
            f"4 or 8), not {text!r}"
        )
    return font


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares what is said, how the device listens, and what the network is like."""
    parser.add_argument("--ota", required=True, metavar="URL", help="OTA address, as `serve` shows it")
    source = parser.add_mutually_exclusive_group()
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
        "--idle", type=_between(0, 86_400), default=0.0, metavar="S",
        help="is idle for so long first, and plays what it is notified of (`mimi-mqtt notify`)",
    )  # fmt: skip
    parser.add_argument(
        "--update", action="store_true",
        help="takes the firmware that it is offered, and starts again with its version",
    )  # fmt: skip
    parser.add_argument("--lost", action="store_true", help="does not come back from its first --update")
    parser.add_argument("--firmware", metavar="VERSION", help="the version that it runs (default: of --like)")
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
    parser.add_argument(
        "--camera", type=Path, metavar="FILE",
        help="a JPEG file: it has a camera and a screen, which show it (self.camera.take_photo, "
        "self.screen.snapshot)",
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
    parser.add_argument(
        "--glyphs", type=_font, metavar="FONT",
        help="font of its screen as BUNDLE,CHARSET,SIZE,BPP: has the server push what the font lacks, and "
        f"draws it in letters (default for {DEFAULT}: noto-v1,common,20,4, not drawn)",
    )  # fmt: skip
    parser.add_argument(
        "--tls-ca", type=Path, metavar="FILE",
        help="authorities to believe in https, wss and MQTT over TLS, such as certs/ca.crt "
        "(default: the public ones, as firmware does)",
    )  # fmt: skip
    parser.add_argument("--tls-insecure", action="store_true", help="believes every certificate")
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
        glyphs=args.glyphs,
        tls_ca=args.tls_ca,
        tls_insecure=args.tls_insecure,
        idle_s=args.idle,
        firmware=args.firmware,
        update=args.update,
        lost=args.lost,
        camera=args.camera,
    )
    report = Report(as_json=args.json, pictures=args.glyphs is not None)
    summary = asyncio.run(converse(options, report.tell))
    report.end(options, summary)
    return 0 if summary.ok else 1
