"""Streams that people follow while the server runs: events, control messages of devices, log lines."""

from contextlib import AsyncExitStack

from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.http.api.event_feed import EventFeed
from mimi_mqtt.http.api.log_feed import LogFeed
from mimi_mqtt.log.recent import RecentLines
from mimi_mqtt.people.access import Authenticator
from mimi_mqtt.session.trace import ControlTraces


class Streams:
    """The sources of the streams: `stack` closes that of log lines, and from `start` on the others."""

    def __init__(
        self,
        foundation: Foundation,
        directory: DeviceDirectory,
        authenticator: Authenticator,
        recent: RecentLines,
        stack: AsyncExitStack,
    ) -> None:
        self._authenticator = authenticator
        self.events = EventFeed(foundation.events, directory)
        self.traces = ControlTraces()
        self.logs = LogFeed(recent, authenticator)
        stack.callback(self.logs.close)

    def start(self, stack: AsyncExitStack) -> None:
        """Starts the stream of events. Listeners keep it as long as `authenticator` lets them."""
        stack.push_async_callback(self.events.aclose)
        stack.callback(self.traces.close)
        self.events.start(self._authenticator)

    def close(self) -> None:
        """Ends all streams, and refuses further ones."""
        self.events.close()
        self.traces.close()
        self.logs.close()
