"""The client that says exactly what it is told, in packets of MQTT 5."""

from typing import Any

from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import PacketType, Will, encode_connect
from mimi_mqtt.wire.mqtt5 import Ack, Closing, Connack, FilterRequest, Publish, SubscribeAnswer
from mimi_mqtt.wire.mqtt_properties import NO_PROPERTIES, Properties
from mimi_mqtt.wire.mqtt_reasons import Reason
from tests.integration.mqtt.conftest import PASSWORDS, Running
from tests.integration.mqtt.raw import RawClient


class RawClient5(RawClient):
    """`connack_properties` are those that the server greeted it with."""

    connack_properties: Properties = NO_PROPERTIES

    @classmethod
    async def connected(
        cls,
        mqtt: Running,
        client_id: str = "five",
        username: str | None = "admin",
        *,
        clean: bool = True,
        keepalive_s: int = 60,
        will: Will | None = None,
        source: str | None = None,
        **properties: Any,
    ) -> "RawClient5":
        """A client that is connected by MQTT 5, without a user name when `username` is None."""
        client, connack = await cls.greeted(
            mqtt, client_id, username, clean=clean, keepalive_s=keepalive_s, will=will, source=source,
            **properties,
        )  # fmt: skip
        assert connack.reason is Reason.SUCCESS, connack
        return client

    @classmethod
    async def greeted(
        cls,
        mqtt: Running,
        client_id: str = "five",
        username: str | None = "admin",
        *,
        clean: bool = True,
        keepalive_s: int = 60,
        will: Will | None = None,
        source: str | None = None,
        password: bytes | None = None,
        **properties: Any,
    ) -> "tuple[RawClient5, Connack]":
        """A client and the CONNACK that answered it; the other keywords are CONNECT's properties."""
        client = await cls.open(mqtt.port, source=source)
        assert isinstance(client, RawClient5)
        mqtt.clients.append(client)
        await client.send(
            encode_connect(
                client_id,
                username=username,
                password=password or (PASSWORDS[username] if username else None),
                keepalive_s=keepalive_s,
                clean_session=clean,
                will=will,
                protocol_level=5,
                properties=Properties(**properties),
            )
        )
        connack = mqtt5.parse_connack(await client.expect(PacketType.CONNACK))
        client.session_present = connack.session_present
        client.connack_properties = connack.properties
        return client, connack

    async def ask(self, *filters: str | FilterRequest, identifier: int | None = None) -> SubscribeAnswer:
        """Subscribes; the SUBACK. A filter alone is asked for with QoS 2."""
        requests = tuple(FilterRequest(each, 2) if isinstance(each, str) else each for each in filters)
        self._packet_id += 1
        await self.send(mqtt5.encode_subscribe(self._packet_id, requests, identifier))
        answer = mqtt5.parse_subscribe_answer(await self.expect(PacketType.SUBACK))
        assert answer.packet_id == self._packet_id
        return answer

    async def leave(self, *filters: str) -> tuple[Reason, ...]:
        """Unsubscribes; the reasons of UNSUBACK."""
        self._packet_id += 1
        await self.send(mqtt5.encode_unsubscribe(self._packet_id, filters))
        return mqtt5.parse_subscribe_answer(await self.expect(PacketType.UNSUBACK)).reasons

    async def say(
        self, topic: str, payload: bytes = b"", qos: int = 1, retain: bool = False, **properties: Any
    ) -> Ack:
        """Publishes with QoS 1 or 2; PUBACK, or PUBREC, when the exchange is complete."""
        self._packet_id += 1
        known = Properties(**properties)
        packet = mqtt5.encode_publish(topic, payload, qos, retain, False, self._packet_id, known)
        await self.send(packet)
        ack = mqtt5.parse_ack(await self.expect(PacketType.PUBACK if qos == 1 else PacketType.PUBREC))
        if qos == 2 and ack.reason < 0x80:
            await self.send(mqtt5.encode_ack(PacketType.PUBREL, self._packet_id))
            await self.expect(PacketType.PUBCOMP)
        return ack

    async def heard(self) -> Publish:
        """The next message, acknowledged when it has QoS 1."""
        message = mqtt5.parse_publish(await self.expect(PacketType.PUBLISH))
        if message.qos == 1 and message.packet_id is not None:
            await self.send(mqtt5.encode_ack(PacketType.PUBACK, message.packet_id))
        return message

    async def nothing(self) -> None:
        """Holds the server to have sent nothing."""
        assert await self.round_trip() == []

    async def told(self) -> Closing:
        """The DISCONNECT with which the server closes the connection."""
        packets = await self.closed()
        assert packets, "closed without a DISCONNECT"
        assert packets[-1].type is PacketType.DISCONNECT, packets
        return mqtt5.parse_closing(packets[-1])

    async def goodbye(self, reason: Reason = Reason.SUCCESS, expiry_s: int | None = None) -> None:
        """Disconnects; returns when the server closed."""
        properties = NO_PROPERTIES if expiry_s is None else Properties(session_expiry_s=expiry_s)
        await self.send(mqtt5.encode_closing(PacketType.DISCONNECT, reason, properties))
        assert await self.closed() == []
