"""Options of benches: whole numbers within bounds."""

import argparse
import functools


def bounded(parser: argparse.ArgumentParser, *options: tuple[str, int, int, int, str]) -> None:
    """Declares `options`: name, smallest and largest value, default, and meaning of each."""
    for name, low, high, default, meaning in options:
        parser.add_argument(
            name, type=functools.partial(_within, low, high), default=default, metavar="N",
            help=f"{meaning} ({default})",
        )  # fmt: skip


def _within(low: int, high: int, text: str) -> int:
    value = int(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
    return value
