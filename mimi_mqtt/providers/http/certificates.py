"""Whom vendors' clients trust: read once, as that takes tens of milliseconds and some megabytes each time."""

import ssl
from collections.abc import Callable
from functools import cache


@cache
def shared(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """What `make` makes, the same for all who ask: nobody may change it. Blocks the first time."""
    return make()
