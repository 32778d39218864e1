"""Lists the providers of each role, what they need, and which are asked now; `test NAME` really calls one.

  mimi-mqtt providers                 every provider
  mimi-mqtt providers test ollama     starts it, asks it for something small, prints how long it took

`test` ends with 0 when all of its roles worked, else 1; 2 for a name that does not exist.
"""

import argparse
import asyncio
import dataclasses
import json
import os
from pathlib import Path

from mimi_mqtt.cli.managing import in_force
from mimi_mqtt.config import Settings, load_settings
from mimi_mqtt.errors import ConfigError, ProviderError
from mimi_mqtt.log import setup_logging
from mimi_mqtt.providers.catalog.advice import better_speech
from mimi_mqtt.providers.catalog.overview import ROLES, Listing, Trial, attempt, listings
from mimi_mqtt.providers.catalog.registry import build, known
from mimi_mqtt.providers.catalog.selection import select_providers, with_providers
from mimi_mqtt.providers.contract.provider import Role

_TIMEOUT_S = 60.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --config and --json, and the action `test`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (default as for serve)")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    test = actions.add_parser("test", help="really call one provider and print timings")
    test.add_argument("name", metavar="NAME", help="such as openai, or openai:house")
    test.add_argument("--role", choices=ROLES, help="one role alone (default: all that it plays)")
    # Without a default here, so that an option before `test` is kept.
    test.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)
    test.add_argument("--json", action="store_true", default=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Prints the list, or the result of a test."""
    settings = asyncio.run(in_force(load_settings(args.config, os.environ)))
    setup_logging("error", "text")
    if args.action == "test":
        return asyncio.run(_test(settings, args.name, args.role, args.json))
    found = listings(settings, os.environ)
    if args.json:
        print(json.dumps([_as_json(listing) for listing in found], indent=2))
    else:
        _print_list(found)
        if advice := better_speech(settings, select_providers(settings, os.environ)):
            print(f"better speech: {advice}")
    return 0


def _as_json(listing: Listing) -> dict[str, object]:
    return {**dataclasses.asdict(listing), "configured": listing.configured}


def _print_list(found: list[Listing]) -> None:
    width = max(len(listing.name) for listing in found)
    for role in ROLES:
        print(role)
        for listing in (one for one in found if one.role == role):
            state = "ready" if listing.configured else "lacks"
            print(f"  {listing.name:<{width}}  {state:<5}  {_asked(listing):<10}  {_needs(listing)}".rstrip())
            for cure in listing.lacking:
                print(f"  {'':<{width}}    -> {cure}")


def _asked(listing: Listing) -> str:
    usual = [_ordinal(listing.place)] if listing.place else []
    own = [f"{_ordinal(place)} by {agent}" for agent, place in listing.agents.items()]
    return "asked " + ", ".join([*usual, *own]) if usual or own else ""


def _needs(listing: Listing) -> str:
    options = [" or ".join(option.variables) or option.option for option in listing.options]
    extra = [f"mimi-mqtt[{listing.extra}]"] if listing.extra else []
    return "needs " + ", ".join([*extra, *options]) if extra or options else ""


def _ordinal(place: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(place, f"{place}th")


async def _test(settings: Settings, name: str, role: Role | None, as_json: bool) -> int:
    vendor = name.partition(":")[0]
    plays = [one for one in ROLES if vendor in known(one) and role in (None, one)]
    if not plays:
        of_role = "" if role is None else f" for {role}"
        raise ConfigError(f"there is no provider {name!r}{of_role}: see `mimi-mqtt providers`")
    results: list[dict[str, object]] = []
    for one in plays:
        alone = with_providers(settings.providers, one, [name])
        result: dict[str, object] = {"role": one, "name": name}
        try:
            trial = await attempt(build(one, alone, os.environ), _TIMEOUT_S)
            results.append({**result, "ok": True, **dataclasses.asdict(trial)})
            line = f"ok    {one} {name}: {trial.said}; {timings(trial)}"
        except ProviderError as error:
            results.append({**result, "ok": False, "error": str(error)})
            line = f"FAIL  {one} {error}"
        if not as_json:
            print(line, flush=True)
    if as_json:
        print(json.dumps(results, indent=2))
    return 0 if all(result["ok"] for result in results) else 1


def timings(trial: Trial) -> str:
    """Duration of each stage, in ms."""
    stages = [("started in", trial.start_s), ("first result after", trial.first_result_s)]
    stages.append(("done in", trial.answer_s))
    return ", ".join(f"{stage} {took * 1000:.0f} ms" for stage, took in stages if took is not None)
