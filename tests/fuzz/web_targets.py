"""Fuzz targets of HTTP: requests in pieces, and what a client, a browser and a proxy say of themselves."""

import asyncio
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.http.addressing import advertised_host
from mimi_mqtt.http.admission import Admission
from mimi_mqtt.http.clients import TrustedProxies, client_address, is_local
from mimi_mqtt.http.hosts import HostRules
from mimi_mqtt.http.protocol import MAX_HEAD_BYTES, BoundedHttpProtocol
from mimi_mqtt.shares import KnownAddresses, Ledger
from tests.fuzz.target import Target, pieces

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────


class _Transport(asyncio.Transport):
    """Keeps what is written; its client reads at once."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1000), "sockname": ("192.0.2.2", 8003)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nothing more is on its way in any case."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the request's method, path and size of its body."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = f"{scope['method']} {scope['path']} {size}".encode(errors="replace")
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_config = Config(
    _app, log_config=None, log_level="critical", access_log=False, ws="none", lifespan="off",
    server_header=False, date_header=False, h11_max_incomplete_event_size=MAX_HEAD_BYTES,
)  # fmt: skip
_config.load()
_runner = asyncio.Runner()


async def _answers(parts: Sequence[bytes]) -> tuple[bytes, bool]:
    """What a connection is answered, and whether it was closed by the server."""
    admission = Admission(HttpSettings(), SharesSettings(http_cpu_percent=100), Ledger(), KnownAddresses())
    kind = type("FuzzedProtocol", (BoundedHttpProtocol,), {"admission": admission})
    state, transport = ServerState(), _Transport()
    protocol: Any = kind(_config, state, {}, asyncio.get_running_loop())
    protocol.connection_made(transport)
    for part in parts:
        if not transport.closed:
            protocol.data_received(part)
        for _ in range(4):
            await asyncio.sleep(0)
    for _ in range(200):  # requests that wait for each other
        if not any(not task.done() for task in state.tasks) or transport.closed:
            break
        await asyncio.sleep(0)
    closed = transport.closed
    protocol.connection_lost(None)
    if state.tasks:
        await asyncio.wait([*state.tasks])
    return transport.written, closed


def check_requests(data: bytes) -> bool:
    """Requests of a connection: the same answers however they are cut, and no more of them than requests."""
    whole = _runner.run(_answers([data]))
    assert whole == _runner.run(_answers([part for part in pieces(data) if part]))
    answered = whole[0].count(b"HTTP/1.1 ")
    assert answered <= data.count(b"HTTP/") + 1
    return b"HTTP/1.1 200" in whole[0]


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────────


def check_host(data: bytes) -> bool:
    """The Host header: never an error; a name or an IPv4 address that a device can connect to, or none."""
    text = data.decode("latin-1")
    host = advertised_host(text, None)
    if host is None:
        assert advertised_host(text, "192.0.2.7") == "192.0.2.7"
        return False
    assert len(host) <= 253
    assert _NAME.fullmatch(host), f"{host!r} can't be put into an endpoint"
    if host.rpartition(".")[2][0].isdigit():
        address = IPv4Address(host)
        assert not address.is_unspecified
        assert not address.is_multicast
    assert advertised_host(host, None) == host
    assert advertised_host(f"{host}:8003", None) == host
    return True


_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_RULES = HostRules(("voice.example.org", "*.example.net"), "public.example.com", "machine")
_OURS = re.compile(
    r"(\[[0-9a-f:.]+\]|[0-9.]+|[^.]+|.*\.(local|lan|home\.arpa|internal|localhost)"
    r"|voice\.example\.org|.+\.example\.net|public\.example\.com)\.?(:[0-9]*)?",
    re.IGNORECASE,
)


def check_hosts(data: bytes) -> bool:
    """Host and Origin, a line each: only this server's names, and pages of these or of the same address."""
    host, _, origin = data.decode("latin-1").partition("\n")
    origin = _CONTROL.sub("", origin)  # no header can hold them
    allowed = _RULES.allows(host)
    assert not allowed or _OURS.fullmatch(host), f"{host!r} is not this server's"
    page = _RULES.allows_origin(origin, host)
    if page:
        assert origin.lower().startswith(("http://", "https://"))
        theirs = origin.partition("://")[2].lower()
        bare = re.sub(r":[0-9]*$", "", theirs.removesuffix("/"))
        own = re.sub(r":[0-9]*$", "", host.lower())
        listed = HostRules(("voice.example.org", "*.example.net")).allows(theirs.partition("/")[0])
        assert (
            listed or bare.partition("/")[0].partition("?")[0].rstrip(".") == own.rstrip(".") or "[" in host
        )
    return allowed


_PROXIES = TrustedProxies([ip_network("127.0.0.1"), ip_network("172.16.0.0/12"), ip_network("fd00::/8")])


def check_forwarded(data: bytes) -> bool:
    """Headers of a proxy: a stranger's change nothing; a trusted one's client is an address of its list."""
    headers = []
    for line in data.split(b"\n")[:16]:
        name, _, value = line.partition(b":")
        headers.append((name.strip().lower(), value.strip()))
    stranger: Scope = {"type": "http", "client": ("192.0.2.1", 1), "headers": headers, "scheme": "http"}
    before = {**stranger, "headers": list(headers)}
    _PROXIES.resolve(stranger)
    assert stranger == before
    scope: Scope = {**before, "client": ("172.16.0.1", 1), "server": ("192.0.2.2", 8003)}
    _PROXIES.resolve(scope)
    address = client_address(scope)
    ip_address(address)
    assert scope["scheme"] in ("http", "https")
    is_local(scope)
    names = {name for name, _ in scope["headers"]}
    believed = scope["headers"] != headers
    assert not believed or not any(name.startswith(b"x-forwarded-") for name in names & _BELIEVED)
    return address != "172.16.0.1"


_BELIEVED = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
_REQUESTS = (
    b"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
)

TARGETS = (
    Target(
        "web-requests",
        check_requests,
        _REQUESTS,
        (
            b"\r\n",
            b"\r\n\r\n",
            b"HTTP/1.1",
            b"Content-Length: ",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"Connection: close",
            b"0\r\n\r\n",
            b"GET / ",
        ),
        400,
    ),
    Target(
        "web-host",
        check_host,
        (b"192.168.1.7:8003", b"mimi.local", b"Voice.Example.org.:80", b"a_b-c"),
        (b":", b".", b"[", b"]", b"::ffff:", b"0x", b"@", b"xn--"),
        300,
    ),
    Target(
        "web-hosts",
        check_hosts,
        (
            b"192.168.1.7:8003\nhttp://192.168.1.7:8003",
            b"[::1]:8003\nhttp://[::1]:8003",
            b"mimi.local\nhttps://voice.example.org",
            b"x.example.net:443\nnull",
        ),
        (b":", b".", b"[", b"]", b"://", b"@", b"example.net", b".local", b"\n", b"null", b"/"),
        300,
    ),
    Target(
        "web-forwarded",
        check_forwarded,
        (
            b"x-forwarded-for: 198.51.100.7, 172.16.0.9\nx-forwarded-proto: https\nhost: a",
            b"X-Forwarded-For: [2001:db8::1]:5\nx-forwarded-host: voice.example.org",
        ),
        (b"x-forwarded-for:", b"x-forwarded-proto:", b"forwarded:", b",", b"::ffff:", b"%eth0", b"[", b"]:"),
        300,
    ),
)
