"""A device's connection by MQTT 5: the rules of `device` in the packets of that version.

No firmware known speaks it by default; clients of other makers can. A device has no session to resume and no
subscription, so little of the version matters: what is pushed to it keeps to the limits that its CONNECT
named, and every end that the server decides on has its reason.
"""

import asyncio

from mimi_mqtt.errors import MqttError
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.device import DeviceConnection, DeviceHost
from mimi_mqtt.transports.mqtt.forms import Form5
from mimi_mqtt.transports.mqtt.gate import Admission
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.refusals import short_packets
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import PINGRESP, PacketType, Publish, RawPacket
from mimi_mqtt.wire.mqtt_properties import Properties
from mimi_mqtt.wire.mqtt_reasons import FAILURE, FROM_CLIENTS, Reason
from mimi_mqtt.wire.topics import device_topic


class DeviceConnection5(DeviceConnection):
    """One native device that connected by MQTT 5."""

    __slots__ = ("_form", "_refusal")

    def __init__(
        self, host: DeviceHost, transport: asyncio.Transport, device_id: str, admission: Admission
    ) -> None:
        super().__init__(host, transport, device_id, admission)
        asked = admission.connect.properties
        self._form = Form5(asked)
        properties = Properties(
            session_expiry_s=0 if asked.session_expiry_s else None,  # a device has nothing to resume
            receive_maximum=limits.MAX_UNRELEASED,
            maximum_packet_bytes=host.settings.max_device_packet_bytes,
        )
        self._outgoing = mqtt5.encode_connack(Reason.SUCCESS, properties=properties)
        too_long = len(self._outgoing) > self._form.max_packet_bytes
        self._refusal = short_packets(admission.connect) if too_long else None

    def start(self, admission: Admission) -> None:
        """Accepts the connection, unless the device allows no packet as long as CONNACK."""
        if self._refusal is None:
            super().start(admission)
            return
        self._host.counters.limit(self._refusal.reason, f"{self.device_id}: {self._refusal.detail}")
        self._outgoing = self._refusal.answer  # in place of CONNACK, and of what was pushed behind it
        self._end(self._refusal.detail, None)

    def send(self, payload: bytes) -> None:
        """Pushes one control message; dropped when the connection is closed, or the device takes no packet as
        long."""
        if not self._open:
            return
        packet = self._form.publish(Message(device_topic(self.device_id, "down"), payload), self._last_heard)
        if packet is None:
            detail = f"{self.device_id} takes no packet as long as a message of {len(payload)} bytes: dropped"
            self._host.counters.limit("client_packet_size", detail)
            return
        self._pushed(packet, payload)

    def close(self, reason: str, code: Reason = Reason.ADMINISTRATIVE_ACTION) -> None:
        """Ends the connection; the device is told why."""
        if self._open:
            self._write(self._form.disconnect(code, reason))
        super().close(reason, code)

    def _fail(self, error: MqttError) -> None:
        if self._open:
            self._write(self._form.disconnect(Reason(error.reason_code), str(error)))
        super()._fail(error)

    def _silent(self) -> None:
        text = f"nothing came for one and a half keepalives, {self._keepalive_limit:g} s: send PINGREQ"
        self._write(self._form.disconnect(Reason.KEEP_ALIVE_TIMEOUT, text))
        self._end("keepalive expired", self._will)

    def _packet(self, packet: RawPacket) -> None:
        kind = packet.type
        self._host.counters.bytes_in += len(packet.raw)
        if kind is PacketType.PUBLISH:
            self._host.counters.messages_in += 1
            self._publish(self._parsed(packet))
        elif kind is PacketType.PINGREQ:
            self._write(PINGRESP)
        elif kind is PacketType.PUBREL:
            packet_id = mqtt5.parse_ack(packet).packet_id
            if self._unreleased:
                self._unreleased.discard(packet_id)
            self._write(self._form.ack(PacketType.PUBCOMP, packet_id))
        elif kind is PacketType.SUBSCRIBE:
            subscribe = mqtt5.parse_subscribe(packet)
            granted = tuple(Reason(min(each.qos, 1)) for each in subscribe.filters)
            self._write(self._form.suback(subscribe.packet_id, granted))
        elif kind is PacketType.UNSUBSCRIBE:
            unsubscribe = mqtt5.parse_unsubscribe(packet)
            reasons = (Reason.SUCCESS,) * len(unsubscribe.filters)
            self._write(self._form.unsuback(unsubscribe.packet_id, reasons))
        elif kind is PacketType.DISCONNECT:
            reason = mqtt5.parse_closing(packet).reason
            if reason not in FROM_CLIENTS:
                raise MqttError(f"a device's DISCONNECT with 0x{reason:02x}", Reason.PROTOCOL_ERROR)
            self._end("disconnected", None if reason is Reason.SUCCESS else self._will)
        elif kind in (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBCOMP):
            mqtt5.parse_ack(packet)
        else:
            raise MqttError(f"{kind.name} from a client that is connected", Reason.PROTOCOL_ERROR)

    def _parsed(self, packet: RawPacket) -> Publish:
        return Publish(*mqtt5.parse_client_publish(packet)[:6])

    def _ack(self, kind: PacketType, packet_id: int, reason: Reason) -> bytes:
        if reason >= FAILURE and self._unreleased:
            self._unreleased.discard(packet_id)
        return self._form.ack(kind, packet_id, reason)
