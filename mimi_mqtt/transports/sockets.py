"""The server's sockets, all opened before anything is served."""

import socket
from dataclasses import dataclass

from mimi_mqtt.config import Settings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.transports.listening import open_tcp, open_udp


@dataclass(frozen=True, slots=True)
class Sockets:
    """The server's sockets, bound before anything else starts: a taken port ends the start at once."""

    http: socket.socket
    mqtt: socket.socket
    mqtt_tls: socket.socket | None
    udp: socket.socket

    @classmethod
    def open(cls, settings: Settings) -> "Sockets":
        """Binds what `settings` asks for. Raises StartupError; then none stays open."""
        opened: list[socket.socket] = []

        def keep(sock: socket.socket) -> socket.socket:
            opened.append(sock)
            return sock

        mqtt, udp = settings.mqtt, settings.udp
        try:
            # HTTP first: it can't move, and most likely tells that a server is running already.
            return cls(
                http=keep(open_tcp(settings.http.bind, "http.bind")),
                mqtt=keep(open_tcp(mqtt.bind, "mqtt.bind", movable="bind" not in mqtt.model_fields_set)),
                mqtt_tls=keep(
                    open_tcp(mqtt.tls_bind, "mqtt.tls_bind", movable="tls_bind" not in mqtt.model_fields_set)
                )
                if mqtt.tls_certificate is not None
                else None,
                udp=keep(open_udp(udp.bind, "udp.bind", movable="bind" not in udp.model_fields_set)),
            )
        except StartupError:
            for sock in opened:
                sock.close()
            raise
