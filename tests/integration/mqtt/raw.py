"""A client that says exactly what it is told, good or bad, and sees every packet that comes back."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from typing import Any

from mimi_mqtt.wire.mqtt import (
    PINGREQ,
    PacketReader,
    PacketType,
    Publish,
    RawPacket,
    Will,
    encode_connect,
    encode_publish,
    encode_subscribe,
    parse_publish,
)

PATIENCE_S = 20.0


def trusting_context() -> ssl.SSLContext:
    """TLS without looking at the certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class RawClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._packets = PacketReader(10_000_000)
        self._queue: deque[RawPacket] = deque()
        self._packet_id = 0

    @classmethod
    async def open(
        cls, port: int, *, receive_buffer: int | None = None, tls: bool = False, source: str | None = None
    ) -> "RawClient":
        """Connects from the address `source`, one of 127.0.0.0/8."""
        sock = socket.socket()
        if source is not None:
            sock.bind((source, 0))
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        context = trusting_context() if tls else None
        name = "127.0.0.1" if tls else None
        return cls(*await asyncio.open_connection(sock=sock, limit=1024, ssl=context, server_hostname=name))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def packet(self) -> RawPacket | None:
        """The next packet, or None when the server closed the connection."""
        while not self._queue:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    data = await self._reader.read(65_536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._queue.extend(self._packets.feed(data))
        return self._queue.popleft()

    async def expect(self, kind: PacketType) -> RawPacket:
        packet = await self.packet()
        assert packet is not None, f"closed instead of {kind.name}"
        assert packet.type is kind, f"{packet.type.name} instead of {kind.name}"
        return packet

    async def publish_received(self) -> Publish:
        return parse_publish(await self.expect(PacketType.PUBLISH))

    async def closed(self) -> list[RawPacket]:
        """Waits until the server closes; what came before."""
        packets = []
        while (packet := await self.packet()) is not None:
            packets.append(packet)
        return packets

    async def connack_if_any(
        self, client_id: str, username: str, password: str, **options: Any
    ) -> int | None:
        """The return code of CONNACK; None when the server closes the connection instead."""
        try:
            return await self.connack(client_id, username, password, **options)
        except (AssertionError, ConnectionError):
            return None

    async def connack(
        self,
        client_id: str,
        username: str | None = None,
        password: str | None = None,
        *,
        keepalive_s: int = 60,
        clean_session: bool = True,
        will: Will | None = None,
        protocol_level: int = 4,
    ) -> int:
        """Sends CONNECT; CONNACK's return code. The session-present flag is in `session_present`."""
        await self.send(
            encode_connect(
                client_id,
                username=username,
                password=None if password is None else password.encode(),
                keepalive_s=keepalive_s,
                clean_session=clean_session,
                will=will,
                protocol_level=protocol_level,
            )
        )
        packet = await self.expect(PacketType.CONNACK)
        self.session_present = bool(packet.body[0])
        return packet.body[1]

    async def subscribe(self, *filters: tuple[str, int]) -> tuple[int, ...]:
        """The return codes of SUBACK."""
        self._packet_id += 1
        await self.send(encode_subscribe(self._packet_id, filters))
        packet = await self.expect(PacketType.SUBACK)
        assert struct.unpack(">H", packet.body[:2])[0] == self._packet_id
        return tuple(packet.body[2:])

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """QoS 1: returns when the server acknowledged."""
        self._packet_id += 1
        await self.send(encode_publish(topic, payload, 1, retain, packet_id=self._packet_id))
        await self.expect(PacketType.PUBACK)

    async def publish_qos0(self, topic: str, payload: bytes) -> None:
        await self.send(encode_publish(topic, payload))

    async def round_trip(self) -> list[RawPacket]:
        """What arrived until the connection dealt with all that was sent before."""
        await self.send(PINGREQ)
        packets = []
        while (packet := await self.packet()) is not None and packet.type is not PacketType.PINGRESP:
            packets.append(packet)
        assert packet is not None, "closed"
        return packets

    async def settled(self) -> list[RawPacket]:
        """Like `round_trip`, for a general client: subscribing takes its place behind what was sent
        before."""
        self._packet_id += 1
        await self.send(encode_subscribe(self._packet_id, ((f"settled/{id(self)}", 0),)))
        packets = []
        while (packet := await self.packet()) is not None and packet.type is not PacketType.SUBACK:
            packets.append(packet)
        assert packet is not None, "closed"
        return packets

    def reset(self) -> None:
        """Ends the connection with RST, as a device that loses power behind a NAT does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
