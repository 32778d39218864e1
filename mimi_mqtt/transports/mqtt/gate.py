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

from mimi_mqtt.config.connections import MqttSettings
from mimi_mqtt.errors import LoginRefused, MqttError
from mimi_mqtt.fleet.identity import Authenticator, Identity, Role
from mimi_mqtt.shares import address_holder
from mimi_mqtt.transports.mqtt.access import account, may_publish, subject
from mimi_mqtt.transports.mqtt.borders import run_each
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.crowd import Crowd
from mimi_mqtt.transports.mqtt.limits import (
    LINGER_S,
    MAX_CLIENT_ID_CHARS,
    YOUNG_CONNECT_S,
    YOUNG_TLS_CONNECT_S,
)
from mimi_mqtt.transports.mqtt.refusals import (
    Refusal,
    forbidden_will,
    malformed,
    unavailable,
    wrong_client_id,
    wrong_credentials,
    wrong_method,
    wrong_protocol,
)
from mimi_mqtt.wire.mqtt import Connect, PacketReader, PacketType, RawPacket, parse_connect
from mimi_mqtt.wire.mqtt_reasons import Reason


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
    """Receivers of admitted connections, by role; `holds` tells whether one would replace a connection, and
    `connected` how many connections an account has that is not a device."""

    device: Callable[[asyncio.Transport, Admission], None]
    general: Callable[[asyncio.Transport, Admission], None]
    holds: Callable[[Identity, str], bool]
    connected: Callable[[str], int]


class Gate:
    """Counts connections, authenticates them, and bounds the time they have for CONNECT."""

    def __init__(
        self,
        settings: MqttSettings,
        authenticator: Authenticator,
        counters: Counters,
        clock: Callable[[], float],
        handover: Handover,
        crowd: "Crowd[GateConnection]",
    ) -> None:
        self.settings = settings
        self.counters = counters
        self.clock = clock
        self.handover = handover
        self._crowd = crowd
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
        """Counts a new socket; False when it is dropped without an answer: the server stops, or its address
        has its share of those that have not sent CONNECT.

        Another one may have to go for it, of the address with the most.
        """
        self._open += 1
        if not self._accepting:
            self.counters.refuse("stopping", _peer(transport))
            return False
        now, address = self.clock(), connection.address
        if not self._crowd.may_arrive(address, now):
            self.counters.refused["failing"] += 1
            return False
        known = address in self._crowd.known
        leaving = self._crowd.pending.leaving(address, known=known)
        if (
            leaving is not None
            and leaving.address == address
            and now - self._pending[leaving] < leaving.young_s
        ):
            self._crowd.refuse_pending(address, now)
            self.counters.refused["too_many_pending"] += 1
            return False
        if leaving is not None:
            self._crowd.refuse_pending(leaving.address, now)
            leaving.drop("too_many_pending")
        self._crowd.pending.put(address, connection, known=known)
        self._pending[connection] = now
        self.counters.pending = len(self._pending)
        return True

    def decided(self, connection: "GateConnection") -> None:
        """Forgets a pending connection that was let in or refused, or is gone."""
        if self._pending.pop(connection, None) is not None:
            self._crowd.pending.leave(connection)
            self.counters.pending = len(self._pending)

    def is_pending(self, connection: "GateConnection") -> bool:
        """True until a connection is let in, refused or gone."""
        return connection in self._pending

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
            connection.drop("stopping")
        for transport in list(self._lingering):
            self._drop_lingering(transport, math.inf)

    # ── admission ───────────────────────────────────────────────────────────────────────────────────────

    def authenticate(
        self, connect: Connect, address: str
    ) -> "Identity | Refusal | asyncio.Task[Identity | None]":
        """Checks CONNECT and its credentials; a task where these take longer to check.

        `address` is the holder of the client's address.
        """
        if connect.protocol_level not in (4, 5) or connect.protocol_name != "MQTT":
            return wrong_protocol(connect)
        if connect.properties.authentication_method is not None:
            return wrong_method(connect)
        # MQTT 5 assigns one whatever Clean Start says (section 3.1.3.1).
        nameless = not connect.client_id and not connect.clean_session and connect.protocol_level == 4
        if nameless or (len(connect.client_id) > MAX_CLIENT_ID_CHARS or not connect.client_id.isprintable()):
            return wrong_client_id(connect)
        if not self._accepting:
            return unavailable(connect, "stopping", "the server stops: connect again in a while")
        try:
            identity = self._authenticator.authenticate(
                connect.client_id, connect.username, connect.password, address
            )
        except LoginRefused as error:
            return unavailable(connect, "unchecked", str(error))
        return wrong_credentials(connect) if identity is None else identity

    def admit(self, connection: "GateConnection", transport: asyncio.Transport, admission: Admission) -> None:
        """Lets an authenticated connection in, or refuses it: its will, or its account's share."""
        connect, identity = admission.connect, admission.identity
        if connect.will is not None and not may_publish(identity, connect.will.topic):
            detail = f"{subject(identity)} may not have a will on {connect.will.topic[:80]!r}"
            self.refuse(transport, forbidden_will(connect, detail))
        elif not self._accepting:
            self.refuse(
                transport, unavailable(connect, "stopping", "the server stops: connect again in a while")
            )
        elif (full := self._full(identity, connect, connection.address)) is not None:
            self.refuse(transport, full)
        else:
            self._crowd.came_in(identity.role, connection.address)
            self.counters.accepted[identity.role.value] += 1
            is_device, settings = identity.role is Role.DEVICE, self.settings
            most = settings.max_write_buffer_bytes if is_device else settings.client_buffer_bytes
            transport.set_write_buffer_limits(high=most)
            if connect.keepalive_s == 0:
                _probe_when_silent(transport)
            take = self.handover.device if is_device else self.handover.general
            take(transport, admission)

    def refuse(self, transport: asyncio.Transport, refusal: Refusal) -> None:
        """Answers CONNECT with a refusal, and closes the connection."""
        self.counters.refuse(refusal.reason, _peer(transport), refusal.detail)
        transport.write(refusal.answer)
        self.finish(transport)

    def reject(self, transport: asyncio.Transport, refusal: Refusal) -> None:
        """Closes a connection whose bytes are no CONNECT; only one of MQTT 5 has an answer."""
        if refusal.answer:
            self.refuse(transport, refusal)
            return
        self.counters.refuse(refusal.reason, _peer(transport), refusal.detail)
        transport.abort()

    def _full(self, identity: Identity, connect: Connect, address: str) -> "Refusal | None":
        now, role = self.clock(), identity.role
        name = identity.username if role is Role.DEVICE else account(identity, address)
        # One that takes over is no connection more, but a connect all the same.
        if not self.handover.holds(identity, connect.client_id):
            entered = self._open - len(self._pending) - len(self._lingering)
            if entered > self.settings.max_connections or self._crowd.is_full(role, self.counters):
                return unavailable(connect, "full", "mqtt.max_connections is reached", Reason.SERVER_BUSY)
            if role is not Role.DEVICE and self._crowd.has_its_share(
                name, self.handover.connected(name), now
            ):
                detail = f"{name} has shares.connections_per_account connections: end another one"
                return unavailable(connect, "share", detail, Reason.QUOTA_EXCEEDED)
        if not self._crowd.may_connect(name, now):
            detail = f"{name} connects too often: wait a minute (shares.connects_per_minute)"
            return unavailable(connect, "connect_rate", detail, Reason.CONNECTION_RATE_EXCEEDED)
        return None


class GateConnection(asyncio.Protocol):
    """A socket before CONNECT, and while its password is checked."""

    __slots__ = ("_gate", "_reader", "_transport", "address", "young_s")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._reader: PacketReader | None = PacketReader(gate.settings.max_connect_bytes)
        self._transport: asyncio.Transport | None = None
        self.address = ""
        """The holder of the client's address."""
        self.young_s = YOUNG_CONNECT_S
        """Seconds for which it does not make room for another one of its address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes an accepted socket; with TLS before its handshake."""
        self._transport = transport = cast(asyncio.Transport, transport)
        self.address = address_holder(_peer(transport))
        if transport.get_extra_info("sslcontext") is not None:
            self.young_s = YOUNG_TLS_CONNECT_S
        if not self._gate.arrived(self, transport):
            self._reader = None
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Takes bytes of CONNECT, and perhaps of packets behind it."""
        reader, transport = self._reader, self._transport
        if reader is None or transport is None:
            return
        packets: list[RawPacket] = []
        try:
            # No more than a CONNECT can have: packets are parsed only after the password was checked.
            most = self._gate.settings.max_connect_bytes
            packets = reader.feed(data[:most])
            if not packets:
                return
            self._reader = None
            if packets[0].type is not PacketType.CONNECT:
                raise MqttError(f"{packets[0].type.name} before CONNECT")
            connect = parse_connect(packets[0])
            outcome = self._gate.authenticate(connect, self.address)
        except MqttError as error:
            self._gate.decided(self)
            self._gate.reject(transport, malformed(packets[0] if packets else None, error))
            return
        if isinstance(outcome, Identity):
            self._gate.decided(self)
            self._gate.admit(self, transport, Admission(connect, outcome, reader, packets[1:], data[most:]))
        elif isinstance(outcome, Refusal):
            self._gate.decided(self)
            self._gate.refuse(transport, outcome)
        else:
            # Still pending, so within the time and the places that there are for CONNECT.
            transport.pause_reading()
            waiting = Waiting(connect, reader, packets[1:], data[most:])
            outcome.add_done_callback(partial(self._checked, transport, waiting))

    def _checked(
        self, transport: asyncio.Transport, waiting: "Waiting", check: "asyncio.Task[Identity | None]"
    ) -> None:
        """Goes on when the password was checked, unless the connection is gone."""
        if not self._gate.is_pending(self):
            return
        self._gate.decided(self)
        connect, reader, packets, rest = waiting
        try:
            identity = check.result()
        except LoginRefused as error:
            self._gate.refuse(transport, unavailable(connect, "unchecked", str(error)))
        except asyncio.CancelledError:
            self._gate.refuse(
                transport, unavailable(connect, "stopping", "the server stops: connect again in a while")
            )
        except Exception:  # noqa: BLE001 - the border of one client: its socket would wait for nothing
            self._gate.counters.fault("password", "checking a password failed")
            refusal = unavailable(connect, "unchecked", "the check of the password failed")
            self._gate.refuse(transport, refusal)
        else:
            if identity is None:
                self._gate.refuse(transport, wrong_credentials(connect))
                return
            transport.resume_reading()
            self._gate.admit(self, transport, Admission(connect, identity, reader, packets, rest))

    def expire(self) -> None:
        """Drops the connection: CONNECT did not come in time."""
        self.drop("timeout", "no CONNECT in time")

    def drop(self, reason: str, detail: str = "") -> None:
        """Drops the connection without an answer."""
        self._reader = None
        self._gate.decided(self)
        if self._transport is not None:
            self._gate.counters.refuse(reason, _peer(self._transport), detail)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts off a connection that was never admitted."""
        self._reader = None
        self._gate.decided(self)
        self._gate.released()


class Waiting(NamedTuple):
    """A CONNECT whose password is being checked, and what came behind it (`Admission`)."""

    connect: Connect
    reader: PacketReader
    packets: list[RawPacket]
    rest: bytes


def _peer(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else "an unknown address"


def _probe_when_silent(transport: asyncio.Transport) -> None:
    """Turns on TCP keepalive, which finds out that a client without an MQTT keepalive has vanished."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
