"""Lists, makes and revokes API keys; also while the server runs, which notices within a second."""

import argparse
import functools
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mimi_mqtt.cli.people_store import printable, with_people
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import MimiError
from mimi_mqtt.people.access import SCOPES_OF, Role, Scope
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.store.tables import ApiKey, User

_AT_ONCE = 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the actions."""
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    parser.set_defaults(config=None, json=False, user=None)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="(default: list)")
    listing = actions.add_parser("list", parents=[config], help="show every key, without its secret")
    listing.add_argument("--user", metavar="NAME", help="those of one user")
    listing.add_argument("--json", action="store_true", help="print one JSON list")
    add = actions.add_parser(
        "add", parents=[config], help="make a key, and print it once",
        epilog="Scopes: " + " ".join(scope.value for scope in Scope),
    )  # fmt: skip
    add.add_argument("user", metavar="USER", help="the user whose key it is")
    add.add_argument("name", metavar="NAME", help="what the key is for")
    add.add_argument(
        "--scope", action="append", default=[], choices=[scope.value for scope in Scope], metavar="SCOPE",
        help="what it may do; given again: more (default: all that the user may)",
    )  # fmt: skip
    add.add_argument("--days", type=_days, metavar="N", help="days until it ends (default: it does not)")
    revoke = actions.add_parser("revoke", parents=[config], help="end a key")
    revoke.add_argument("key", metavar="ID", help="its id, which `list` shows")


def run(args: argparse.Namespace) -> int:
    """Does one action. Returns 0; raises MimiError, which says what is wrong and how to mend it."""
    actions: dict[str, Callable[[argparse.Namespace, Accounts, Settings], Awaitable[None]]] = {
        "list": _list,
        "add": _add,
        "revoke": _revoke,
    }
    with_people(args.config, functools.partial(actions[args.action or "list"], args))
    return 0


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3_650:
        raise argparse.ArgumentTypeError(f"must be a number of days from 1 to 3650, not {text!r}")
    return int(text)


async def _list(args: argparse.Namespace, people: Accounts, _: Settings) -> None:
    whose = (await _named(people, args.user)).id if args.user is not None else None
    found: list[ApiKey] = []
    while True:
        after = (found[-1].user_id, found[-1].id) if found else ("", "")
        page = await people.keys.page(command_line(), whose, _AT_ONCE, after=after)
        found += page
        if len(page) < _AT_ONCE:
            break
    if args.json:
        print(json.dumps([_as_json(row) for row in found]))
        return
    names: dict[str, str] = {}
    for row in found:
        if row.user_id not in names:
            names[row.user_id] = (await people.users.get(row.user_id)).name
        used = f"used {row.used_at.astimezone():%Y-%m-%d %H:%M}" if row.used_at is not None else "never used"
        ends = f"ends {row.expires_at.astimezone():%Y-%m-%d}" if row.expires_at is not None else ""
        words = [row.id, names[row.user_id], row.name, f"{row.hint}…", used, ends, " ".join(row.scopes)]
        print("  ".join(printable(word) for word in words if word))
    if not found:
        print("there is no key: `mimi-mqtt keys add USER NAME` makes one")


async def _add(args: argparse.Namespace, people: Accounts, _: Settings) -> None:
    user = await _named(people, args.user)
    scopes = [Scope(word) for word in args.scope] or list(SCOPES_OF[Role(user.role)])
    now = datetime.now(UTC)
    made = await people.keys.create(
        command_line(), user.id, args.name, scopes, now,
        expires_at=now + timedelta(days=args.days) if args.days is not None else None,
    )  # fmt: skip
    print(made.secret)


async def _revoke(args: argparse.Namespace, people: Accounts, _: Settings) -> None:
    await people.keys.revoke(command_line(), args.key)
    print(f"{args.key} is revoked")


async def _named(people: Accounts, name: str) -> User:
    try:
        return await people.users.named(name)
    except MimiError as error:
        raise MimiError(f"there is no user {name!r}; `mimi-mqtt users list` shows those there are") from error


def _as_json(row: ApiKey) -> dict[str, object]:
    return {
        "id": row.id,
        "user_id": row.user_id,
        "name": row.name,
        "hint": row.hint,
        "scopes": row.scopes,
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat() if row.expires_at is not None else None,
        "used_at": row.used_at.isoformat() if row.used_at is not None else None,
    }
