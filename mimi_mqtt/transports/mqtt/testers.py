"""Devices played by testers: a control channel behind `mimi/devices/<id>/up` and `…/down`.

With a device's credentials under another client id, `mosquitto_pub` and `mosquitto_sub` can hold a
conversation: a tester's message on `up` counts as the device's, and the server's answers are published
on `down`. A device that is connected itself keeps its own channel: then the answers go to it, and testers see
its mirror.
"""

from collections.abc import Callable

from mimi_mqtt.limits import TokenBucket
from mimi_mqtt.session.link import ControlSink
from mimi_mqtt.transports.mqtt.limits import BURST_FACTOR, TESTER_CHANNEL_S


class TesterChannel:
    """A `session.link.ControlChannel` for a device that testers play."""

    transport = "mqtt"
    is_tester = True
    peer_host = None  # a tester is not where the device is

    def __init__(self, testers: "Testers", device_id: str, local_host: str | None, now: float) -> None:
        self.device_id = device_id
        self.local_host = local_host
        self.seen_at = now
        self._testers = testers

    def send(self, payload: bytes) -> None:
        """Publishes one control message on `down`, in clear to the device's testers only."""
        self._testers.answer(self, payload)

    def undelivered(self) -> int:
        """Returns 0: testers hear no audio that could overtake a message."""
        return 0

    def round_trip_ms(self) -> None:
        """Returns None: a tester is not the device."""

    def unacknowledged(self) -> tuple[bytes, ...]:
        """Returns none: a tester's session does not go over to another connection."""
        return ()

    def close(self, reason: str) -> None:
        """Ends the channel; the testers stay connected."""
        self._testers.close(self.device_id, reason)


class Testers:
    """Channels of all devices that are being played.

    `connected` counts a device's testers; `publish_down` sends an answer to its testers and watchers.
    """

    def __init__(
        self,
        sink: ControlSink,
        connected: Callable[[str], int],
        publish_down: Callable[[str, bytes], None],
        messages_per_s: float,
    ) -> None:
        self._rate = messages_per_s
        self._burst = messages_per_s * BURST_FACTOR
        self._buckets: dict[str, TokenBucket] = {}
        self._sink = sink
        self._connected = connected
        self._publish_down = publish_down
        self._channels: dict[str, TesterChannel] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def allowed(self, device_id: str, now: float) -> bool:
        """Counts one message of the device's testers; False when it exceeds their rate."""
        bucket = self._buckets.get(device_id)
        if bucket is None:
            bucket = self._buckets[device_id] = TokenBucket(self._rate, self._burst, now)
        return bucket.take(now)

    def message(self, device_id: str, host: str | None, payload: bytes, now: float) -> None:
        """Delivers a tester's message as its device's; opens the device's channel when there is none."""
        channel = self._channels.get(device_id)
        if channel is None:
            channel = self._channels[device_id] = TesterChannel(self, device_id, host, now)
            self._sink.control_opened(channel)
            if self._channels.get(device_id) is not channel:
                return
        channel.seen_at = now
        self._sink.control_message(channel, payload)

    def answer(self, channel: TesterChannel, payload: bytes) -> None:
        """Publishes a message of the server, unless the channel was closed."""
        if self._channels.get(channel.device_id) is channel:
            self._publish_down(channel.device_id, payload)

    def close(self, device_id: str, reason: str) -> None:
        """Ends a device's channel, if it has one."""
        channel = self._channels.pop(device_id, None)
        if channel is not None:
            self._sink.control_closed(channel, reason)

    def sweep(self, now: float) -> None:
        """Ends the channels that no tester has needed for a while."""
        for device_id, channel in list(self._channels.items()):
            if self._connected(device_id):
                channel.seen_at = now
            elif now - channel.seen_at > TESTER_CHANNEL_S:
                self.close(device_id, "its testers are gone")
        for device_id, bucket in list(self._buckets.items()):
            if bucket.is_full(now):
                del self._buckets[device_id]

    def close_all(self, reason: str) -> None:
        """Ends all channels."""
        for device_id in list(self._channels):
            self.close(device_id, reason)
