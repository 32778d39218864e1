"""Outgoing QoS of one client: packet ids, messages in flight and waiting, redelivery; pure.

MQTT 3.1.1 section 4.3 and 4.4. A client that acknowledges slowly has at most `window` messages in flight; the
rest waits here, bounded in bytes, and so does everything for a persistent session while its client is away.
All clients of one account, and all clients, have bounds too (`Amounts`).
"""

from collections import deque
from dataclasses import dataclass

from mimi_mqtt.shares import Amounts
from mimi_mqtt.transports.mqtt.limits import MAX_IN_FLIGHT
from mimi_mqtt.wire.mqtt import PacketType, encode_ack, encode_publish

_OVERHEAD_BYTES = 200


@dataclass(slots=True)
class _Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    received: bool = False  # QoS 2: PUBREC came, PUBREL was sent

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload) + _OVERHEAD_BYTES


class OutgoingFlow:
    """Messages to one client; methods return the bytes to write now, `b""` for nothing.

    While `connected` is false QoS 0 is dropped, and QoS 1 and 2 wait for `resume`. `queued`, when given,
    bounds the bytes of all flows of `account`.
    """

    __slots__ = (
        "_account", "_in_flight", "_last_id", "_max_bytes", "_queued", "_size", "_waiting", "_window",
        "connected",
    )  # fmt: skip

    def __init__(
        self, max_bytes: int, window: int = MAX_IN_FLIGHT, queued: Amounts | None = None, account: str = ""
    ) -> None:
        self.connected = True
        self._max_bytes = max_bytes
        self._queued = queued
        self._account = account
        self._window = window
        self._in_flight: dict[int, _Message] = {}
        self._waiting: deque[_Message] = deque()
        self._size = 0
        self._last_id = 0

    @property
    def pending(self) -> int:
        """Messages in flight or waiting."""
        return len(self._in_flight) + len(self._waiting)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> bytes | None:
        """Takes one message; returns None when there is no room for it, and takes nothing."""
        if qos == 0:
            return encode_publish(topic, payload, retain=retain) if self.connected else b""
        message = _Message(topic, payload, qos, retain)
        if self._size + message.size > self._max_bytes and self.pending:
            return None
        if self._queued is not None and not self._queued.add(self._account, message.size):
            return None
        self._size += message.size
        if self.connected and len(self._in_flight) < self._window:
            return self._send(message)
        self._waiting.append(message)
        return b""

    def acknowledged(self, kind: PacketType, packet_id: int) -> bytes:
        """Takes PUBACK, PUBREC or PUBCOMP; PUBREC is always answered, so that the client can go on."""
        message = self._in_flight.get(packet_id)
        if kind is PacketType.PUBREC:
            if message is not None:
                message.received = True
            return encode_ack(PacketType.PUBREL, packet_id)
        if message is None or (kind is PacketType.PUBACK) != (message.qos == 1):
            return b""
        del self._in_flight[packet_id]
        self._size -= message.size
        if self._queued is not None:
            self._queued.remove(self._account, message.size)
        return self._send(self._waiting.popleft()) if self._waiting else b""

    def expects(self, kind: PacketType, packet_id: int) -> bool:
        """True when this acknowledgement, PUBACK, PUBREC or PUBCOMP, is due for a message in flight."""
        message = self._in_flight.get(packet_id)
        if message is None:
            return False
        if kind is PacketType.PUBACK:
            return message.qos == 1
        return message.qos == 2 and message.received == (kind is PacketType.PUBCOMP)

    def clear(self) -> None:
        """Forgets all messages: the session has ended."""
        if self._queued is not None and self._size:
            self._queued.remove(self._account, self._size)
        self._in_flight.clear()
        self._waiting.clear()
        self._size = 0
        self.connected = False

    def suspend(self) -> None:
        """Keeps messages from now on: the client is gone."""
        self.connected = False

    def resume(self) -> bytes:
        """Sends messages again that were not acknowledged, in order, then those that waited."""
        self.connected = True
        packets = [
            encode_ack(PacketType.PUBREL, packet_id)
            if message.received
            else encode_publish(
                message.topic, message.payload, message.qos, message.retain, dup=True, packet_id=packet_id
            )
            for packet_id, message in self._in_flight.items()
        ]
        while self._waiting and len(self._in_flight) < self._window:
            packets.append(self._send(self._waiting.popleft()))
        return b"".join(packets)

    def _send(self, message: _Message) -> bytes:
        packet_id = self._last_id % 0xFFFF + 1
        while packet_id in self._in_flight:
            packet_id = packet_id % 0xFFFF + 1
        self._last_id = packet_id
        self._in_flight[packet_id] = message
        return encode_publish(
            message.topic, message.payload, message.qos, message.retain, packet_id=packet_id
        )
