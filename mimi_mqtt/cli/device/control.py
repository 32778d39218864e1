"""The device's control connection: MQTT as its family makes it, and made again after it broke.

A stock device never subscribes, and reconnects by itself after 10 s in any state, without a new hello (device
contract, sections 3 and 8).
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import aiomqtt

from mimi_mqtt.cli.device.booting import MqttAccess
from mimi_mqtt.cli.device.outbox import Outbox
from mimi_mqtt.cli.device.profiles import Profile
from mimi_mqtt.cli.device.trust import Trust
from mimi_mqtt.errors import DeviceFailure

CONNECT_TIMEOUT_S: Final = 10.0


class ControlConnection:
    """Keeps one control connection alive while `run` runs.

    `received` is given every message, whatever its topic; `lost` is called when the connection broke.
    `reconnect_s` is the time in seconds until it is made again. `source` is the address it comes from, None
    for the system's choice; `trust` None believes public authorities.
    """

    def __init__(
        self,
        access: MqttAccess,
        profile: Profile,
        reconnect_s: float,
        received: Callable[[bytes], None],
        lost: Callable[[], None],
        source: str | None = None,
        trust: Trust | None = None,
    ) -> None:
        self._access = access
        self._trust = trust or Trust()
        self._profile = profile
        self._reconnect_s = reconnect_s
        self._received = received
        self._source = source
        self._client: aiomqtt.Client | None = None
        self.outbox: Outbox[bytes] = Outbox(lost)

    async def run(self) -> None:
        """Connects again and again, until cancelled. Raises DeviceFailure when the first attempt fails."""
        while True:
            try:
                async with _connect(self._access, self._profile, self._source, self._trust) as client:
                    self._client = client
                    await self._serve(client)
            except DeviceFailure:
                if not self.outbox.times_lost:
                    raise
            finally:
                self._client = None
            await asyncio.sleep(self._reconnect_s)

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Carries messages both ways until the connection breaks."""
        if self._profile.subscribe_qos is not None and self._access.subscribe_topic not in ("", "null"):
            with _translated("SUBSCRIBE was not answered"):
                await client.subscribe(self._access.subscribe_topic, qos=self._profile.subscribe_qos)
        self.outbox.up.set()
        publishing = asyncio.create_task(self._publish(client))
        try:
            async for message in client.messages:
                if self.outbox.up.is_set() and isinstance(message.payload, bytes):
                    self._received(message.payload)
        except aiomqtt.MqttError:
            pass  # it broke: told below
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])
        self.outbox.break_down()

    async def _publish(self, client: aiomqtt.Client) -> None:
        with suppress(aiomqtt.MqttError):  # the reading side sees it too
            await self.outbox.drain(
                lambda payload: client.publish(self._access.publish_topic, payload, qos=0)
            )

    def send(self, payload: bytes) -> bool:
        """Publishes with QoS 0; False while there is no connection, as with a device."""
        return self.outbox.put(payload)

    def drop(self) -> None:
        """Breaks the connection as a lost network would: without DISCONNECT, what is on its way is lost."""
        if self._client is None:
            return
        # aiomqtt has no way to do without DISCONNECT; paho's socket() is public, the way to it is not.
        connection = self._client._client.socket()
        if self.outbox.break_down() and isinstance(connection, socket.socket):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turns the MQTT library's errors into a DeviceFailure that says `what` went wrong."""
    try:
        yield
    except aiomqtt.MqttError as error:
        raise DeviceFailure(f"{what}: {error}") from error


@asynccontextmanager
async def _connect(
    access: MqttAccess, profile: Profile, source: str | None, trust: Trust
) -> AsyncIterator[aiomqtt.Client]:
    """A connection as the firmware makes it: MQTT 3.1.1, clean session, TLS on port 8883 alone."""
    obeyed = access.keepalive_s if profile.obeys_keepalive else None
    client = aiomqtt.Client(
        access.host,
        access.port,
        identifier=access.client_id,
        username=access.username or None,
        password=access.password or None,
        clean_session=True,
        keepalive=obeyed or profile.keepalive_s,
        timeout=CONNECT_TIMEOUT_S,
        bind_address=source or "",
        # Nagle's algorithm would hold a second message back for the 40 ms of a delayed ACK.
        socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        tls_context=trust.context() if access.tls else None,
    )
    with _translated(f"MQTT at {access.host}:{access.port} refused the device"):
        await client.__aenter__()
    try:
        yield client
    finally:
        with suppress(aiomqtt.MqttError):  # it may be lost already
            await client.__aexit__(None, None, None)
