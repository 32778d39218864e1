"""The interface between sessions and transports: control channels, audio channels and their sinks.

Transports implement `ControlChannel`, `AudioTransport` and `AudioChannel`; the session manager implements
`ControlSink`, a session `AudioSink`. `app` joins them. All calls are made on the event loop's thread and
return at once; none of them raises into the other side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class ControlChannel(Protocol):
    """One device's authenticated control connection, whatever carries it."""

    @property
    def device_id(self) -> str:
        """The device that the connection authenticated as; messages are attributed by this alone."""

    @property
    def transport(self) -> str:
        """`mqtt` or `websocket`: the hello's `transport` must fit (`udp` and `websocket`)."""

    @property
    def is_tester(self) -> bool:
        """True when a person with the device's credentials acts as the device over this channel."""

    @property
    def local_host(self) -> str | None:
        """The address of ours that the device reached, without port; None when the transport can't know."""

    @property
    def peer_host(self) -> str | None:
        """The IP address that the device, or the last proxy or NAT before us, connected from, without port;
        None when the transport can't know, or when somebody else acts as the device."""

    def send(self, payload: bytes) -> None:
        """Queues one encoded control message. Dropped silently once the channel is closed."""

    def undelivered(self) -> int:
        """Bytes written but not yet acknowledged by the device's TCP; 0 when the transport can't know."""

    def round_trip_ms(self) -> float | None:
        """The round-trip time to the device, in ms; None when the transport can't know."""

    def unacknowledged(self) -> Sequence[bytes]:
        """Messages sent but not acknowledged by the device's TCP, oldest first: lost if the connection is
        dead. They stay after its end; none when the transport can't know."""

    def close(self, reason: str) -> None:
        """Ends the connection after what was sent; `reason` is for the log."""


class ControlSink(Protocol):
    """The receiver of what devices say: the session manager."""

    def control_opened(self, channel: ControlChannel) -> None:
        """A device connected and was authenticated; nothing is sent to it from inside this call."""

    def control_message(self, channel: ControlChannel, payload: bytes) -> None:
        """A control message arrived on `channel`, of bounded size and otherwise unchecked."""

    def control_closed(self, channel: ControlChannel, reason: str) -> None:
        """`channel` is gone; nothing more comes from it."""


@dataclass(slots=True)
class AudioStats:
    """Counters of one audio channel, in packets; `jitter_ms` as RFC 3550 defines it.

    All count the uplink, except `sent` and `withheld`: frames that were not sent because it was not certain
    that the device is at the address.
    """

    received: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    forged: int = 0
    limited: int = 0
    address_changes: int = 0
    sent: int = 0
    withheld: int = 0
    jitter_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class AudioRequest:
    """The description of the audio channel that a session needs.

    `host` is the address the device should send to. `sample_rate` (Hz), `frame_ms` and `stereo` are those of
    the uplink: a packet that does not fit them is a forgery.
    """

    device_id: str
    session_id: str
    host: str
    sample_rate: int
    frame_ms: int
    stereo: bool = False


class AudioSink(Protocol):
    """The receiver of an audio channel's authentic packets: the session."""

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        """One authentic Opus packet, in order of arrival, no duplicates.

        `sequence` counts from 1 without wrap in a session's life; `timestamp` (ms), of a device with server
        AEC, is 0 or echoes a downlink frame's; `now` is the loop's clock, in s.
        """


class AudioChannel(Protocol):
    """One session's audio in both directions."""

    @property
    def stats(self) -> AudioStats:
        """Live counters; they keep their last values after `close`."""

    @property
    def ready(self) -> bool:
        """True once the downlink has somewhere to go; until then `send` drops."""

    @property
    def spare_bytes(self) -> int | None:
        """Bytes of control messages that may be sent now without delaying audio on the same connection; None
        when audio goes another way."""

    @property
    def carries_timestamps(self) -> bool:
        """True when the device's packets have room for the timestamp of what it was playing."""

    def describe(self) -> Mapping[str, Any]:
        """The hello's section for this channel, such as `{"udp": {"server", "port", "key", "nonce", …}}`."""

    def send(self, opus: bytes, timestamp: int) -> bool:
        """Sends one frame; `timestamp` (ms, 32 bits) must be greater than the last one's. False: dropped."""

    def close(self) -> None:
        """Forgets the channel and its sink; what still arrives for it is ignored. Safe to call twice."""


class AudioTransport(Protocol):
    """Makes audio channels: the UDP server, or a WebSocket's own connection."""

    def open(self, channel: ControlChannel, request: AudioRequest, sink: AudioSink) -> AudioChannel:
        """The audio channel of the session that `request` describes, opened over the control connection
        `channel`. Raises AudioError when there can be none."""
