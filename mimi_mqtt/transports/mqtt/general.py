"""All clients but devices: their connections, takeovers and wills.

A forbidden publish is acknowledged and dropped (MQTT 3.1.1 section 3.3.5 allows that or a closed connection;
a misconfigured tool in the house should keep the rest of its work); in MQTT 5 the acknowledgement says so. A
forbidden filter gets a failure in SUBACK.
"""

import asyncio
import secrets
from functools import partial
from typing import Protocol

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.borders import run_each
from mimi_mqtt.transports.mqtt.broker import EmbeddedBroker
from mimi_mqtt.transports.mqtt.client import Client, PendingWill, Sender
from mimi_mqtt.transports.mqtt.connection import GeneralConnection
from mimi_mqtt.transports.mqtt.departures import Departures
from mimi_mqtt.transports.mqtt.gate import Admission, Gate
from mimi_mqtt.transports.mqtt.message import Message, expiry
from mimi_mqtt.transports.mqtt.pacing import Outcome, Pacer, message_cost
from mimi_mqtt.wire.mqtt_reasons import Reason


class PublishRouter(Protocol):
    """Receiver of general clients' messages: the server, which knows devices and testers."""

    def route(self, sender: Sender, message: Message) -> Outcome:
        """Delivers what `sender` may publish, drops the rest; returns the work that it was."""


class GeneralClients:
    """The general clients' connections."""

    def __init__(self, gate: Gate, broker: EmbeddedBroker, router: PublishRouter, pacer: Pacer) -> None:
        self.gate = gate
        self.pacer = pacer
        self.broker = broker
        self.router = router
        self.departures = Departures()
        self._connections: dict[tuple[Role, str, str], GeneralConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._testers: dict[str, int] = {}
        self._accounts: dict[str, int] = {}
        broker.say_will = self.say_will

    def __len__(self) -> int:
        return len(self._connections)

    def testers(self, device_id: str) -> int:
        """The number of connections with the credentials of `device_id`."""
        return self._testers.get(device_id, 0)

    def connected(self, account: str) -> int:
        """The number of connections of an account (`access.account`)."""
        return self._accounts.get(account, 0)

    def holds(self, identity: Identity, client_id: str) -> bool:
        """True when the user is connected under the client id, so that a new connection takes over."""
        return (identity.role, identity.username, client_id) in self._connections

    def take(self, transport: asyncio.Transport, admission: Admission) -> None:
        """Serves an authenticated connection from here on; the old one of the same client ends first."""
        connect, identity = admission.connect, admission.identity
        client_id = connect.client_id or f"auto-{secrets.token_hex(8)}"
        name = (identity.role, identity.username, client_id)
        old = self._connections.pop(name, None)
        connection = GeneralConnection(self, transport, admission, client_id)
        self._connections[name] = connection
        if identity.device_id is not None:
            self._testers[identity.device_id] = self._testers.get(identity.device_id, 0) + 1
        self._accounts[connection.account] = self._accounts.get(connection.account, 0) + 1
        self.gate.counters.connected[identity.role.value] += 1
        if old is not None:
            text = "another connection came with this client id: give each client its own"
            reason = "taken over by a new connection"
            old.end(reason, Reason.SESSION_TAKEN_OVER, abnormal=True, text=text)
            old.give_up_if_waiting()
        task = asyncio.create_task(connection.serve(old), name=f"mqtt {client_id}")
        connection.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        transport.set_protocol(connection)
        connection.start(admission)

    def gone(self, connection: "GeneralConnection") -> None:
        """Forgets a connection that has ended."""
        identity = connection.identity
        name = (identity.role, identity.username, connection.client_id)
        if self._connections.get(name) is connection:
            del self._connections[name]
        if identity.device_id is not None:
            self._testers[identity.device_id] -= 1
            if not self._testers[identity.device_id]:
                del self._testers[identity.device_id]
        self._accounts[connection.account] -= 1
        if not self._accounts[connection.account]:
            del self._accounts[connection.account]
        self.gate.counters.connected[identity.role.value] -= 1

    def sweep(self, now: float) -> None:
        """Ends connections whose keepalive has run out, and sessions whose client is away for too long."""
        connections = list(self._connections.values())
        run_each(
            "general clients",
            (
                *(partial(connection.check_time, now) for connection in connections),
                partial(self.broker.sweep, now),
            ),
        )

    def disconnect_testers(self, device_id: str, reason: str) -> None:
        """Ends every connection and session that holds the credentials of `device_id`."""
        for connection in list(self._connections.values()):
            if connection.identity.device_id == device_id:
                connection.end(reason, Reason.ADMINISTRATIVE_ACTION)
                connection.forget_session = True
        self.broker.forget_where(lambda identity: identity.device_id == device_id)

    def publish(self, sender: Sender, message: Message) -> Outcome:
        """Routes a message of a client."""
        return self.router.route(sender, message)

    def say_will(self, client: Client, pending: PendingWill) -> None:
        """Publishes the will of a client that is gone, at the cost of its account."""
        will = pending.will
        expires_at = expiry(will.properties.message_expiry_s, self.gate.clock())
        message = Message(will.topic, will.payload, will.qos, will.retain, will.travelling, expires_at)
        sender = Sender(client.identity, client.account, pending.host, client)
        outcome = self.router.route(sender, message)
        size = message.size
        self.pacer.spend(client.account, message_cost(size) + outcome.work.cost(size))

    async def aclose(self) -> None:
        """Ends all connections, without their wills."""
        for connection in list(self._connections.values()):
            text = "the server stops: connect again in a while"
            connection.end("server stops", Reason.SERVER_SHUTTING_DOWN, text=text)
        self.departures.finish()
        self.pacer.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limits.LINGER_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
