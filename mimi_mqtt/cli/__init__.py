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
    "devices": "list, allow and revoke devices",
    "say": "speak a text on a device",
    "alert": "show a message on a device",
    "call": "call a tool of a device",
    "end": "end a device's session",
    "disconnect": "close a device's connection",
    "models": "list, install, check and remove local models",
    "voices": "list the voices of local models, and hear how they sound",
    "providers": "list speech and language providers, what they need, and test one",
    "doctor": "check this machine, the network and the providers",
    "hash-password": "make the hash of a password for broker.yaml",
    "config": "print a commented broker.yaml with every setting and its default",
    "bench": "measure speed and memory",
}


def _load(command: str, parser: argparse.ArgumentParser) -> None:
    module = import_module(f"mimi_mqtt.cli.{command.replace('-', '_')}")
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
