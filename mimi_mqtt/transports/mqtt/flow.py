"""Outgoing QoS of one client: packet ids, messages in flight and waiting, redelivery; pure.

MQTT 3.1.1 and 5, sections 4.3 and 4.4. A client that acknowledges slowly has at most `window` messages in
flight (MQTT 5: not more than its receive maximum); the rest waits here, bounded in bytes, and so does
everything for a session while its client is away. All clients of one account, and all clients, have bounds
too (`Amounts`).
"""

import math
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from mimi_mqtt.shares import Amounts
from mimi_mqtt.transports.mqtt.forms import FORM_311, Form
from mimi_mqtt.transports.mqtt.limits import MAX_IN_FLIGHT, RESERVED_BYTES
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.wire.mqtt import PacketType
from mimi_mqtt.wire.mqtt_reasons import FAILURE, Reason

_OVERHEAD_BYTES = 200
_IDENTIFIER_BYTES = 8
_LOOKED_FOR_EVERY_S = 1.0


@dataclass(slots=True)
class _Outgoing:
    message: Message
    qos: int
    retain: bool
    identifiers: tuple[int, ...]
    group: Hashable | None
    received: bool = False  # QoS 2: PUBREC came, PUBREL was sent
    on_wire: bool = False  # sent on this connection
    counted: bool = True  # in the share of its account

    @property
    def size(self) -> int:
        return self.message.size + _OVERHEAD_BYTES + _IDENTIFIER_BYTES * len(self.identifiers)


class OutgoingFlow:
    """Messages to one client; methods return the bytes to write now, `b""` for nothing.

    While `connected` is false QoS 0 is dropped, and QoS 1 and 2 wait for `resume`. `queued`, when given,
    bounds the bytes of all flows of `account`. `form` encodes for the client's protocol version.
    """

    __slots__ = (
        "_account", "_counted", "_in_flight", "_last_id", "_look_again_at", "_max_bytes", "_on_wire",
        "_queued", "_size", "_to_repeat", "_waiting", "_window", "connected", "form", "too_long",
    )  # fmt: skip

    def __init__(
        self, max_bytes: int, window: int = MAX_IN_FLIGHT, queued: Amounts | None = None, account: str = ""
    ) -> None:
        self.connected = True
        self.form: Form = FORM_311
        self.too_long = 0
        """Messages that were dropped because they are longer than the client allows."""
        self._max_bytes = max_bytes
        self._queued = queued
        self._account = account
        self._window = window
        self._in_flight: dict[int, _Outgoing] = {}
        self._waiting: deque[_Outgoing] = deque()
        self._to_repeat: deque[int] = deque()  # packet ids
        self._on_wire = 0
        self._size = 0
        self._counted = 0  # of these bytes, those in the account's share
        self._last_id = 0
        self._look_again_at = -math.inf

    @property
    def pending(self) -> int:
        """Messages in flight or waiting."""
        return len(self._in_flight) + len(self._waiting)

    @property
    def ready(self) -> bool:
        """True when a message would be sent at once."""
        return self.connected and self._on_wire < self._window and not self._to_repeat

    def has_room(self, size: int) -> bool:
        """True when a QoS 1 or 2 message of so many bytes that can wait may be taken now: half of the room is
        left to those that can't."""
        return not self.pending or self._size + size + _OVERHEAD_BYTES <= self._max_bytes // 2

    def publish(
        self,
        message: Message,
        now: float,
        qos: int,
        retain: bool = False,
        identifiers: tuple[int, ...] = (),
        group: Hashable | None = None,
    ) -> bytes | None:
        """Takes one message; returns None when there is no room for it, and takes nothing.

        `group` is that of a shared subscription, which has it back when the session ends.
        """
        if qos == 0:
            if not self.connected:
                return b""
            packet = self.form.publish(message, now, 0, retain, identifiers=identifiers)
            if packet is None:
                self.too_long += 1
            return packet or b""
        outgoing = _Outgoing(message, qos, retain, identifiers, group)
        if self._size + outgoing.size > self._max_bytes and self.pending:
            self._drop_expired(now)
            if self._size + outgoing.size > self._max_bytes and self.pending:
                return None
        if not self._count(outgoing, now):
            return None
        self._size += outgoing.size
        if self.ready:
            return self._send(outgoing, now) or b""
        self._waiting.append(outgoing)
        return b""

    def _count(self, outgoing: _Outgoing, now: float) -> bool:
        """Counts a message to its account; False when there is no room for it."""
        if self._queued is None:
            return True
        size = outgoing.size
        if not self._queued.add(self._account, size):
            self._drop_expired(now)
            if not self._queued.add(self._account, size):
                outgoing.counted = False
                return self.ready and (not self.pending or self._size + size <= RESERVED_BYTES)
        self._counted += size
        return True

    def acknowledged(
        self, kind: PacketType, packet_id: int, now: float, reason: Reason = Reason.SUCCESS
    ) -> bytes:
        """Takes PUBACK, PUBREC or PUBCOMP that does not contradict a message in flight; PUBREC is always
        answered, so that the client can go on.

        A PUBREC with a failure ends the exchange (MQTT 5 section 4.3.3).
        """
        outgoing = self._in_flight.get(packet_id)
        if kind is PacketType.PUBREC and reason < FAILURE:
            if outgoing is None:
                return self.form.ack(PacketType.PUBREL, packet_id, Reason.PACKET_ID_NOT_FOUND)
            outgoing.received = True
            return self.form.ack(PacketType.PUBREL, packet_id)
        if outgoing is None:
            return b""
        del self._in_flight[packet_id]
        self._on_wire -= outgoing.on_wire
        self._release(outgoing)
        return self._send_waiting(now)

    def expects(self, kind: PacketType, packet_id: int) -> bool:
        """True when this acknowledgement, PUBACK, PUBREC or PUBCOMP, is due for a message in flight."""
        outgoing = self._in_flight.get(packet_id)
        if outgoing is None:
            return False
        if kind is PacketType.PUBACK:
            return outgoing.qos == 1
        return outgoing.qos == 2 and outgoing.received == (kind is PacketType.PUBCOMP)

    def contradicts(self, kind: PacketType, packet_id: int) -> bool:
        """True when a message in flight has this id and no acknowledgement of this kind belongs to it: PUBACK
        of QoS 2, PUBREC or PUBCOMP of QoS 1, PUBCOMP before PUBREC. A PUBREC may come twice."""
        outgoing = self._in_flight.get(packet_id)
        if outgoing is None:
            return False
        if kind is PacketType.PUBCOMP:
            return not outgoing.received
        return (kind is PacketType.PUBACK) != (outgoing.qos == 1)

    def clear(self) -> list[tuple[Message, Hashable]]:
        """Forgets all messages: the session has ended. Returns those of groups that may go to another member:
        all but the QoS 2 messages that this client may have received (MQTT 5 section 4.8.2)."""
        if self._queued is not None and self._counted:
            self._queued.remove(self._account, self._counted)
        handed_on = [
            (outgoing.message, outgoing.group)
            for outgoing in (*(sent for sent in self._in_flight.values() if sent.qos == 1), *self._waiting)
            if outgoing.group is not None
        ]
        self._in_flight.clear()
        self._waiting.clear()
        self._to_repeat.clear()
        self._size = self._counted = self._on_wire = 0
        self.connected = False
        return handed_on

    def suspend(self) -> None:
        """Keeps messages from now on: the client is gone."""
        self.connected = False

    def begin(self, form: Form, window: int) -> None:
        """Takes the form of packets and the number of unacknowledged messages of a new connection."""
        self.form, self._window = form, window

    def resume(self, now: float) -> bytes:
        """Sends messages again that were not acknowledged, in order, then those that waited; as many as the
        window has room for, which begins anew (MQTT 5 section 4.9)."""
        self.connected = True
        self._on_wire = 0
        self._to_repeat.clear()
        packets: list[bytes] = []
        for packet_id, outgoing in list(self._in_flight.items()):
            outgoing.on_wire = outgoing.received
            self._on_wire += outgoing.on_wire
            if outgoing.received:
                packets.append(self.form.ack(PacketType.PUBREL, packet_id))
            else:
                self._to_repeat.append(packet_id)
                packets.append(self._repeat(now))
        packets.append(self._send_waiting(now))
        return b"".join(packets)

    def _repeat(self, now: float) -> bytes:
        """Sends messages of an earlier connection again, as many as there is room for."""
        packets: list[bytes] = []
        while self._to_repeat and self._on_wire < self._window:
            packet_id = self._to_repeat.popleft()
            outgoing = self._in_flight.get(packet_id)
            if outgoing is None or outgoing.received:  # acknowledged late, for the earlier connection
                continue
            packet = self._encode(outgoing, packet_id, now, dup=True)
            if packet is None:
                del self._in_flight[packet_id]
                self._release(outgoing)
                continue
            outgoing.on_wire = True
            self._on_wire += 1
            packets.append(packet)
        return b"".join(packets)

    def _send_waiting(self, now: float) -> bytes:
        packets = [self._repeat(now)]
        while self._waiting and self.ready:
            outgoing = self._waiting.popleft()
            if outgoing.message.expired(now):
                self._release(outgoing)
                continue
            packet = self._send(outgoing, now)
            if packet is not None:
                packets.append(packet)
        return b"".join(packets)

    def _send(self, outgoing: _Outgoing, now: float) -> bytes | None:
        packet_id = self._last_id % 0xFFFF + 1
        while packet_id in self._in_flight:
            packet_id = packet_id % 0xFFFF + 1
        packet = self._encode(outgoing, packet_id, now)
        if packet is None:
            self._release(outgoing)
            return None
        self._last_id = packet_id
        self._in_flight[packet_id] = outgoing
        outgoing.on_wire = True
        self._on_wire += 1
        return packet

    def _encode(self, outgoing: _Outgoing, packet_id: int, now: float, *, dup: bool = False) -> bytes | None:
        packet = self.form.publish(
            outgoing.message, now, outgoing.qos, outgoing.retain, dup, packet_id, outgoing.identifiers
        )
        if packet is None:
            self.too_long += 1
        return packet

    def _drop_expired(self, now: float) -> None:
        """Makes room of messages that wait and may no longer be sent; looks for them once in a while."""
        if now < self._look_again_at:
            return
        self._look_again_at = now + _LOOKED_FOR_EVERY_S
        kept: deque[_Outgoing] = deque()
        for outgoing in self._waiting:
            if outgoing.message.expired(now):
                self._release(outgoing)
            else:
                kept.append(outgoing)
        self._waiting = kept

    def _release(self, outgoing: _Outgoing) -> None:
        self._size -= outgoing.size
        if self._queued is not None and outgoing.counted:
            self._counted -= outgoing.size
            self._queued.remove(self._account, outgoing.size)
