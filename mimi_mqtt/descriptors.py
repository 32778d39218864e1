"""File descriptors: every connection needs one, so the process's limit bounds all connections together.

The soft limit is often 1,024. It is raised to what the settings need, as far as the hard limit allows; where
that is lower the connections in force are fewer. A reserve stays for the database, providers, child processes
and for sockets that are accepted to be closed at once, so that accepting never fails for want of descriptors.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import prometheus_client

from mimi_mqtt.config import HttpSettings, MqttSettings, Settings

_log = logging.getLogger(__name__)

BACKLOG: Final = 1_024
"""Connections that the kernel keeps for a listening socket until they are accepted."""
ACCEPTS_AT_ONCE: Final = 64
"""Connections that are accepted in a row, before those among them that are too many have been closed."""
LISTENERS: Final = 3
"""Listening TCP sockets: HTTP, MQTT, MQTT over TLS."""
RESERVE: Final = 256 + LISTENERS * ACCEPTS_AT_ONCE
"""Descriptors for all but connections."""
LEAST: Final = 16
"""Connections of a kind that are in force however low the limit is."""
TOLD_EVERY_S: Final = 60.0
"""Seconds between two log entries about connections that could not be accepted."""

_NO_DESCRIPTOR: Final = (
    "socket.accept() out of system resource"  # asyncio's words, in all of Python 3.11-3.13
)
_CURE: Final = "raise it with `ulimit -n`, LimitNOFILE= of systemd or `ulimits: nofile` of a container"

_failures = prometheus_client.Counter(
    "mimi_accept_failures_total",
    "Tries to accept a connection that failed for want of descriptors or memory.",
)


def needed(settings: Settings) -> int:
    """Descriptors for all connections that `settings` allow, and the reserve."""
    return _connections(settings) + RESERVE


def provide(settings: Settings) -> tuple[MqttSettings, HttpSettings]:
    """Raises the process's soft limit; returns the settings with the numbers of connections in force.

    A warning names what is too low and its cure when the hard limit allows fewer connections than set.
    """
    limit = _raise_limit(needed(settings))
    mqtt, http = settings.mqtt, settings.http
    if limit is None or limit >= needed(settings):
        return mqtt, http
    share = max(0, limit - RESERVE) / _connections(settings)

    def fitting(number: int) -> int:
        return min(number, max(LEAST, int(number * share)))

    mqtt = mqtt.model_copy(
        update={
            "max_connections": fitting(mqtt.max_connections),
            "max_pending_connects": fitting(mqtt.max_pending_connects),
        }
    )
    http = http.model_copy(update={"max_connections": fitting(http.max_connections)})
    _log.warning(
        "this process may open %d files, and the settings need %d: %d MQTT connections, %d more before "
        "CONNECT, and %d HTTP connections are served at once. To have all, %s, or lower mqtt.max_connections",
        limit, needed(settings), mqtt.max_connections, mqtt.max_pending_connects, http.max_connections, _CURE,
    )  # fmt: skip
    return mqtt, http


def _connections(settings: Settings) -> int:
    mqtt = settings.mqtt
    return mqtt.max_connections + mqtt.max_pending_connects + settings.http.max_connections


def _raise_limit(wanted: int) -> int | None:
    """Raises the soft limit to `wanted` or the hard one; returns the limit in force, None for none."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None if soft == resource.RLIM_INFINITY else soft
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    while True:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        except (OSError, ValueError) as error:
            if reachable // 2 <= soft:
                _log.warning("the limit of %d open files can't be raised: %s", soft, error)
                return soft
            reachable //= 2  # macOS has a bound below its hard limit
        else:
            return reachable


class AcceptFailures:
    """An event loop's exception handler: sockets that could not be accepted make one log line a minute.

    asyncio reports each try, with a traceback. All else goes to the loop's default handler.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -TOLD_EVERY_S
        self._untold = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Takes a report of the loop."""
        if context.get("message") != _NO_DESCRIPTOR:
            loop.default_exception_handler(context)
            return
        _failures.inc()
        self._untold += 1
        now = self._clock()
        if now - self._told_at < TOLD_EVERY_S:
            return
        _log.error(
            "no connection can be accepted (%d tries): %s. If this process has too few open files, %s",
            self._untold, context.get("exception"), _CURE,
        )  # fmt: skip
        self._told_at, self._untold = now, 0
