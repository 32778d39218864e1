"""The `mimi-mqtt` command: one file (or package) a subcommand, imported when it is asked for.

A command module has a docstring that is its help, `configure(parser)` that declares its arguments, and
`run(args) -> int` that returns the exit code. Imports everything below and is imported by nothing.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from mimi_mqtt import __version__
from mimi_mqtt.errors import ConfigError, MimiError

_COMMANDS = {
    "serve": "run the server",
    "reload": "have the running server read its settings again",
    "rotate-secret": "replace the server's secret, of which all credentials are made",
    "device": "talk to a server as a simulated device",
    "agents": "list, change, compare and restore the agents that people made",
    "devices": "list, allow, claim, set and revoke devices, and import the keys of chips",
    "firmware": "register firmware, and roll it out to devices",
    "users": "list, add, change and remove users, and make links for them",
    "keys": "list, make and revoke API keys",
    "reminders": "list, add, change and cancel timers, alarms and reminders",
    "say": "speak a text on a device",
    "notify": "speak a text, or play a sound, on a device that is idle or away",
    "alert": "show a message on a device",
    "call": "call a tool of a device",
    "end": "end a device's session",
    "disconnect": "close a device's connection",
    "api": "send a request to the REST API of the running server",
    "models": "list, install, check and remove local models",
    "voices": "list the voices of local models, and hear how they sound",
    "backup": "back the server up into one encrypted file",
    "restore": "restore a backup, also into another kind of database",
    "database": "show the database's schema, and take it forward or back",
    "providers": "list speech and language providers, what they need, and test one",
    "doctor": "check this machine, the network and the providers",
    "hash-password": "make the hash of a password for broker.yaml",
    "export": "write agents, options of providers and prices to a file",
    "import": "read agents, options of providers and prices from a file",
    "config": "print a commented broker.yaml with every setting and its default",
    "bench": "measure speed and memory",
}


def _load(command: str, parser: argparse.ArgumentParser) -> None:
    # A module can't be named as a keyword of Python.
    name = "import_" if command == "import" else command.replace("-", "_")
    module = import_module(f"mimi_mqtt.cli.{name}")
    parser.description = (module.__doc__ or "").strip()
    module.configure(parser)
    parser.set_defaults(run=module.run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line. Exit codes: 0 done, 1 failed, 2 wrong arguments or settings, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="mimi-mqtt", description="A self-hosted voice server for ESP32 devices."
    )
    parser.add_argument("--version", action="version", version=f"mimi-mqtt {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = next((word for word in arguments if not word.startswith("-")), None)
    for command, summary in _COMMANDS.items():
        command_parser = commands.add_parser(
            command, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if command == asked:
            _load(command, command_parser)
    args = parser.parse_args(arguments)
    try:
        code: int = args.run(args)
    except ConfigError as error:
        print(f"mimi-mqtt: {error}", file=sys.stderr)
        return 2
    except MimiError as error:
        print(f"mimi-mqtt: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not try to flush the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
