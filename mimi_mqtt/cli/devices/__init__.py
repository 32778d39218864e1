"""Lists, allows, revokes and forgets devices, and changes their settings; also while the server runs.

The server notices a change within half a second, and ends the connections of a device that was revoked,
rotated, moved to another owner or forgotten.
"""

import argparse
import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from mimi_mqtt.cli.devices import admission, listing, owners
from mimi_mqtt.cli.devices.context import Context
from mimi_mqtt.cli.opening import database
from mimi_mqtt.config import load_settings
from mimi_mqtt.errors import MimiError
from mimi_mqtt.fleet.administration import UnknownCode, UnknownDevice
from mimi_mqtt.fleet.credentials import Credentials

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}")


@dataclass(frozen=True, slots=True)
class _Parsers:
    """The parser of the actions, and the options that all have."""

    actions: "argparse._SubParsersAction[argparse.ArgumentParser]"
    config: argparse.ArgumentParser

    def add(
        self,
        name: str,
        act: Callable[[Context, argparse.Namespace], Awaitable[None]],
        summary: str,
        *,
        device: str = "",
        json: bool = False,
    ) -> argparse.ArgumentParser:
        """Declares an action; `device`: the name of its first argument, `json`: it can print JSON."""
        parser = self.actions.add_parser(name, parents=[self.config], help=summary)
        parser.set_defaults(act=act)
        if device:
            parser.add_argument("device", metavar=device, help="its MAC address")
        if json:
            parser.add_argument("--json", action="store_true", help="print one JSON object")
        return parser


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the actions."""
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    nothing = dict.fromkeys(("owner", "group", "room", "tag", "board", "agent", "search", "state"))
    parser.set_defaults(config=None, json=False, act=listing.list_devices, **nothing)
    actions = _Parsers(parser.add_subparsers(dest="action", metavar="ACTION", help="(default: list)"), config)
    _configure_reading(actions)
    _configure_admission(actions)
    _configure_settings(actions)
    _configure_keys(actions)


def _configure_reading(actions: _Parsers) -> None:
    listed = actions.add(
        "list", listing.list_devices, "show every device, and those that wait to be allowed", json=True
    )
    listed.add_argument(
        "--state", choices=["active", "disabled", "pending", "seen"], help="only devices in this state"
    )
    listed.add_argument("--owner", metavar="USER", help="only devices of this user; nobody: of no user")
    listed.add_argument("--group", metavar="GROUP", help="only devices shared with the group of this id")
    listed.add_argument("--room", help="only devices in this room")
    listed.add_argument("--tag", help="only devices with this tag")
    listed.add_argument("--board", help="only devices with this type of board")
    listed.add_argument("--agent", metavar="NAME", help="only devices with this agent")
    listed.add_argument("--search", metavar="WORDS", help="words in id, name, room or tags")
    actions.add("show", listing.show, "show all that is known of a device", device="ID", json=True)
    actions.add(
        "log", listing.show_log, "show what a device asked OTA, the answers and their reasons",
        device="ID", json=True,
    )  # fmt: skip


def _configure_admission(actions: _Parsers) -> None:
    allow = actions.add("allow", admission.allow, "give a device its credentials")
    allow.add_argument("device", metavar="ID_OR_CODE", help="the code it shows, or its MAC address")
    claim = actions.add("claim", owners.claim, "give the device that shows a code to a user")
    claim.add_argument("code", help="the six digits that the device shows and speaks")
    claim.add_argument("owner", metavar="USER", help="the name of the user")
    assign = actions.add(
        "assign", owners.assign,
        "give a device to a user; one of another user forgets him, and gets new credentials", device="ID",
    )  # fmt: skip
    assign.add_argument("owner", metavar="USER", help="the name of the user; nobody: it belongs to no user")
    actions.add("revoke", admission.revoke, "end a device's credentials", device="ID")
    actions.add("rotate", admission.rotate, "give a device other credentials at its next boot", device="ID")
    forget = actions.add(
        "forget", admission.forget, "delete devices with their conversations; they may register again"
    )
    which = forget.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "device", nargs="?", metavar="ID", help="its MAC address; clears pending activations for it too"
    )
    which.add_argument(
        "--unseen-days", type=_days, metavar="N", help="every device that was not seen for N days"
    )


def _configure_settings(actions: _Parsers) -> None:
    change = actions.add("set", admission.change, "change a device's settings", device="ID")
    change.add_argument(
        "--transport", choices=["mqtt", "websocket", "default"], help="its channel, from the next boot on"
    )
    change.add_argument("--name", help="a name for people; empty for none")
    change.add_argument("--language", type=_language, help="such as en or zh-CN; empty: what the device says")
    change.add_argument("--agent", metavar="NAME", help="its agent, from the next session on; or default")
    change.add_argument(
        "--user", metavar="NAME", help="the person who talks to it, for the agent's prompt; empty: unknown"
    )
    change.add_argument("--owner", metavar="USER", help="as `assign`")
    change.add_argument("--group", metavar="GROUP", help="id of the group to share it with; empty: none")
    change.add_argument("--room", help="the room it is in; empty for none")
    change.add_argument(
        "--tag", action="append", metavar="TAG", help="a tag; give it again for more, these replace all"
    )
    change.add_argument("--notes", help="notes for people; empty for none")
    change.add_argument("--auto-update", choices=["on", "off"], help="takes firmware of roll-outs by itself")
    change.add_argument("--channel", metavar="NAME", help="the channel of firmware it takes, such as beta")
    change.add_argument(
        "--recordings", choices=["on", "off", "default"],
        help="whether the sound of its turns is kept, from the next session on; default: as its agent says",
    )  # fmt: skip


def _configure_keys(actions: _Parsers) -> None:
    keys = actions.add(
        "import-keys", admission.import_keys, "register the keys of chips, for HMAC activation"
    )
    keys.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="CSV with serial_number,key[,mac] or JSON; - for standard input",
    )
    actions.add("keys", listing.list_keys, "list the chips whose keys are registered", json=True)
    remove = actions.add("remove-key", admission.remove_key, "delete the key of a chip")
    remove.add_argument("serial_number", metavar="SERIAL")
    allow_list = actions.add(
        "allow-list", listing.show_allow_list,
        "list the devices that may register though ota.new_devices is locked", json=True,
    )  # fmt: skip
    changes = allow_list.add_subparsers(dest="list_action", metavar="ACTION", help="(default: show)")
    add = changes.add_parser("add", parents=[actions.config], help="list a device before it comes")
    add.set_defaults(act=owners.list_device)
    add.add_argument("identity", metavar="ID_OR_SERIAL", help="its MAC address, or its serial number")
    add.add_argument("--owner", metavar="USER", help="the user who owns it once it registers")
    add.add_argument("--note", default="", help="a note for people")
    drop = changes.add_parser("remove", parents=[actions.config], help="take a device off the list")
    drop.set_defaults(act=owners.unlist_device)
    drop.add_argument("identity", metavar="ID_OR_SERIAL", help="its MAC address, or its serial number")


def run(args: argparse.Namespace) -> int:
    """Does one action. Returns 0; raises MimiError, which says what is wrong and how to mend it."""
    settings = load_settings(args.config, os.environ)

    async def act() -> None:
        store = database(settings)
        await store.open(create=False)
        try:
            await args.act(Context(store, settings, Credentials.load), args)
        except (UnknownCode, UnknownDevice) as error:
            raise MimiError(f"{error}; `mimi-mqtt devices list` shows those there are") from error
        finally:
            await store.aclose()

    asyncio.run(act())
    return 0


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f"must be a number of days from 1 to 36500, not {text!r}")
    return int(text)


def _language(text: str) -> str:
    if text and not _LANGUAGE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a language such as en or zh-CN")
    return text
