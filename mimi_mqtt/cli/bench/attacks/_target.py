"""The order of an attack, and the small clients that all attacks are made of."""

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields

from mimi_mqtt.wire.mqtt import encode_connect


@dataclass(frozen=True, slots=True)
class Order:
    """Task: the attack `name` on the server of these ports of 127.0.0.1, for `seconds`.

    `network` is the third byte of the addresses that it comes from, 127.0.<network>.1 and up. `sessions` is a
    file with the ssrc of each victim's audio, one a line, as a stranger on the victims' network sees them.
    """

    name: str
    http: int
    mqtt: int
    udp: int
    seconds: float
    network: int
    sessions: str


@dataclass(slots=True)
class Did:
    """The work of an attack, and its outcome."""

    opened: int = 0
    """Sockets opened."""
    refused: int = 0
    """Sockets, logins or requests that the server closed or did not take."""
    sent: int = 0
    """Messages, requests or datagrams sent."""
    sent_bytes: int = 0
    """Bytes of the datagrams sent, where they are of interest."""
    caught: int = 0
    """Datagrams received that were for somebody else."""
    caught_bytes: int = 0
    """Their bytes."""

    def add(self, other: "Did") -> None:
        """Adds the numbers of another run."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


class Target:
    """The server as attackers see it; sockets come from the attack's own loopback addresses."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.until = time.monotonic() + order.seconds
        self.did = Did()
        self._due = time.monotonic()

    def on(self) -> bool:
        """True until the time is over."""
        return time.monotonic() < self.until

    async def pace(self, per_s: float) -> None:
        """Keeps the caller's loop, the only one of this target that calls it, to `per_s` rounds a second."""
        now = time.monotonic()
        self._due = max(self._due + 1 / per_s, now - 0.1)  # a little is caught up, no more
        await asyncio.sleep(max(0.0, self._due - now))

    def address(self, number: int = 0) -> str:
        """The attack's address of that number; 250 of them."""
        return f"127.0.{self.order.network}.{1 + number % 250}"

    async def connect(
        self, port: int, source: int = 0, receive_buffer: int | None = None
    ) -> socket.socket | None:
        """A connected non-blocking socket; None when the server does not take it."""
        sock = socket.socket()
        sock.setblocking(False)
        try:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.bind((self.address(source), 0))
            async with asyncio.timeout(2.0):
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except (OSError, TimeoutError):
            sock.close()
            self.did.refused += 1
            return None
        self.did.opened += 1
        return sock

    async def send(self, sock: socket.socket, data: bytes) -> bool:
        """Sends all of `data` within a second; False when that fails."""
        try:
            async with asyncio.timeout(1.0):
                await asyncio.get_running_loop().sock_sendall(sock, data)
        except (OSError, TimeoutError):
            return False
        self.did.sent += 1
        return True

    async def login(
        self,
        client_id: str,
        username: str | None,
        password: str | None,
        source: int = 0,
        *,
        clean: bool = True,
    ) -> socket.socket | None:
        """An MQTT connection that was let in; None when it was not."""
        sock = await self.connect(self.order.mqtt, source)
        if sock is None:
            return None
        secret = password.encode() if password is not None else None
        connect = encode_connect(
            client_id, username=username, password=secret, keepalive_s=0, clean_session=clean
        )
        answer = b""
        with suppress(OSError, TimeoutError):
            await self.send(sock, connect)
            async with asyncio.timeout(2.0):
                answer = await asyncio.get_running_loop().sock_recv(sock, 4)
        if len(answer) == 4 and answer[3] == 0:
            return sock
        sock.close()
        self.did.refused += 1
        return None


def register(http: int, mac: str, source: str) -> tuple[str, str] | None:
    """User name and password of a device that registers from `source` at that port; None when it is refused.

    Raises OSError."""
    body = json.dumps({"application": {"version": "1.0.0"}, "board": {"type": "attacker"}}).encode()
    with socket.create_connection(("127.0.0.1", http), 5.0, (source, 0)) as sock:
        sock.settimeout(5.0)
        sock.sendall(ota_request(mac, body))
        answer = b""
        with suppress(OSError):
            while chunk := sock.recv(65_536):
                answer += chunk
    head, _, content = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        return None
    section = json.loads(content).get("mqtt") or {}
    return (section["username"], section["password"]) if section else None


async def account(target: Target, number: int = 0) -> tuple[str, str] | None:
    """Credentials of a device that the attacker registered; None when it is refused to the end."""
    mac = f"02:cc:00:00:{number:02x}:{target.order.network:02x}"
    loop = asyncio.get_running_loop()
    while target.on():
        with suppress(OSError):
            found = await loop.run_in_executor(None, register, target.order.http, mac, target.address())
            if found is not None:
                return found
        target.did.refused += 1
        await asyncio.sleep(0.2)
    return None


def drain(sock: socket.socket) -> bytes:
    """Reads what has arrived, at most some 64 KB at a time, and returns the last of it."""
    chunk = b""
    with suppress(OSError):
        while len(chunk := sock.recv(65_536)) == 65_536:
            pass
    return chunk


def close_all(held: Sequence[socket.socket]) -> None:
    """Closes sockets."""
    for sock in held:
        sock.close()


def ota_request(mac: str, body: bytes, path: str = "/xiaozhi/ota/") -> bytes:
    """An OTA request as a device sends it, on a connection of its own."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nDevice-Id: {mac}\r\nClient-Id: client-{mac}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
