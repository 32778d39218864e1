"""Lists, allows, revokes and forgets devices, and changes their settings; also while the server runs.

The server notices a change within two seconds, and ends the connections of a device that was revoked or
forgotten.
"""

import argparse
import asyncio
import functools
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mimi_mqtt.config import load_settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.errors import MimiError
from mimi_mqtt.fleet import administration
from mimi_mqtt.fleet.activation import same_client
from mimi_mqtt.fleet.administration import DeviceChange, UnknownCode, UnknownDevice
from mimi_mqtt.store import activations, devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation, Device

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the actions."""
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    parser.set_defaults(config=None, json=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="(default: list)")
    listing = actions.add_parser(
        "list", parents=[config], help="show every device, and those that wait to be allowed"
    )
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    allow = actions.add_parser("allow", parents=[config], help="give a device its credentials")
    allow.add_argument("device", metavar="ID_OR_CODE", help="the code it shows, or its MAC address")
    revoke = actions.add_parser("revoke", parents=[config], help="end a device's credentials")
    revoke.add_argument("device", metavar="ID", help="its MAC address")
    forget = actions.add_parser(
        "forget", parents=[config], help="delete devices with their conversations; they may register again"
    )
    which = forget.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "device", nargs="?", metavar="ID", help="its MAC address; clears pending activations for it too"
    )
    which.add_argument(
        "--unseen-days", type=_days, metavar="N", help="every device that was not seen for N days"
    )
    change = actions.add_parser("set", parents=[config], help="change a device's settings")
    change.add_argument("device", metavar="ID", help="its MAC address")
    change.add_argument(
        "--transport", choices=["mqtt", "websocket", "default"], help="its channel, from the next boot on"
    )
    change.add_argument("--name", help="a name for people; empty for none")
    change.add_argument("--language", type=_language, help="such as en or zh-CN; empty: what the device says")
    change.add_argument("--agent", metavar="NAME", help="its agent, from the next session on; or default")
    change.add_argument(
        "--user", metavar="NAME", help="the person who talks to it, for the agent's prompt; empty: unknown"
    )


def run(args: argparse.Namespace) -> int:
    """Does one action. Returns 0; raises MimiError, which says what is wrong and how to mend it."""
    settings = load_settings(args.config, os.environ)
    actions: dict[str, Callable[[Store, argparse.Namespace], Awaitable[None]]] = {
        "list": _list,
        "allow": _allow,
        "revoke": _revoke,
        "forget": _forget,
        "set": functools.partial(_set, agents=settings.every_agent),
    }

    async def act() -> None:
        store = Store(settings.database_url)
        await store.open(create=False)
        try:
            await actions[args.action or "list"](store, args)
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


async def _list(store: Store, args: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    async with store.read() as session:
        known = await devices.list_all(session)
        asking = [asker for asker in await activations.list_all(session) if asker.expires_at > now]
    # A device that was allowed has not asked OTA again yet: nobody needs to allow it.
    let_in = {device.id: device.client_id for device in known if device.allowed}
    waiting = [
        asker
        for asker in asking
        if asker.device_id not in let_in or not same_client(let_in[asker.device_id], asker.client_id)
    ]
    if args.json:
        print(
            json.dumps(
                {
                    "devices": [_as_json(device) for device in known],
                    "waiting": [_waiting(it) for it in waiting],
                }
            )
        )
        return
    if not known and not waiting:
        print("no device has sent an OTA request yet", file=sys.stderr)
    for device in known:
        state = "allowed" if device.allowed else "revoked"
        words = [device.id, state, device.transport or "", device.board, device.firmware_version]
        words.append(f"seen {device.last_seen_at.astimezone():%Y-%m-%d %H:%M}")
        words += [f"agent {device.agent}" if device.agent else "", device.name]
        words.append(f"of {device.user_name}" if device.user_name else "")
        print("  ".join(_printable(word) for word in words if word))
    for asker in waiting:
        known_word = "another Client-Id" if any(device.id == asker.device_id for device in known) else "new"
        origin = f"from {_printable(asker.address)}  " if asker.address else ""
        print(
            f"{asker.device_id}  waiting ({known_word})  {_printable(asker.board)}  {origin}"
            f"allow it with: mimi-mqtt devices allow {asker.code}"
        )


async def _allow(store: Store, args: argparse.Namespace) -> None:
    device = await administration.allow(store, args.device, datetime.now(UTC))
    print(f"{device.id} is allowed; it gets its credentials with its next OTA request")


async def _revoke(store: Store, args: argparse.Namespace) -> None:
    device = await administration.revoke(store, args.device, datetime.now(UTC))
    print(f"{device.id} is revoked; `mimi-mqtt devices allow {device.id}` lets it in again")


async def _forget(store: Store, args: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    if args.device is not None:
        print(f"{await administration.forget(store, args.device, now)} is forgotten")
        return
    forgotten = await administration.forget_unseen(store, now - timedelta(days=args.unseen_days), now)
    for device_id in forgotten:
        print(f"{device_id} is forgotten")
    if not forgotten:
        print(f"every device was seen within {args.unseen_days} days", file=sys.stderr)


async def _set(store: Store, args: argparse.Namespace, agents: Iterable[str]) -> None:
    known = list(agents)
    if args.agent is not None and args.agent not in known:
        raise MimiError(f"there is no agent {args.agent!r} in broker.yaml; there are: {', '.join(known)}")
    wanted = DeviceChange(
        transport="" if args.transport == "default" else args.transport,
        name=args.name,
        language=args.language,
        agent="" if args.agent == DEFAULT_AGENT else args.agent,
        user_name=args.user,
    )
    if wanted == DeviceChange():
        raise MimiError("nothing to set: give --transport, --name, --language, --agent or --user")
    device = await administration.change(store, args.device, wanted, datetime.now(UTC))
    when = ["the transport from its next boot on"] if args.transport is not None else []
    if any(given is not None for given in (args.name, args.language, args.agent, args.user)):
        when.append("the rest from its next session on" if when else "effective from its next session on")
    print("; ".join([f"{device.id} is set", *when]))


def _as_json(device: Device) -> dict[str, object]:
    return {
        "id": device.id,
        "name": device.name,
        "allowed": device.allowed,
        "transport": device.transport,
        "language": device.language or device.reported_language,
        "agent": device.agent or DEFAULT_AGENT,
        "user": device.user_name,
        "board": device.board,
        "board_name": device.board_name,
        "cellular": device.cellular,
        "firmware_version": device.firmware_version,
        "host": device.host,
        "created_at": device.created_at.isoformat(),
        "last_seen_at": device.last_seen_at.isoformat(),
    }


def _waiting(asker: Activation) -> dict[str, object]:
    return {
        "id": asker.device_id,
        "code": asker.code,
        "board": asker.board,
        "firmware_version": asker.firmware_version,
        "address": asker.address,
        "asked_at": asker.asked_at.isoformat(),
        "expires_at": asker.expires_at.isoformat(),
    }


def _printable(text: str) -> str:
    """`text` without control characters: the words of a device must not move the terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)
