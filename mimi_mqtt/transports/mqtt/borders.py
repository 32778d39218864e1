"""Borders that contain faults in the embedded broker: one session, one client, one item of a sweep.

`GuardedSink` stands between connections and sessions, `run_each` between the items of a sweep.
"""

from collections.abc import Callable, Iterable

from mimi_mqtt.session.link import ControlChannel, ControlSink
from mimi_mqtt.transports.mqtt.counters import Counters


class GuardedSink:
    """A `ControlSink` that never raises: counts and logs what fails, closes a channel that fails to open."""

    __slots__ = ("_counters", "_sink")

    def __init__(self, sink: ControlSink, counters: Counters) -> None:
        self._sink = sink
        self._counters = counters

    def control_opened(self, channel: ControlChannel) -> None:
        """Opens `channel`; closes it when the session manager failed to."""
        try:
            self._sink.control_opened(channel)
        except Exception:  # noqa: BLE001 - the border of one device
            self._counters.fault(
                "control_opened", f"the session manager failed to take the connection of {channel.device_id}"
            )
            channel.close("the session manager failed to take it")

    def control_message(self, channel: ControlChannel, payload: bytes) -> None:
        """Delivers one message; a message that fails leaves the channel open."""
        try:
            self._sink.control_message(channel, payload)
        except Exception:  # noqa: BLE001 - the border of one device
            self._counters.fault("control_message", f"handling a message of {channel.device_id} failed")

    def control_closed(self, channel: ControlChannel, reason: str) -> None:
        """Reports the end of `channel`."""
        try:
            self._sink.control_closed(channel, reason)
        except Exception:  # noqa: BLE001 - the border of one device
            self._counters.fault("control_closed", f"closing the channel of {channel.device_id} failed")


def run_each(name: str, steps: Iterable[Callable[[], None]]) -> None:
    """Runs every step, also after one that failed; raises the failures together as an ExceptionGroup."""
    failures: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - raised below, after the others had their turn
            failures.append(error)
    if failures:
        raise ExceptionGroup(f"{name}: {len(failures)} failed", failures)
