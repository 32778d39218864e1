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
    """The sources of the streams. A listener keeps a stream as long as `authenticator` lets it."""

    def __init__(
        self,
        foundation: Foundation,
        directory: DeviceDirectory,
        authenticator: Authenticator,
        recent: RecentLines,
    ) -> None:
        self._authenticator = authenticator
        self.events = EventFeed(foundation.events, directory)
        self.traces = ControlTraces()
        self.logs = LogFeed(recent, authenticator)

    def start(self, stack: AsyncExitStack) -> None:
        """Starts the stream of events; `stack` ends all streams."""
        stack.callback(self.logs.close)
        stack.push_async_callback(self.events.aclose)
        stack.callback(self.traces.close)
        self.events.start(self._authenticator)

    def close(self) -> None:
        """Ends all streams, and refuses further ones."""
        self.events.close()
        self.traces.close()
        self.logs.close()
