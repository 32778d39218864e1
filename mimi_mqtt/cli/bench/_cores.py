"""Gives the server under test one core and its load another, so that neither measures the other's work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def server_on_one_core() -> Iterator[int | None]:
    """Pins this process to one core inside; yields another for the load, None where there is only one."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[0]})
    try:
        yield cores[1] if len(cores) > 1 else None
    finally:
        os.sched_setaffinity(0, before)
