"""The audio of a device as it goes over the wire: AES-encrypted datagrams, or frames of a WebSocket. Pure."""

from typing import NamedTuple, Protocol

from mimi_mqtt.errors import AudioPacketError
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink, parse_header
from mimi_mqtt.wire.websocket_frame import pack, unpack


class Packet(NamedTuple):
    """A received Opus packet and its number in the stream."""

    opus: bytes
    sequence: int


class Wire(Protocol):
    """One channel's audio in both directions."""

    def seal(self, opus: bytes, timestamp: int, sequence: int) -> bytes:
        """The bytes that carry an Opus packet of the microphone; `timestamp` in ms."""

    def open(self, data: bytes) -> Packet:
        """The Opus packet in `data`. Raises AudioPacketError."""


class UdpWire:
    """Datagrams of a session's key and nonce (device contract, section 4)."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._cipher = AudioCipher(key)
        self._nonce = nonce

    def seal(self, opus: bytes, timestamp: int, sequence: int) -> bytes:
        """See `Wire`."""
        return self._cipher.encrypt(pack_uplink(self._nonce, timestamp, sequence, len(opus)), opus)

    def open(self, data: bytes) -> Packet:
        """See `Wire`."""
        header = parse_header(data)
        return Packet(self._cipher.decrypt(data), header.sequence)


class WebSocketWire:
    """Binary frames of `version` (device contract, section 5); they are numbered as they come."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._received = 0

    def seal(self, opus: bytes, timestamp: int, sequence: int) -> bytes:
        """See `Wire`."""
        return pack(self._version, opus, timestamp)

    def open(self, data: bytes) -> Packet:
        """See `Wire`."""
        frame = unpack(self._version, data)
        if frame.is_json:
            raise AudioPacketError("a control message came as a binary frame")
        self._received += 1
        return Packet(frame.payload, self._received)
