"""Registers firmware and rolls it out to devices; also while the server runs.

The server notices a change within two seconds. An image is what a build of the firmware calls build/NAME.bin.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.opening import database
from mimi_mqtt.config import load_settings
from mimi_mqtt.errors import MimiError
from mimi_mqtt.events import utc_now
from mimi_mqtt.files.opening import blob_store
from mimi_mqtt.fleet import device_settings
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.fleet.firmware.image import MAX_IMAGE_BYTES
from mimi_mqtt.fleet.firmware.images import FirmwareImages, NewImage
from mimi_mqtt.fleet.firmware.rollout import DEFAULT_CHANNEL, GOING
from mimi_mqtt.fleet.firmware.rollouts import MAX_COME_BACK_MIN, Overview, RollOuts, Terms
from mimi_mqtt.store.audit import COMMAND_LINE
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import FirmwareImage

_PART_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts that actions use."""

    store: Store
    images: FirmwareImages
    rollouts: RollOuts


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the actions."""
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(config=None, json=False, all=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="(default: list)")
    listing = actions.add_parser(
        "list", parents=[config, as_json], help="show the images, and the roll-outs that are not over"
    )
    listing.add_argument("--all", action="store_true", help="also roll-outs that are over")
    add = actions.add_parser("add", parents=[config, as_json], help="register an image")
    add.add_argument("file", type=Path, metavar="FILE", help="the app image, build/NAME.bin")
    add.add_argument(
        "--board", required=True, metavar="TYPE", help="the board's type, as `mimi-mqtt devices` shows it"
    )
    add.add_argument("--board-name", default="", metavar="NAME", help="only for boards that report this name")
    add.add_argument(
        "--channel", default=DEFAULT_CHANNEL, metavar="NAME", help=f"(default: {DEFAULT_CHANNEL})"
    )
    add.add_argument("--notes", default="", metavar="TEXT", help="what is new, for people")
    delete = actions.add_parser("delete", parents=[config], help="delete an image that no roll-out uses")
    delete.add_argument("image", type=_id, metavar="IMAGE", help="its number, which list shows")
    _declare_roll_out(
        actions.add_parser("roll-out", parents=[config, as_json], help="offer an image to devices")
    )
    show = actions.add_parser("show", parents=[config, as_json], help="show a roll-out and its devices")
    show.add_argument("rollout", type=_id, metavar="ROLL_OUT", help="its number, which list shows")
    for name, what in (
        ("pause", "stop offers, and downloads that have not begun"),
        ("resume", "let a roll-out go on that was paused, or that halted by itself"),
        ("end", "end a roll-out for good"),
    ):
        action = actions.add_parser(name, parents=[config], help=what)
        action.add_argument("rollout", type=_id, metavar="ROLL_OUT", help="its number, which list shows")
    back = actions.add_parser(
        "roll-back", parents=[config, as_json], help="offer the version before to those that took a roll-out"
    )
    back.add_argument("rollout", type=_id, metavar="ROLL_OUT", help="its number, which list shows")
    back.add_argument(
        "--to", type=_id, metavar="IMAGE", help="(default: the version that most of the devices had before)"
    )
    channel = actions.add_parser("channel", parents=[config], help="choose the channel that a device takes")
    channel.add_argument("device", metavar="ID", help="its MAC address")
    channel.add_argument("channel", metavar="NAME", help="such as beta")


def _declare_roll_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=_id, metavar="IMAGE", help="its number, which list shows")
    parser.add_argument("--name", metavar="TEXT", help="a name for people")
    parser.add_argument(
        "--percent", type=_number(0, 100), metavar="N", help="only for so many percent of the devices"
    )
    parser.add_argument(
        "--device", action="append", metavar="ID", help="only for this one; given again: these"
    )
    parser.add_argument(
        "--channel", metavar="NAME", help="for devices of this channel (default: the image's)"
    )
    parser.add_argument("--start", type=_time, metavar="TIME", help="such as 2026-11-28T02:00 (default: now)")
    parser.add_argument("--end", type=_time, metavar="TIME", help="(default: never)")
    parser.add_argument(
        "--force", action="store_true",
        help="also to devices with a newer version, and to those that don't update by themselves",
    )  # fmt: skip
    parser.add_argument(
        "--halt-after", type=_number(1, 100_000), metavar="N",
        help="halt when so many devices did not come back, and more than --halt-percent (default: 2)",
    )  # fmt: skip
    parser.add_argument(
        "--halt-percent", type=_number(0, 100), metavar="N", help="of those that took it (default: 10)"
    )
    parser.add_argument(
        "--come-back", type=_number(1, MAX_COME_BACK_MIN), metavar="MIN",
        help="minutes for a device to come back after its download (default: 15)",
    )  # fmt: skip
    parser.add_argument("--paused", action="store_true", help="make it without a beginning")


def run(args: argparse.Namespace) -> int:
    """Does one action. Returns 0; raises MimiError, which says what is wrong and how to mend it."""
    settings = load_settings(args.config, os.environ)
    actions: dict[str, Callable[[_Parts, argparse.Namespace], Awaitable[None]]] = {
        "list": _list, "add": _add, "delete": _delete, "roll-out": _roll_out, "show": _show, "pause": _pause,
        "resume": _resume, "end": _end, "roll-back": _roll_back, "channel": _channel,
    }  # fmt: skip

    async def act() -> None:
        store = database(settings)
        await store.open(create=False)
        try:
            blobs = blob_store(settings, store, os.environ)
            await blobs.open()
            parts = _Parts(store, FirmwareImages(store, blobs), RollOuts(store))
            await actions[args.action or "list"](parts, args)
        finally:
            await store.aclose()

    asyncio.run(act())
    return 0


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a number from {low} to {high}, not {text!r}")
        return int(text)

    return parse


def _id(text: str) -> int:
    if not text.isdecimal() or not 0 < len(text) <= 15:
        raise argparse.ArgumentTypeError(f"{text!r} is no number; `mimi-mqtt firmware` lists them")
    return int(text)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-28T02:00") from None


async def _list(parts: _Parts, args: argparse.Namespace) -> None:
    images = await parts.images.list()
    rollouts = await parts.rollouts.list(states=() if args.all else GOING)
    if args.json:
        told = {
            "images": [_image(row) for row in images],
            "rollouts": [_rollout(found) for found in rollouts],
        }
        print(json.dumps(told))
        return
    for row in images:
        board = f"{row.board} ({row.board_name})" if row.board_name else row.board
        size = f"{row.size:,} bytes"
        print(
            f"image {row.id}  {board}  {row.version}  {row.channel}  {row.chip}  {size}  {_first(row.notes)}"
        )
    for found in rollouts:
        print(_line(found))
    if not images:
        print("no image is registered: mimi-mqtt firmware add FILE --board TYPE", file=sys.stderr)


async def _add(parts: _Parts, args: argparse.Namespace) -> None:
    told = NewImage(args.board, args.board_name, args.channel, args.notes)
    try:
        row = await parts.images.add(_read(args.file), told, COMMAND_LINE)
    except OSError as error:
        raise MimiError(f"{args.file} can't be read: {error.strerror or error}") from error
    if args.json:
        print(json.dumps(_image(row)))
        return
    print(
        f"image {row.id} is {row.project} {row.version} for {row.board} ({row.chip}, {row.size:,} bytes); "
        "offer it "
        f"with: mimi-mqtt firmware roll-out {row.id} --percent 10"
    )


async def _read(path: Path) -> AsyncIterator[bytes]:
    """The file's bytes, and no more of them than tell that it is too large."""
    left = MAX_IMAGE_BYTES + 1
    with path.open("rb") as file:
        while left > 0 and (part := file.read(min(left, _PART_BYTES))):
            left -= len(part)
            yield part


async def _delete(parts: _Parts, args: argparse.Namespace) -> None:
    await parts.images.delete(args.image, COMMAND_LINE)
    print(f"image {args.image} is deleted")


async def _roll_out(parts: _Parts, args: argparse.Namespace) -> None:
    terms = Terms(
        name=args.name, percent=args.percent, channel=args.channel, devices=args.device, starts_at=args.start,
        ends_at=args.end, force=args.force, halt_after=args.halt_after, halt_percent=args.halt_percent,
        come_back_min=args.come_back,
    )  # fmt: skip
    _tell(await parts.rollouts.create(args.image, terms, COMMAND_LINE, paused=args.paused), args)


async def _show(parts: _Parts, args: argparse.Namespace) -> None:
    found = await parts.rollouts.get(args.rollout)
    devices = await parts.rollouts.devices(args.rollout)
    if args.json:
        told = [
            {
                "id": row.device_id,
                "state": row.progress,
                "reason": row.reason,
                "from_version": row.from_version,
                "attempts": row.attempts,
                "bytes_sent": row.bytes_sent,
            }
            for row in devices
        ]
        print(json.dumps(_rollout(found) | {"offered_to": told}))
        return
    print(_line(found))
    for row in devices:
        percent = row.bytes_sent * 100 // max(1, found.image.size)
        words = [row.device_id, row.progress, f"{percent} %", f"from {row.from_version or '?'}", row.reason]
        print("  ".join(_printable(word) for word in words if word))


async def _pause(parts: _Parts, args: argparse.Namespace) -> None:
    _tell(await parts.rollouts.pause(args.rollout, COMMAND_LINE), args)


async def _resume(parts: _Parts, args: argparse.Namespace) -> None:
    _tell(await parts.rollouts.resume(args.rollout, COMMAND_LINE), args)


async def _end(parts: _Parts, args: argparse.Namespace) -> None:
    _tell(await parts.rollouts.end(args.rollout, COMMAND_LINE), args)


async def _roll_back(parts: _Parts, args: argparse.Namespace) -> None:
    _tell(await parts.rollouts.roll_back(args.rollout, COMMAND_LINE, image_id=args.to), args)


async def _channel(parts: _Parts, args: argparse.Namespace) -> None:
    wanted = DeviceChange(channel=args.channel)
    device = await device_settings.change(parts.store, args.device, wanted, utc_now())
    channel = device.channel or DEFAULT_CHANNEL
    print(f"{device.id} takes firmware of channel {channel} from its next start on")


def _tell(found: Overview, args: argparse.Namespace) -> None:
    print(json.dumps(_rollout(found)) if args.json else _line(found))


def _line(found: Overview) -> str:
    row, image = found.row, found.image
    words = [f"roll-out {row.id}", row.state, f"image {image.id}", f"{image.board} {image.version}"]
    words.append(f"{row.percent} %" if row.percent < 100 else "")
    words.append(f"{len(row.devices)} devices" if row.devices else "")
    words.append(f"channel {row.channel}" if row.channel != DEFAULT_CHANNEL else "")
    words.append("force" if row.force else "")
    words.append(f"takes back {row.takes_back}" if row.takes_back is not None else "")
    words.append(f"from {_minute(row.starts_at)}" if row.starts_at is not None else "")
    words.append(f"until {_minute(row.ends_at)}" if row.ends_at is not None else "")
    words.append(", ".join(f"{number} {state}" for state, number in sorted(found.counts.items())))
    words += [row.name, row.reason]
    return "  ".join(_printable(word) for word in words if word)


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _first(notes: str) -> str:
    line = next(iter(notes.splitlines()), "")
    return _printable(line if len(line) <= 60 else f"{line[:59]}…")


def _printable(text: str) -> str:
    """`text` without control characters: the words of a device must not move the terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _image(row: FirmwareImage) -> dict[str, object]:
    names = (
        "id", "board", "board_name", "version", "channel", "chip", "project", "idf_version", "size", "sha256",
        "elf_sha256", "notes", "uploaded_by",
    )  # fmt: skip
    return {name: getattr(row, name) for name in names} | {"created_at": row.created_at.isoformat()}


def _rollout(found: Overview) -> dict[str, object]:
    row = found.row
    names = (
        "id", "name", "kind", "state", "reason", "image_id", "percent", "channel", "devices", "owners",
        "groups",
        "force", "halt_after", "halt_percent", "come_back_min", "takes_back", "created_by",
    )  # fmt: skip
    times = {
        name: moment.isoformat() if (moment := getattr(row, name)) is not None else None
        for name in ("starts_at", "ends_at", "created_at", "changed_at")
    }
    version = {"board": found.image.board, "version": found.image.version}
    return {name: getattr(row, name) for name in names} | times | version | {"counts": found.counts}
