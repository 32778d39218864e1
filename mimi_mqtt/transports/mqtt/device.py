"""A device's connection, served here: a parser and a write buffer, under 3 kB.

A device never subscribes and is pushed to nevertheless; desktop clients do subscribe, to their own topic.
What a device publishes on its own topic goes to the sessions; on any other it is acknowledged, counted and
dropped (MQTT 3.1.1 section 3.3.5; a device with stale settings should not reconnect in a circle). Pushes are
published with QoS 0, so they are delivered with QoS 0 whatever was granted (section 3.8.4).
"""

import asyncio
from typing import Protocol

from mimi_mqtt.config.settings import MqttSettings
from mimi_mqtt.errors import MqttError
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.addresses import local_host
from mimi_mqtt.transports.mqtt.allowance import Allowance
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.delivery import undelivered
from mimi_mqtt.transports.mqtt.gate import Admission
from mimi_mqtt.wire.mqtt import (
    PINGRESP,
    SUBSCRIBE_FAILURE,
    PacketType,
    Publish,
    RawPacket,
    Will,
    encode_ack,
    encode_connack,
    encode_publish,
    encode_suback,
    encode_unsuback,
    parse_packet_id,
    parse_publish,
    parse_subscribe,
    parse_unsubscribe,
)
from mimi_mqtt.wire.topics import device_topic


class DeviceHost(Protocol):
    """What a device connection needs of the server."""

    settings: MqttSettings
    counters: Counters

    def clock(self) -> float:
        """Monotonic seconds."""

    def device_message(self, device: "DeviceConnection", payload: bytes) -> None:
        """The device published on its topic."""

    def device_sent(self, device: "DeviceConnection", payload: bytes) -> None:
        """A message was pushed to the device."""

    def device_closed(self, device: "DeviceConnection", reason: str, will: Will | None) -> None:
        """The device is gone; `will` is set when it left without DISCONNECT."""

    def finish(self, transport: asyncio.Transport) -> None:
        """Closes a transport within bounds."""

    def released(self) -> None:
        """The socket is closed."""


class DeviceConnection(asyncio.Protocol):
    """One native device: an asyncio protocol below and a `session.link.ControlChannel` above."""

    __slots__ = (
        "_allowance", "_excess", "_host", "_keepalive_limit", "_last_heard", "_open",
        "_reader", "_transport", "_unreleased", "_will", "device_id",
    )  # fmt: skip

    transport = "mqtt"
    is_tester = False

    def __init__(
        self, host: DeviceHost, transport: asyncio.Transport, device_id: str, admission: Admission
    ) -> None:
        self.device_id = device_id
        self._host = host
        self._transport = transport
        self._reader = admission.reader
        self._reader.max_packet_bytes = host.settings.max_device_packet_bytes
        self._will = admission.connect.will
        self._keepalive_limit = admission.connect.keepalive_s * 1.5
        self._last_heard = host.clock()
        burst = host.settings.device_messages_per_s * limits.BURST_FACTOR
        self._allowance = Allowance(burst, self._last_heard)
        self._excess = 0
        self._unreleased: set[int] | None = None
        self._open = True

    def start(self, admission: Admission) -> None:
        """Accepts the connection, and takes what the device sent behind CONNECT without waiting."""
        self._transport.write(encode_connack(0))
        if admission.packets or admission.rest:
            self._packets(admission.packets)
            self.data_received(admission.rest)

    # ── ControlChannel ──────────────────────────────────────────────────────────────────────────────────

    @property
    def local_host(self) -> str | None:
        """Our address that the device reached."""
        return local_host(self._transport)

    def send(self, payload: bytes) -> None:
        """Pushes one control message; dropped when the connection is closed."""
        if self._open:
            self._write(encode_publish(device_topic(self.device_id, "down"), payload))
            self._host.counters.messages_out += 1
            self._host.device_sent(self, payload)

    def undelivered(self) -> int:
        """Bytes written that the device's TCP has not acknowledged."""
        return undelivered(self._transport)

    def close(self, reason: str) -> None:
        """Ends the connection."""
        self._end(reason, None)

    # ── asyncio.Protocol ────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Bytes came from the device."""
        self._last_heard = self._host.clock()
        # In slices: a flood ends the connection before all of it was looked at.
        for start in range(0, len(data), limits.SLICE_BYTES):
            if not self._open:
                return
            try:
                packets = self._reader.feed(data[start : start + limits.SLICE_BYTES])
            except MqttError as error:
                self._fail(error)
            else:
                self._packets(packets)

    def pause_writing(self) -> None:
        """The device reads so slowly that its write buffer is full: it is cut off."""
        self._host.counters.limit("slow_reader", f"{self.device_id} reads too slowly")
        self._transport.abort()
        self._end("too slow: its write buffer is full", self._will)

    def eof_received(self) -> bool:
        """The device sends no more: the connection closes."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._end("connection lost", self._will)
        self._host.released()

    def check_keepalive(self, now: float) -> None:
        """Ends the connection when nothing came for one and a half keepalives (section 3.1.2.10)."""
        if self._keepalive_limit and now - self._last_heard > self._keepalive_limit:
            self._host.counters.limits["keepalive"] += 1
            self._transport.abort()
            self._end("keepalive expired", self._will)

    # ── packets ─────────────────────────────────────────────────────────────────────────────────────────

    def _packets(self, packets: list[RawPacket]) -> None:
        try:
            while packets:
                for packet in packets:
                    if not self._open:
                        return
                    if self._allowed():
                        self._packet(packet)
                packets = self._reader.feed(b"")
        except MqttError as error:
            self._fail(error)

    def _packet(self, packet: RawPacket) -> None:
        kind = packet.type
        self._host.counters.bytes_in += len(packet.raw)
        if kind is PacketType.PUBLISH:
            self._host.counters.messages_in += 1
            self._publish(parse_publish(packet))
        elif kind is PacketType.PINGREQ:
            self._write(PINGRESP)
        elif kind is PacketType.PUBREL:
            packet_id = parse_packet_id(packet)
            if self._unreleased:
                self._unreleased.discard(packet_id)
            self._write(encode_ack(PacketType.PUBCOMP, packet_id))
        elif kind is PacketType.SUBSCRIBE:
            subscribe = parse_subscribe(packet)
            own = device_topic(self.device_id, "down")
            codes = tuple(
                min(qos, 1) if name == own else SUBSCRIBE_FAILURE for name, qos in subscribe.filters
            )
            if SUBSCRIBE_FAILURE in codes:
                self._host.counters.limit("forbidden_subscribe", f"{self.device_id} may only read {own}")
            self._write(encode_suback(subscribe.packet_id, codes))
        elif kind is PacketType.UNSUBSCRIBE:
            self._write(encode_unsuback(parse_unsubscribe(packet).packet_id))
        elif kind is PacketType.DISCONNECT:
            self._end("disconnected", None)
        elif kind in (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBCOMP):
            parse_packet_id(packet)
        else:
            raise MqttError(f"{kind.name} from a client that is connected")

    def _publish(self, publish: Publish) -> None:
        packet_id = publish.packet_id
        if publish.qos == 2 and packet_id is not None:
            if self._unreleased is None:
                self._unreleased = set()
            if packet_id in self._unreleased:
                self._write(encode_ack(PacketType.PUBREC, packet_id))
                return
            if len(self._unreleased) >= limits.MAX_UNRELEASED:
                raise MqttError("too many QoS 2 messages without PUBREL")
            self._unreleased.add(packet_id)
        if publish.topic == device_topic(self.device_id, "up"):
            self._host.device_message(self, publish.payload)
        else:
            detail = f"{self.device_id} may not publish on {publish.topic[:80]!r}: dropped"
            self._host.counters.limit("forbidden_publish", detail)
        if packet_id is not None:
            kind = PacketType.PUBACK if publish.qos == 1 else PacketType.PUBREC
            self._write(encode_ack(kind, packet_id))

    def _allowed(self) -> bool:
        """Takes one packet from the device's allowance; beyond it packets are dropped, a flood is cut off."""
        rate = self._host.settings.device_messages_per_s
        burst = rate * limits.BURST_FACTOR
        if self._allowance.take(rate, burst, self._last_heard):
            if self._allowance.left > burst / 2:
                self._excess = 0
            return True
        self._excess += 1
        self._host.counters.limit(
            "message_rate", f"{self.device_id} sends more than {rate:g} messages/s: dropped"
        )
        if self._excess > burst * limits.FLOOD_FACTOR:
            self._transport.abort()
            self._end("flooding", None)
        return False

    def _write(self, data: bytes) -> None:
        if self._open:
            self._host.counters.bytes_out += len(data)
            self._transport.write(data)

    def _fail(self, error: MqttError) -> None:
        self._host.counters.limit("bad_packet", f"{self.device_id}: {error}")
        self._end(f"protocol error: {error}", self._will)

    def _end(self, reason: str, will: Will | None) -> None:
        if self._open:
            self._open = False
            self._will = None
            self._host.finish(self._transport)
            self._host.device_closed(self, reason, will)
