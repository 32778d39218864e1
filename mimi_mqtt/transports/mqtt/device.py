"""A device's connection: a parser and a write buffer, under 3 kB.

A device is pushed to without a subscription: stock firmware never subscribes. Others do, some to topics of
their own making, and give up when refused (device contract, sections 3 and 8): every filter is granted and
changes nothing. Pushes are QoS 0, whatever was granted (MQTT 3.1.1 section 3.8.4). Messages on the device's
own topic go to the sessions; on any other they are acknowledged, counted and dropped (section 3.3.5): a
device with stale settings should not reconnect in a circle.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from mimi_mqtt.config.connections import MqttSettings
from mimi_mqtt.errors import MqttError
from mimi_mqtt.limits import TokenBucket
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.addresses import local_host, peer_host
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.delivery import never_acknowledged, round_trip_ms, undelivered
from mimi_mqtt.transports.mqtt.gate import Admission
from mimi_mqtt.wire.mqtt import (
    PINGRESP,
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
from mimi_mqtt.wire.mqtt_reasons import Reason
from mimi_mqtt.wire.topics import device_topic


class DeviceHost(Protocol):
    """The server as a device connection sees it."""

    settings: MqttSettings
    counters: Counters

    def clock(self) -> float:
        """Returns monotonic seconds."""

    def device_message(self, device: "DeviceConnection", payload: bytes) -> None:
        """Takes a message that the device published on its topic."""

    def device_sent(self, device: "DeviceConnection", payload: bytes) -> None:
        """Takes notice of a message that was pushed to the device."""

    def device_closed(self, device: "DeviceConnection", reason: str, will: Will | None) -> None:
        """Forgets a device; `will` is set when it left without DISCONNECT."""

    def finish(self, transport: asyncio.Transport) -> None:
        """Closes a transport within bounds."""

    def released(self) -> None:
        """Counts off a socket that is closed."""


class DeviceConnection(asyncio.Protocol):
    """One native device: an asyncio protocol below and a `session.link.ControlChannel` above."""

    __slots__ = (
        "_bucket", "_excess", "_host", "_joining", "_keepalive_limit", "_last_heard", "_open", "_outgoing",
        "_reader", "_recent", "_transport", "_unreleased", "_will", "device_id",
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
        rate = host.settings.device_messages_per_s
        self._bucket = TokenBucket(rate, rate * limits.BURST_FACTOR, self._last_heard)
        self._excess = 0
        self._unreleased: set[int] | None = None
        self._open = True
        self._recent: list[tuple[int, bytes]] | None = None  # messages that may be lost, with their wire size
        # CONNACK is the first packet, whatever is sent before `start`.
        self._outgoing = encode_connack(0)
        self._joining = True

    def start(self, admission: Admission) -> None:
        """Accepts the connection; takes the packets that the device sent right behind CONNECT."""
        self._packets(admission.packets)
        self.data_received(admission.rest)

    # ── ControlChannel ──────────────────────────────────────────────────────────────────────────────────

    @property
    def local_host(self) -> str | None:
        """The server address that the device reached."""
        return local_host(self._transport)

    @property
    def peer_host(self) -> str | None:
        """The address that the device connected from."""
        return peer_host(self._transport)

    def send(self, payload: bytes) -> None:
        """Pushes one control message; dropped when the connection is closed."""
        if self._open:
            self._pushed(encode_publish(device_topic(self.device_id, "down"), payload), payload)

    def _pushed(self, packet: bytes, payload: bytes) -> None:
        self._remember(len(packet), payload)
        self._write(packet)
        self._host.counters.messages_out += 1
        self._host.device_sent(self, payload)

    def undelivered(self) -> int:
        """Bytes written that the device's TCP has not acknowledged."""
        return len(self._outgoing) + undelivered(self._transport)

    def round_trip_ms(self) -> float | None:
        """The round-trip time that TCP measured."""
        return round_trip_ms(self._transport)

    def unacknowledged(self) -> Sequence[bytes]:
        """Messages that the device's TCP has not acknowledged, oldest first; after the end: those lost."""
        if not self._recent:
            return ()
        if not self._open:
            return [payload for _, payload in self._recent]
        left = len(self._outgoing) + never_acknowledged(self._transport)
        lost: list[bytes] = []
        for size, payload in reversed(self._recent):
            if left <= 0:
                break
            lost.append(payload)
            left -= size
        return lost[::-1]

    def close(self, reason: str, code: Reason = Reason.ADMINISTRATIVE_ACTION) -> None:
        """Ends the connection; MQTT 5 has the `code`."""
        self._end(reason, None)

    # ── asyncio.Protocol ────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Takes bytes from the device; the answers to them leave in one write."""
        self._last_heard = self._host.clock()
        self._joining = True
        try:
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
        finally:
            self._joining = False
            self._flush()

    def pause_writing(self) -> None:
        """Cuts off a device that reads so slowly that its write buffer is full."""
        self._host.counters.limit("slow_reader", f"{self.device_id} reads too slowly")
        self._recent = None  # what it could not take is not sent to it again
        self._transport.abort()
        self._end("too slow: its write buffer is full", self._will)

    def eof_received(self) -> bool:
        """Lets the connection close: the device sends no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the connection after its socket; the socket is counted off whatever that raises."""
        try:
            self._end("connection lost", self._will)
        finally:
            self._host.released()

    def check_keepalive(self, now: float) -> None:
        """Ends the connection when nothing came for one and a half keepalives (section 3.1.2.10)."""
        if self._recent and not self.undelivered():
            self._recent = None
        if self._keepalive_limit and now - self._last_heard > self._keepalive_limit:
            self._host.counters.limits["keepalive"] += 1
            self._silent()

    def _silent(self) -> None:
        self._transport.abort()
        self._end("keepalive expired", self._will)

    # ── packets ─────────────────────────────────────────────────────────────────────────────────────────

    def _packets(self, packets: list[RawPacket]) -> None:
        try:
            while True:
                for packet in packets:
                    if not self._open:
                        return
                    # A goodbye counts beyond the rate, too: without it the will would be delivered.
                    if self._allowed() or packet.type is PacketType.DISCONNECT:
                        self._packet(packet)
                if not self._open or not (packets := self._reader.feed(b"")):
                    return
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
            codes = tuple(min(qos, 1) for _, qos in subscribe.filters)
            self._write(encode_suback(subscribe.packet_id, codes))
        elif kind is PacketType.UNSUBSCRIBE:
            self._write(encode_unsuback(parse_unsubscribe(packet).packet_id))
        elif kind is PacketType.DISCONNECT:
            if packet.body:
                raise MqttError(f"DISCONNECT with {len(packet.body)} bytes behind its header")
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
                text = "too many QoS 2 messages without PUBREL"
                raise MqttError(text, Reason.RECEIVE_MAXIMUM_EXCEEDED)
            self._unreleased.add(packet_id)
        reason = Reason.SUCCESS
        if publish.topic == device_topic(self.device_id, "up"):
            self._host.device_message(self, publish.payload)
        else:
            detail = f"{self.device_id} may not publish on {publish.topic[:80]!r}: dropped"
            self._host.counters.limit("forbidden_publish", detail)
            reason = Reason.NOT_AUTHORIZED
        if packet_id is not None:
            kind = PacketType.PUBACK if publish.qos == 1 else PacketType.PUBREC
            self._write(self._ack(kind, packet_id, reason))

    def _ack(self, kind: PacketType, packet_id: int, reason: Reason) -> bytes:
        return encode_ack(kind, packet_id)

    def _allowed(self) -> bool:
        """Counts one packet; False beyond the device's rate: it is dropped, and a flood is cut off."""
        bucket = self._bucket
        if bucket.take(self._last_heard):
            if self._excess and bucket.left(self._last_heard) > bucket.burst / 2:
                self._excess = 0
            return True
        self._excess += 1
        self._host.counters.limit(
            "message_rate", f"{self.device_id} sends more than {bucket.rate:g} messages/s: dropped"
        )
        if self._excess > bucket.burst * limits.FLOOD_FACTOR:
            self._transport.abort()
            self._end("flooding", None)
        return False

    def _remember(self, size: int, payload: bytes) -> None:
        """Keeps a message until it is acknowledged: its connection may be dead without anybody's knowing."""
        recent = self._recent
        if recent is None:
            self._recent = [(size, payload)]
            return
        if len(recent) >= limits.CHECKED_FROM and not self.undelivered():
            recent.clear()
        elif len(recent) >= limits.MAX_REMEMBERED:
            del recent[0]
        recent.append((size, payload))

    def _write(self, data: bytes) -> None:
        """Queues whole packets; those of one turn of the loop leave in one write, so in one segment.

        That saves a radio its wake-ups. While bytes of the device are dealt with, `data_received` flushes;
        a full segment doesn't wait.
        """
        if not self._open:
            return
        self._host.counters.bytes_out += len(data)
        if self._outgoing:
            self._outgoing += data
        else:
            self._outgoing = data
            if not self._joining:
                asyncio.get_running_loop().call_soon(self._flush)
        if len(self._outgoing) >= limits.JOINED_BYTES:
            self._flush()

    def _flush(self) -> None:
        data, self._outgoing = self._outgoing, b""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _fail(self, error: MqttError) -> None:
        self._host.counters.limit("bad_packet", f"{self.device_id}: {error}")
        self._end(f"protocol error: {error}", self._will)

    def _end(self, reason: str, will: Will | None) -> None:
        if self._open:
            self._recent = [(0, payload) for payload in self.unacknowledged()]
            self._open = False
            self._will = None
            self._flush()
            self._host.finish(self._transport)
            self._host.device_closed(self, reason, will)
