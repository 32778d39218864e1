"""The gate: reads CONNECT, authenticates the client, and hands the connection over by role.

Until then a connection is a few hundred bytes here, bounded in number, size and time, and nothing it sends
has an effect on other clients: the old connection of a client ends only after the new one proved the same
identity.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import NamedTuple, cast

from mimi_mqtt.config.settings import MqttSettings
from mimi_mqtt.errors import MqttError
from mimi_mqtt.fleet.identity import Authenticator, Identity, Role
from mimi_mqtt.transports.mqtt.access import may_publish, subject
from mimi_mqtt.transports.mqtt.borders import run_each
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.limits import LINGER_S, MAX_CLIENT_ID_CHARS
from mimi_mqtt.wire.mqtt import (
    REFUSED_CLIENT_ID,
    REFUSED_CREDENTIALS,
    REFUSED_NOT_AUTHORIZED,
    REFUSED_PROTOCOL,
    REFUSED_UNAVAILABLE,
    Connect,
    PacketReader,
    PacketType,
    RawPacket,
    encode_connack,
    encode_connack_v5,
    parse_connect,
)

_V5_UNSUPPORTED = 0x84
_V5_REASON = "This broker speaks MQTT 3.1.1: choose protocol version 3.1.1 (mosquitto clients: -V mqttv311)"


class Admission(NamedTuple):
    """An authenticated connection: its CONNECT, its identity, and all that it sent since.

    That is `packets`, then what `reader` still holds, then the bytes of `rest`.
    """

    connect: Connect
    identity: Identity
    reader: PacketReader
    packets: list[RawPacket]
    rest: bytes


@dataclass(frozen=True, slots=True)
class Handover:
    """Receivers of admitted connections, by role; `holds` tells whether one would replace a connection."""

    device: Callable[[asyncio.Transport, Admission], None]
    general: Callable[[asyncio.Transport, Admission], None]
    holds: Callable[[Identity, str], bool]


class Gate:
    """Counts connections, authenticates them, and bounds the time they have for CONNECT."""

    def __init__(
        self,
        settings: MqttSettings,
        authenticator: Authenticator,
        counters: Counters,
        clock: Callable[[], float],
        handover: Handover,
    ) -> None:
        self.settings = settings
        self.counters = counters
        self.clock = clock
        self.handover = handover
        self._authenticator = authenticator
        self._pending: dict[GateConnection, float] = {}
        self._lingering: dict[asyncio.Transport, float] = {}
        self._open = 0
        self._accepting = True

    @property
    def open(self) -> int:
        """Connections that hold a socket, whatever their state."""
        return self._open

    def connection(self) -> "GateConnection":
        """Makes the protocol of a new socket; the protocol factory of every listener."""
        return GateConnection(self)

    # ── a connection's life ─────────────────────────────────────────────────────────────────────────────

    def arrived(self, connection: "GateConnection", transport: asyncio.Transport) -> bool:
        """Counts a new socket; False when it is dropped without an answer: the server stops, or too many have
        not sent CONNECT."""
        self._open += 1
        if not self._accepting:
            self.counters.refuse("stopping", _peer(transport))
            return False
        if len(self._pending) >= self.settings.max_pending_connects:
            self.counters.refuse("too_many_pending", _peer(transport))
            return False
        self._pending[connection] = self.clock()
        self.counters.pending = len(self._pending)
        return True

    def decided(self, connection: "GateConnection") -> None:
        """Forgets a pending connection that sent CONNECT, or is gone."""
        self._pending.pop(connection, None)
        self.counters.pending = len(self._pending)

    def released(self) -> None:
        """Counts off a socket that is closed."""
        self._open -= 1

    def finish(self, transport: asyncio.Transport) -> None:
        """Closes a connection after its last bytes, and soon without them when they can't be sent."""
        transport.close()
        if transport.get_write_buffer_size():
            self._lingering[transport] = self.clock() + LINGER_S

    def sweep(self, now: float) -> None:
        """Drops connections without CONNECT in time, and closed ones that still hold bytes."""
        latest = now - self.settings.connect_timeout_s
        late = takewhile(lambda item: item[1] <= latest, list(self._pending.items()))
        run_each(
            "gate",
            (
                *(connection.expire for connection, _ in late),
                *(partial(self._drop_lingering, transport, now) for transport in list(self._lingering)),
            ),
        )

    def _drop_lingering(self, transport: asyncio.Transport, now: float) -> None:
        # One without bytes has closed, or is about to, and asyncio's `abort` raises once it has.
        if not transport.get_write_buffer_size():
            del self._lingering[transport]
        elif now >= self._lingering[transport]:
            del self._lingering[transport]
            transport.abort()

    def stop_accepting(self) -> None:
        """Refuses every CONNECT from here on, also on connections that are open already."""
        self._accepting = False

    def abort_all(self) -> None:
        """Drops connections without CONNECT, and closed ones that still hold bytes."""
        for connection in list(self._pending):
            connection.expire()
        for transport in list(self._lingering):
            self._drop_lingering(transport, math.inf)

    # ── admission ───────────────────────────────────────────────────────────────────────────────────────

    def admit(
        self, transport: asyncio.Transport, packets: list[RawPacket], reader: PacketReader, rest: bytes
    ) -> None:
        """Answers CONNECT, the first of `packets`. Raises MqttError when it deserves no answer."""
        if packets[0].type is not PacketType.CONNECT:
            raise MqttError(f"{packets[0].type.name} before CONNECT")
        connect = parse_connect(packets[0])
        if connect.protocol_level == 5:
            self._refuse(transport, "protocol", encode_connack_v5(_V5_UNSUPPORTED, _V5_REASON), "MQTT 5")
        elif connect.protocol_level != 4 or connect.protocol_name != "MQTT":
            answer = encode_connack(REFUSED_PROTOCOL)
            self._refuse(transport, "protocol", answer, f"protocol level {connect.protocol_level}")
        elif (not connect.client_id and not connect.clean_session) or (
            len(connect.client_id) > MAX_CLIENT_ID_CHARS or not connect.client_id.isprintable()
        ):
            self._refuse(transport, "client_id", encode_connack(REFUSED_CLIENT_ID))
        elif not self._accepting:
            self._refuse(transport, "stopping", encode_connack(REFUSED_UNAVAILABLE), "the server stops")
        elif (identity := self._identify(connect)) is None:
            code = REFUSED_CREDENTIALS if connect.username else REFUSED_NOT_AUTHORIZED
            self._refuse(
                transport, "credentials", encode_connack(code), f"wrong password for {connect.username!r:.80}"
            )
        elif connect.will is not None and not may_publish(identity, connect.will.topic):
            detail = f"{subject(identity)} may not have a will on {connect.will.topic[:80]!r}"
            self._refuse(transport, "will", encode_connack(REFUSED_NOT_AUTHORIZED), detail)
        elif self._full(identity, connect.client_id):
            self._refuse(transport, "full", encode_connack(REFUSED_UNAVAILABLE), "max_connections is reached")
        else:
            self.counters.accepted[identity.role.value] += 1
            transport.set_write_buffer_limits(high=self.settings.max_write_buffer_bytes)
            if connect.keepalive_s == 0:
                _probe_when_silent(transport)
            take = self.handover.device if identity.role is Role.DEVICE else self.handover.general
            take(transport, Admission(connect, identity, reader, packets[1:], rest))

    def _identify(self, connect: Connect) -> Identity | None:
        return self._authenticator.authenticate(connect.client_id, connect.username, connect.password)

    def _full(self, identity: Identity, client_id: str) -> bool:
        entered = self._open - len(self._pending) - len(self._lingering)
        return entered > self.settings.max_connections and not self.handover.holds(identity, client_id)

    def _refuse(self, transport: asyncio.Transport, reason: str, answer: bytes, detail: str = "") -> None:
        self.counters.refuse(reason, _peer(transport), detail)
        transport.write(answer)
        self.finish(transport)


class GateConnection(asyncio.Protocol):
    """A socket before CONNECT."""

    __slots__ = ("_gate", "_reader", "_transport")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._reader: PacketReader | None = PacketReader(gate.settings.max_connect_bytes)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes an accepted socket; with TLS before its handshake."""
        self._transport = transport = cast(asyncio.Transport, transport)
        if not self._gate.arrived(self, transport):
            self._reader = None
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Takes bytes of CONNECT, and perhaps of packets behind it."""
        reader, transport = self._reader, self._transport
        if reader is None or transport is None:
            return
        try:
            # No more than a CONNECT can have: packets are parsed only after the password was checked.
            most = self._gate.settings.max_connect_bytes
            packets = reader.feed(data[:most])
            if not packets:
                return
            self._reader = None
            self._gate.decided(self)
            self._gate.admit(transport, packets, reader, data[most:])
        except MqttError as error:
            self._reader = None
            self._gate.decided(self)
            self._gate.counters.refuse("malformed", _peer(transport), str(error))
            transport.abort()

    def expire(self) -> None:
        """Drops the connection: CONNECT did not come in time."""
        self._reader = None
        self._gate.decided(self)
        if self._transport is not None:
            self._gate.counters.refuse("timeout", _peer(self._transport), "no CONNECT in time")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts off a connection that was never admitted."""
        self._reader = None
        self._gate.decided(self)
        self._gate.released()


def _peer(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else "an unknown address"


def _probe_when_silent(transport: asyncio.Transport) -> None:
    """Turns on TCP keepalive, which finds out that a client without an MQTT keepalive has vanished."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
