"""Addresses of the running server: the ports that it has, and the hosts by which it is reached."""

from collections.abc import Iterator

from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.provisioning import Endpoints
from mimi_mqtt.tls.certificate import ServerCertificate
from mimi_mqtt.transports.listening import outward_address
from mimi_mqtt.transports.sockets import Sockets
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.transports.websocket import PATH

_ALL_ADDRESSES = ("0.0.0.0", "::")


class Addresses:
    """The addresses of a server whose `sockets` are bound and whose `udp` has started. `certificate` is that
    of the HTTP port, None without TLS."""

    def __init__(
        self,
        settings: Settings,
        sockets: Sockets,
        udp: UdpServer,
        directory: DeviceDirectory,
        certificate: ServerCertificate | None,
    ) -> None:
        self._settings = settings
        self._udp = udp
        self._directory = directory
        self.certificate = certificate
        self.http_port = int(sockets.http.getsockname()[1])
        """The bound port of HTTP."""
        tls = sockets.mqtt_tls
        self.endpoints = Endpoints(
            mqtt_port=int(sockets.mqtt.getsockname()[1]),
            mqtt_tls_port=int(tls.getsockname()[1]) if tls is not None else None,
            udp_port=udp.advertised_port,
            http_port=self.http_port,
            public_host=settings.server.public_host,
            websocket_path=PATH,
        )

    def origin(self, device_id: str) -> str | None:
        """The start of the HTTP address by which the device reaches this server."""
        device = self._directory.get(device_id)
        if device is None:
            return None
        host = self.endpoints.public_host or device.host
        return device.origin or (self.endpoints.http_origin(host) if host else None)

    def movable_ports(self) -> Iterator[tuple[str, int, int]]:
        """The keys of ports that may move, the port of each and the one in use."""
        settings, endpoints = self._settings, self.endpoints
        yield "mqtt.bind", settings.mqtt.bind.port, endpoints.mqtt_port
        if endpoints.mqtt_tls_port is not None:
            yield "mqtt.tls_bind", settings.mqtt.tls_bind.port, endpoints.mqtt_tls_port
        yield "udp.bind", settings.udp.bind.port, self._udp.port

    @property
    def local_host(self) -> str:
        """The address by which this machine reaches the server."""
        host = self._settings.http.bind.host
        return "127.0.0.1" if host in _ALL_ADDRESSES else host

    @property
    def device_host(self) -> str:
        """The address by which devices reach the server, as far as this machine can tell."""
        host = self._settings.http.bind.host
        return self._settings.server.public_host or (outward_address() if host in _ALL_ADDRESSES else host)

    @property
    def certified_host(self) -> str | None:
        """The host by which devices reach the HTTP port over TLS; None without a certificate."""
        return self.certificate.name_for(self.device_host) if self.certificate is not None else None
