"""The process of a device that says hello five times a second and connects anew every other second.

It does nothing else, so that what it measures is the server's time and not its own: each line of its output
is one `Sample` as JSON. It reads a `ProbeOrder` as JSON from standard input, and ends when that ends.
"""

import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import asdict
from typing import Final

from mimi_mqtt.cli.bench.attacks._account_attacks import HELLO
from mimi_mqtt.cli.bench.attacks._samples import Kind, ProbeOrder, Sample
from mimi_mqtt.cli.bench.attacks._target import register
from mimi_mqtt.errors import DeviceFailure, MimiError
from mimi_mqtt.wire.mqtt import (
    PacketReader,
    PacketType,
    RawPacket,
    encode_connect,
    encode_publish,
    parse_publish,
)
from mimi_mqtt.wire.topics import device_topic

_EVERY_S: Final = 0.2
_CONNECT_EVERY: Final = 10  # hellos
_ANSWER_S: Final = 10.0
_MAX_PACKET_BYTES: Final = 65_536


class _Device:
    def __init__(self, order: ProbeOrder, access: tuple[str, str]) -> None:
        self._order = order
        self._id, self._password = access
        self._sock = socket.socket()
        self._reader = PacketReader(_MAX_PACKET_BYTES)
        self._packets: deque[RawPacket] = deque()

    def connect(self) -> None:
        """Raises OSError or MimiError."""
        self._sock.close()
        self._reader = PacketReader(_MAX_PACKET_BYTES)
        self._packets.clear()
        source = (self._order.source, 0)
        self._sock = socket.create_connection(("127.0.0.1", self._order.mqtt), _ANSWER_S, source)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        password = self._password.encode()
        self._sock.sendall(encode_connect(self._id, username=self._id, password=password, keepalive_s=60))
        packet = self._packet()
        if packet.type is not PacketType.CONNACK or packet.body[1]:
            raise DeviceFailure(f"refused with {packet.raw.hex()}")

    def hello(self) -> None:
        """Says hello and waits for the answer. Raises OSError or MimiError."""
        topic = device_topic(self._id, "up")
        self._sock.sendall(encode_publish(topic, HELLO))
        while True:
            packet = self._packet()
            if packet.type is PacketType.PUBLISH:
                said = json.loads(parse_publish(packet).payload)
                if said.get("type") == "hello":
                    break
        self._session = str(said["session_id"])

    def goodbye(self) -> None:
        """Ends the session that the last hello opened. Raises OSError."""
        said = json.dumps({"type": "goodbye", "session_id": self._session}).encode()
        self._sock.sendall(encode_publish(device_topic(self._id, "up"), said))

    def _packet(self) -> RawPacket:
        while not self._packets:
            data = self._sock.recv(_MAX_PACKET_BYTES)
            if not data:
                raise DeviceFailure("the server closed the connection")
            self._packets.extend(self._reader.feed(data))
        return self._packets.popleft()


def _tell(kind: Kind, began: float, error: str = "") -> None:
    ms = None if error else (time.monotonic() - began) * 1000
    print(json.dumps(asdict(Sample(kind, began, ms, error))), flush=True)


def _probe(device: _Device) -> None:
    number, connected = 0, False
    due = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        kind: Kind = "hello"
        began = time.monotonic()
        try:
            if not connected or number % _CONNECT_EVERY == 0:
                kind = "connect"
                device.connect()
                _tell(kind, began)
                connected = True
                kind, began = "hello", time.monotonic()
            device.hello()
            _tell(kind, began)
            device.goodbye()
        except (OSError, MimiError) as error:
            _tell(kind, began, f"{kind}: {str(error) or type(error).__name__}")
            connected = False
        number += 1
        due = max(due + _EVERY_S, time.monotonic())


def main() -> None:
    """Registers, and probes until standard input ends."""
    order = ProbeOrder(**json.loads(sys.stdin.readline()))
    access = register(order.http, order.mac, order.source)
    if access is None:
        raise SystemExit("the probe was not registered")
    _probe(_Device(order, access))


if __name__ == "__main__":
    main()
