"""The device's connection over a WebSocket: control messages and audio (device contract, section 5)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from mimi_mqtt.cli.device.booting import WebSocketAccess
from mimi_mqtt.cli.device.outbox import Outbox
from mimi_mqtt.cli.device.trust import Trust
from mimi_mqtt.errors import DeviceFailure

CONNECT_TIMEOUT_S: Final = 10.0


class WebSocketConnection:
    """Keeps one connection alive while `run` runs; `version` is that of its binary frames.

    `received` is given every control message, `heard` every binary frame; `lost` is called when the
    connection broke. `reconnect_s` is the time in seconds until it is made again. `source` is the address it
    comes from, None for the system's choice; `trust` None believes public authorities.
    """

    def __init__(
        self,
        access: WebSocketAccess,
        version: int,
        reconnect_s: float,
        received: Callable[[bytes], None],
        heard: Callable[[bytes], None],
        lost: Callable[[], None],
        source: str | None = None,
        trust: Trust | None = None,
    ) -> None:
        self._access = access
        self._trust = trust or Trust()
        self._version = version
        self._reconnect_s = reconnect_s
        self._received = received
        self._heard = heard
        self._source = source
        self._socket: ClientConnection | None = None
        self.outbox: Outbox[str | bytes] = Outbox(lost)

    async def run(self) -> None:
        """Connects again and again, until cancelled. Raises DeviceFailure when the first attempt fails."""
        while True:
            try:
                await self._serve()
            except DeviceFailure:
                if not self.outbox.times_lost:
                    raise
            await asyncio.sleep(self._reconnect_s)

    async def _serve(self) -> None:
        """Carries messages both ways until the connection breaks."""
        access = self._access
        try:
            socket = await connect(
                access.url,
                additional_headers={
                    "Authorization": f"Bearer {access.token}",
                    "Protocol-Version": str(self._version),
                    "Device-Id": access.mac,
                    "Client-Id": access.client_id,
                },
                user_agent_header=None,
                compression=None,
                open_timeout=CONNECT_TIMEOUT_S,
                ping_interval=None,
                proxy=None,
                ssl=self._trust.context() if access.url.startswith("wss:") else None,
                local_addr=(self._source, 0) if self._source else None,
            )
        except InvalidStatus as error:
            told = (error.response.body or b"").decode(errors="replace")[:200]
            raise DeviceFailure(
                f"{access.url} refused the device: {error.response.status_code} {told}".rstrip()
            ) from error
        except (OSError, TimeoutError, InvalidURI, InvalidHandshake) as error:
            raise DeviceFailure(
                f"no WebSocket at {access.url}: {str(error) or type(error).__name__}"
            ) from error
        self._socket = socket
        self.outbox.up.set()
        sending = asyncio.create_task(self._send(socket))
        try:
            async for message in socket:
                if isinstance(message, str):
                    self._received(message.encode())
                else:
                    self._heard(message)
        except WebSocketException:
            pass  # it broke: told below
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            self._socket = None
            socket.transport.abort()  # firmware answers no closing handshake
        self.outbox.break_down()

    async def _send(self, socket: ClientConnection) -> None:
        with suppress(WebSocketException):  # the reading side sees it too
            await self.outbox.drain(socket.send)

    def send(self, payload: bytes) -> bool:
        """Sends a control message; False while there is no connection, as with a device."""
        return self.outbox.put(payload.decode(errors="replace"))

    def send_audio(self, frame: bytes) -> None:
        """Sends a binary frame; it is lost while there is no connection."""
        self.outbox.put(frame)

    def drop(self) -> None:
        """Breaks the connection as a lost network would."""
        if (socket := self._socket) is not None and self.outbox.break_down():
            socket.transport.abort()
