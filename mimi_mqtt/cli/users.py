"""Lists, adds, changes and removes users, and makes one-time links for them; also while the server runs,
which notices within a second.

Passwords are asked for, or read from standard input; they are not taken from the command line.
"""

import argparse
import functools
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mimi_mqtt.cli.passwords import ask_password
from mimi_mqtt.cli.people_store import printable, with_people
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import MimiError
from mimi_mqtt.http.web.app import SETUP_PATH
from mimi_mqtt.people.access import Role
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.people.users import NewUser, UserChange
from mimi_mqtt.store.tables import User

_AT_ONCE = 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the actions."""
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    parser.set_defaults(config=None, json=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="(default: list)")
    listing = actions.add_parser("list", parents=[config], help="show every user")
    listing.add_argument("--json", action="store_true", help="print one JSON list")
    roles = [role.value for role in Role]
    add = actions.add_parser("add", parents=[config], help="make an account")
    add.add_argument("name", metavar="NAME", help="the name to sign in with")
    add.add_argument("--role", choices=roles, default=Role.MEMBER.value, help="(default: member)")
    add.add_argument("--display-name", default="", metavar="TEXT", help="the name that others see")
    add.add_argument("--email", default="", metavar="ADDRESS")
    add.add_argument("--link", action="store_true", help="print a link to set a password, and ask for none")
    change = actions.add_parser("set", parents=[config], help="change an account")
    change.add_argument("name", metavar="NAME")
    change.add_argument("--role", choices=roles)
    change.add_argument("--password", action="store_true", help="ask for a new password")
    change.add_argument("--rename", metavar="NAME", help="another name to sign in with")
    change.add_argument("--display-name", metavar="TEXT")
    change.add_argument("--email", metavar="ADDRESS")
    change.add_argument(
        "--subject", metavar="SUB", help="let this person of the OpenID provider sign in to it"
    )
    able = change.add_mutually_exclusive_group()
    able.add_argument("--disable", action="store_true", help="end its sessions; nobody can sign in to it")
    able.add_argument("--enable", action="store_true")
    remove = actions.add_parser(
        "remove", parents=[config], help="delete an account, with its sessions and keys"
    )
    remove.add_argument("name", metavar="NAME")
    link = actions.add_parser(
        "link", parents=[config],
        help="make a one-time link, to set the password of a user, or for the first administrator",
    )  # fmt: skip
    link.add_argument("name", nargs="?", metavar="NAME", help="(default: the first administrator)")


def run(args: argparse.Namespace) -> int:
    """Does one action. Returns 0; raises MimiError, which says what is wrong and how to mend it."""
    actions: dict[str, Callable[[argparse.Namespace, Accounts, Settings], Awaitable[None]]] = {
        "list": _list,
        "add": _add,
        "set": _set,
        "remove": _remove,
        "link": _link,
    }
    with_people(args.config, functools.partial(actions[args.action or "list"], args))
    return 0


async def _list(args: argparse.Namespace, people: Accounts, _: Settings) -> None:
    found: list[User] = []
    while True:
        page: Sequence[User] = await people.users.page(_AT_ONCE, after=found[-1].folded_name if found else "")
        found += page
        if len(page) < _AT_ONCE:
            break
    if args.json:
        print(json.dumps([_as_json(user) for user in found]))
        return
    for user in found:
        words = [user.name, user.role, "disabled" if user.disabled else "", user.display_name, user.email]
        words.append("" if user.password_hash else "no password")
        print("  ".join(printable(word) for word in words if word))
    if not found:
        print("there is no user yet: `mimi-mqtt users add NAME --role admin`, or `mimi-mqtt users link`")


async def _add(args: argparse.Namespace, people: Accounts, settings: Settings) -> None:
    password = None if args.link else ask_password()
    new = NewUser(
        args.name, Role(args.role), password=password, display_name=args.display_name, email=args.email
    )
    user = await people.users.create(command_line(), new, _now())
    print(f"{user.name} ({user.role}) can sign in" if password is not None else f"{user.name} ({user.role}):")
    if password is None:
        await _tell_reset(user, people, settings)


async def _set(args: argparse.Namespace, people: Accounts, _: Settings) -> None:
    user = await _named(people, args.name)
    wanted = UserChange(
        name=args.rename,
        role=Role(args.role) if args.role is not None else None,
        display_name=args.display_name,
        email=args.email,
        disabled=True if args.disable else False if args.enable else None,
    )
    if wanted == UserChange() and not args.password and args.subject is None:
        raise MimiError("nothing to set: `mimi-mqtt users set --help` has what there is")
    password = ask_password() if args.password else None
    if wanted != UserChange():
        user = await people.users.change(command_line(), user.id, wanted, _now())
    if password is not None:
        await people.users.set_password(command_line(), user.id, password, _now())
    if args.subject is not None:
        if people.oidc.issuer is None:
            raise MimiError("no OpenID provider is set: see oidc.issuer in broker.yaml")
        await people.openid.link(command_line(), user.id, people.oidc.issuer, args.subject, _now())
    print(f"{user.name} is set")


async def _remove(args: argparse.Namespace, people: Accounts, _: Settings) -> None:
    user = await _named(people, args.name)
    await people.users.remove(command_line(), user.id, datetime.now(UTC))
    print(f"{user.name} is removed")


async def _link(args: argparse.Namespace, people: Accounts, settings: Settings) -> None:
    if args.name is not None:
        await _tell_reset(await _named(people, args.name), people, settings)
        return
    token = await people.links.for_setup(_now())
    if token is None:
        raise MimiError(
            "there is an administrator already: name a user for a link to set a password, or see "
            "`mimi-mqtt users add`"
        )
    _tell(settings, f"token={token}", "it makes the administrator")


async def _tell_reset(user: User, people: Accounts, settings: Settings) -> None:
    token = await people.links.for_password(command_line(), user.id, _now())
    _tell(settings, f"reset={token}", f"it sets the password of {user.name}")


def _tell(settings: Settings, fragment: str, what: str) -> None:
    bind = settings.http.bind
    host = settings.server.public_host or ("ADDRESS" if bind.host in ("0.0.0.0", "::") else bind.host)
    scheme = "http" if settings.http.plain else "https"
    origin = settings.http.public_url or f"{scheme}://{host}:{bind.port}"
    print(f"{origin}{SETUP_PATH}#{fragment}")
    print(f"Open it once, within 24 hours: {what}.")
    if host == "ADDRESS" and settings.http.public_url is None:
        print("ADDRESS is the server's, as browsers reach it.")


async def _named(people: Accounts, name: str) -> User:
    try:
        return await people.users.named(name)
    except MimiError as error:
        raise MimiError(f"there is no user {name!r}; `mimi-mqtt users list` shows those there are") from error


def _now() -> datetime:
    return datetime.now(UTC)


def _as_json(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "name": user.name,
        "display_name": user.display_name,
        "role": user.role,
        "email": user.email,
        "disabled": user.disabled,
        "has_password": bool(user.password_hash),
        "created_at": user.created_at.isoformat(),
        "updated_at": user.updated_at.isoformat(),
    }
