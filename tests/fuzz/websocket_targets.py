"""Fuzz targets of WebSockets: the frames of a client, against the library that reads them alone."""

import asyncio
import logging
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.http.admission import Admission
from mimi_mqtt.http.direct import DIRECT
from mimi_mqtt.http.websocket import BoundedWebSocketProtocol
from mimi_mqtt.shares import KnownAddresses, Ledger
from tests.fuzz.target import Target, pieces

MAX_BYTES = 200

_HEAD = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass
class Heard:
    """The messages of a client, and the code with which the server closes; None while it does not."""

    messages: list[tuple[Opcode, bytes]] = field(default_factory=list)
    code: int | None = None


class _Sink:
    def __init__(self, messages: list[tuple[Opcode, bytes]]) -> None:
        self._messages = messages

    def text_received(self, payload: bytes) -> None:
        self._messages.append((Opcode.TEXT, payload))

    def binary_received(self, payload: bytes) -> None:
        self._messages.append((Opcode.BINARY, payload))

    def connection_ended(self) -> None:
        """Seen by what was written."""


class _Transport(asyncio.Transport):
    """Keeps what is written; its client reads at once."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1000), "sockname": ("192.0.2.2", 8003)})
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        return asyncio.Protocol()

    def pause_reading(self) -> None:
        """Nothing more is on its way in any case."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    scope["extensions"][DIRECT].deliver_to(_Sink(scope["state"]["messages"]))


_config = Config(
    _app, log_config=None, log_level="critical", lifespan="off", ws_max_size=MAX_BYTES,
    ws_per_message_deflate=False, ws_ping_interval=None,
)  # fmt: skip
_config.load()
_runner = asyncio.Runner()
_quiet = logging.getLogger("tests.fuzz.websocket")
_quiet.setLevel(logging.CRITICAL)


async def _ours(cuts: list[bytes]) -> tuple[Heard, str]:
    """What the server's protocol hears when bytes come in these pieces, and what it refused."""
    ledger, heard = Ledger(), Heard()
    admission = Admission(HttpSettings(), SharesSettings(), ledger, KnownAddresses())
    kind = type("FuzzedProtocol", (BoundedWebSocketProtocol,), {"admission": admission})
    transport = _Transport()
    loop = asyncio.get_running_loop()
    protocol: Any = kind(_config, ServerState(), {"messages": heard.messages}, loop)
    protocol.connection_made(transport)
    protocol.data_received(_HEAD)
    while protocol._sink is None:  # noqa: ASYNC110  # the application's begin has no event
        await asyncio.sleep(0)
    head = len(transport.written)
    for piece in cuts:
        if not transport.closed:
            protocol.data_received(piece)
    for frame in transport.written[head:]:
        if frame[0] == 0x80 | Opcode.CLOSE:
            heard.code = Close.parse(frame[2 : 2 + frame[1]]).code
    protocol.connection_lost(None)
    await asyncio.sleep(0)
    return heard, ledger.summary()


def _reference(data: bytes) -> Heard:
    """What the library hears in the same bytes at once."""
    heard, parts, kind = Heard(), b"", Opcode.BINARY
    library = Protocol(Side.SERVER, max_size=MAX_BYTES, logger=_quiet)
    library.receive_data(data)
    for frame in library.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            kind, parts = frame.opcode, b""
        elif frame.opcode is not Opcode.CONT:
            continue
        parts += frame.data
        if frame.fin:
            heard.messages.append((kind, parts))
    if library.close_sent is not None:
        heard.code = library.close_sent.code
    return heard


def check_frames(data: bytes) -> bool:
    """A client's frames: the same messages and the same end as the library alone, however they are cut."""
    expected = _reference(data)
    every_byte = [data[start:end] for start, end in pairwise(range(len(data) + 1))]
    for cuts in ([data], list(pieces(data)), every_byte):
        heard, refused = _runner.run(_ours(cuts))
        if refused:  # a flood of control frames or fragments, which the library would take
            assert heard.messages == expected.messages[: len(heard.messages)]
        else:
            assert heard == expected
    return bool(expected.messages)


def _frame(opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return bytes((fin << 7 | opcode, 0x80 | len(payload))) + bytes(4) + payload


TARGETS = (
    Target(
        "websocket-frames",
        check_frames,
        (
            _frame(Opcode.BINARY, b"opus") * 3 + _frame(Opcode.TEXT, b"{}") + _frame(Opcode.BINARY),
            Frame(Opcode.BINARY, bytes(range(140))).serialize(mask=True) + _frame(Opcode.PING, b"?"),
            _frame(Opcode.BINARY, b"a", fin=False) + _frame(Opcode.PONG) + _frame(Opcode.CONT, b"b")
            + _frame(Opcode.BINARY, b"c") + _frame(Opcode.CLOSE, b"\x03\xe8bye"),
        ),
        (
            b"\x82\xfe\x00\x7e", b"\x82\xff", bytes(4), b"\x02\x81", b"\x00\x81", b"\x80\x81", b"\x89\x80",
            b"\x88\x80", b"\xc2\x81", b"\x82\x01", b"\x83\x80", b"\x82\xfe\xff\xff",
        ),
        400,
    ),
)  # fmt: skip
