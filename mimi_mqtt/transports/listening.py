"""Opening of the server's sockets: a default port that is taken moves, a configured one is an error.

Devices learn the MQTT and UDP ports from OTA, so these may move when the user did not choose them
(a Mosquitto on the same machine is the usual reason). The error names the program that has the port.
"""

import errno
import logging
import socket

import psutil

from mimi_mqtt.config import BindAddress
from mimi_mqtt.descriptors import BACKLOG
from mimi_mqtt.errors import StartupError

_log = logging.getLogger(__name__)

_PORTS_TRIED = 20


def open_tcp(bind: BindAddress, key: str, *, movable: bool = False) -> socket.socket:
    """Opens a listening, non-blocking TCP socket.

    `key` is the setting to name in an error; `movable` allows the next free port instead of a taken one.
    Raises StartupError.
    """
    return _open(bind, key, socket.SOCK_STREAM, movable)


def open_udp(bind: BindAddress, key: str, *, movable: bool = False) -> socket.socket:
    """Opens a bound, non-blocking UDP socket; otherwise like `open_tcp`."""
    return _open(bind, key, socket.SOCK_DGRAM, movable)


def _open(bind: BindAddress, key: str, kind: socket.SocketKind, movable: bool) -> socket.socket:
    last = min(bind.port + _PORTS_TRIED, 65_535) if movable and bind.port else bind.port
    for port in range(bind.port, last + 1):
        try:
            sock = _bind(BindAddress(bind.host, port), key, kind)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise StartupError(_explain(bind, key, error)) from error
            continue
        if port != bind.port:
            _log.warning(
                "%s port %d is taken%s: using %d. Devices learn it from OTA; set %s to choose one yourself",
                _protocol(kind), bind.port, owner_of_port(bind.port, kind), port, key,
            )  # fmt: skip
        return sock
    taken = f"{_protocol(kind)} port {bind.port} is taken{owner_of_port(bind.port, kind)}"
    tried = f" and so are the next {_PORTS_TRIED}" if last > bind.port else ""
    raise StartupError(f"{taken}{tried}: set {key} in broker.yaml to another one, or stop that program")


def _bind(bind: BindAddress, key: str, kind: socket.SocketKind) -> socket.socket:
    try:
        family, _, protocol, _, address = socket.getaddrinfo(
            bind.host, bind.port, type=kind, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
    except socket.gaierror as error:
        raise StartupError(
            f"{key}: {bind.host!r} is not an address of this machine: {error.strerror}"
        ) from error
    # With its protocol number: accepted sockets inherit it, and asyncio sets TCP_NODELAY by it. Without, each
    # message of a reply waits for the acknowledgement of the one before.
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            # A restarted server must not wait for its own old connections to time out.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(bind: BindAddress, key: str, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{key}: port {bind.port} needs root; choose one from 1024 up"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{key}: {bind.host} is not an address of this machine; 0.0.0.0 means all of them"
    return f"{key}: can't listen on {bind}: {error.strerror}"


def _protocol(kind: socket.SocketKind) -> str:
    return "TCP" if kind == socket.SOCK_STREAM else "UDP"


def outward_address() -> str:
    """The IPv4 address of this machine's default route: the one most likely to be seen by devices.

    127.0.0.1 when there is no network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a UDP socket sends nothing; it only asks for the route.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def owner_of_port(port: int, kind: socket.SocketKind) -> str:
    """The owner of a port, such as ` by pid 812 (mosquitto)`; empty when this user may not see it."""
    try:
        for connection in psutil.net_connections("tcp" if kind == socket.SOCK_STREAM else "udp"):
            bound = connection.laddr and connection.laddr.port == port
            if bound and connection.pid and connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE):
                return f" by pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return ""
