"""Prints a commented broker.yaml with every setting and its default: `mimi-mqtt config > broker.yaml`."""

import argparse

from mimi_mqtt.config import render_default_yaml


def configure(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Prints the file."""
    print(render_default_yaml(), end="")
    return 0
