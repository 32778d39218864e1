"""Lists, changes, compares and restores the agents that people made; also while the server runs.

  mimi-mqtt agents                                      all agents, those of broker.yaml too
  mimi-mqtt agents set chef name=Chef language=vi       makes the agent, or changes these keys
  mimi-mqtt agents set chef prompt=@prompt.txt voice=   a prompt from a file; no voice of its own any more
  mimi-mqtt agents history chef
  mimi-mqtt agents diff chef 2 5
  mimi-mqtt agents restore chef 2

The keys are those of the section `assistant` of broker.yaml, and values are written as there. The server
notices a change within a second, and each conversation has it from its next turn on.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.managing import managed_resources, printable
from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT, AgentSettings
from mimi_mqtt.config.loading import parse_yaml, wants_text
from mimi_mqtt.errors import ConfigError, MimiError, NotFound
from mimi_mqtt.managed.kinds import MAX_CONTENT_CHARS
from mimi_mqtt.managed.resources import Change, ManagedResources
from mimi_mqtt.store.audit import COMMAND_LINE

_SHOWN: Final = ("name", "language", "stt", "llm", "tts", "s2s")

_Act = Callable[[Settings, ManagedResources, argparse.Namespace], Awaitable[None]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the actions."""
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    parser.set_defaults(config=None, json=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="(default: list)")

    def action(name: str, told: str, *, agent: bool = True) -> argparse.ArgumentParser:
        added = actions.add_parser(name, parents=[config], help=told)
        if agent:
            added.add_argument("agent", metavar="NAME")
        return added

    listing = action("list", "show every agent", agent=False)
    listing.add_argument("--json", action="store_true", help="print one JSON array")
    show = action("show", "print an agent's settings, as broker.yaml has them")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    change = action("set", "make an agent, or change some of its settings")
    change.add_argument(
        "values", nargs="+", metavar="KEY=VALUE", help="KEY=@FILE reads a file, KEY= takes the value back"
    )
    history = action("history", "show an agent's versions")
    history.add_argument("--json", action="store_true", help="print one JSON array")
    compare = action("diff", "show the difference between two versions")
    compare.add_argument("before", type=_number, metavar="VERSION")
    compare.add_argument("after", type=_number, metavar="VERSION")
    restore = action("restore", "make an earlier version the present one")
    restore.add_argument("version", type=_number, metavar="VERSION")
    action("remove", "delete what people set of an agent; its devices talk to the default one")


def run(args: argparse.Namespace) -> int:
    """Does one action. Returns 0; raises MimiError."""
    actions: dict[str, _Act] = {
        "list": _list,
        "show": _show,
        "set": _set,
        "history": _history,
        "diff": _diff,
        "restore": _restore,
        "remove": _remove,
    }

    async def act() -> None:
        async with managed_resources(args.config) as (settings, resources):
            await actions[args.action or "list"](settings, resources, args)

    asyncio.run(act())
    return 0


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"must be the number of a version, not {text!r}")
    return int(text)


async def _list(settings: Settings, resources: ManagedResources, args: argparse.Namespace) -> None:
    managed = {each.key: each for each in await resources.list_all("agent")}
    rows: list[dict[str, object]] = []
    for key in dict.fromkeys((*settings.every_agent, *managed)):
        provisioned, own = settings.every_agent.get(key), managed.get(key)
        shadowed = own is not None and key in settings.agents
        given = provisioned.model_dump(mode="json") if provisioned is not None else {}
        if own is not None and not shadowed:
            fixed = settings.assistant.model_fields_set if key == DEFAULT_AGENT else ()
            given |= {name: value for name, value in own.content.items() if name not in fixed}
        rows.append(
            {
                "key": key,
                "source": "managed" if provisioned is None else "broker.yaml",
                "version": own.version if own is not None else None,
                "shadowed": shadowed,
                "settings": given,
            }
        )
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        told = row["settings"] if isinstance(row["settings"], dict) else {}
        words = [f"{row['key']!s:<16}", f"{row['source']!s:<12}"]
        words.append(f"version {row['version']}" if row["version"] else "")
        words.append("hidden by the one of broker.yaml" if row["shadowed"] else "")
        words += [f"{name} {told[name]}" for name in _SHOWN if told.get(name)]
        print(printable("  ".join(word for word in words if word)))


async def _show(settings: Settings, resources: ManagedResources, args: argparse.Namespace) -> None:
    from mimi_mqtt.managed.documents import as_yaml

    managed = await resources.find("agent", args.agent)
    if managed is not None:
        content = dict(managed.content)
    elif args.agent in settings.every_agent:
        own = settings.agents.get(args.agent, settings.assistant)
        content = own.model_dump(mode="json", exclude_unset=True)
    else:
        raise NotFound(f"there is no agent {args.agent!r}; `mimi-mqtt agents` shows those there are")
    print(json.dumps(content, ensure_ascii=False, indent=2) if args.json else as_yaml(content), end="")
    if args.json:
        print()


async def _set(settings: Settings, resources: ManagedResources, args: argparse.Namespace) -> None:
    del settings
    given: dict[str, object] = {}
    for text in args.values:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text!r} is not KEY=VALUE, such as name=Chef")
        if key in given:
            raise ConfigError(f"{key} is given twice")
        given[key] = _value(key, value)
    present = await resources.find("agent", args.agent)
    whole = {**(present.content if present is not None else {}), **given}
    content = {name: value for name, value in whole.items() if value is not None}
    made = await resources.put(Change("agent", args.agent, content), COMMAND_LINE)
    print(f"{args.agent} has version {made.version}; conversations have it from their next turn on")


def _value(key: str, text: str) -> object:
    """The value of an argument: null for an empty one, a file's text for @FILE, else as in broker.yaml."""
    if not text:
        return None
    if text.startswith("@"):
        try:
            with Path(text[1:]).open(encoding="utf-8") as file:
                text = file.read(MAX_CONTENT_CHARS + 1)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"{key}: {text[1:]} can't be read: {reason}") from error
    elif key not in AgentSettings.model_fields or not wants_text(("assistant", key)):
        return parse_yaml(text, f"{key}: is")[1]
    return text


async def _history(settings: Settings, resources: ManagedResources, args: argparse.Namespace) -> None:
    del settings
    versions = await resources.versions("agent", args.agent)
    if args.json:
        rows = [
            {"version": each.number, "at": each.at.isoformat(), "author": each.author,
             "action": each.action, "settings": each.content}
            for each in versions
        ]  # fmt: skip
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for each in versions:
        when = f"{each.at.astimezone():%Y-%m-%d %H:%M}"
        print(printable(f"{each.number:>5}  {when}  {each.action:<8}  {each.author}"))


async def _diff(settings: Settings, resources: ManagedResources, args: argparse.Namespace) -> None:
    del settings
    found = await resources.diff("agent", args.agent, args.before, args.after)
    for each in found:
        print(printable(each.unified))
    if not found:
        print("they are equal")


async def _restore(settings: Settings, resources: ManagedResources, args: argparse.Namespace) -> None:
    del settings
    made = await resources.restore("agent", args.agent, args.version, COMMAND_LINE)
    print(f"{args.agent} has version {made.version}, which is version {args.version} again")


async def _remove(settings: Settings, resources: ManagedResources, args: argparse.Namespace) -> None:
    if args.agent in settings.agents and await resources.find("agent", args.agent) is None:
        raise MimiError(
            f"{args.agent} is an agent of broker.yaml: take it out there, then `mimi-mqtt reload`"
        )
    last = (await resources.get("agent", args.agent)).version
    await resources.delete("agent", args.agent, COMMAND_LINE)
    print(f"{args.agent} is removed; `mimi-mqtt agents restore {args.agent} {last}` takes that back")
