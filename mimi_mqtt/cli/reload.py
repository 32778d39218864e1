"""Has the running server read broker.yaml again, and says what changed; no connection is dropped.

Agents, providers, turn-taking and session limits take effect with each device's next turn. Other keys, such
as ports, are named as needing a restart. When the file has a mistake nothing changes.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.server_process import ask_to_reload
from mimi_mqtt.config import load_settings
from mimi_mqtt.errors import ConfigError

_WITHIN_S: Final = 90.0
"""Longest wait for the server's answer, in seconds: it may have models to load."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --config."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0 when the configuration was taken over, 1 when it was refused. Raises MimiError when there is
    no server to ask."""
    try:
        settings = load_settings(args.config, os.environ)
    except ConfigError as error:
        return _refused(str(error))
    result = ask_to_reload(settings.server.data_dir, _WITHIN_S)
    if result.problem:
        return _refused(result.problem)
    for line in result.effective:
        print(line)
    for key in result.restart:
        print(f"{key}: needs a restart")
    if not result.effective and not result.restart:
        print("nothing has changed")
    return 0


def _refused(problem: str) -> int:
    print(f"mimi-mqtt: {problem}", file=sys.stderr)
    print("refused: the server goes on with the settings it has", file=sys.stderr)
    return 1
