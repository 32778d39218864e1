"""The page for people who open the OTA address, or a server without the web app: the OTA address to enter in
a device, the ports, the state of the server, and the way to the app.

Plain HTML without scripts or anything from elsewhere; every value is escaped.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from html import escape

from starlette.requests import Request
from starlette.responses import Response

from mimi_mqtt import __version__
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.provisioning import Endpoints
from mimi_mqtt.http.addressing import ota_address
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.http.monitoring import Readers

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}"
    ":root{color-scheme:light dark}"
    "code{font-size:1.05em;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8884;vertical-align:top}"
    ".down{color:#c22;font-weight:600}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

_NO_APP = (
    "<h2>The web app</h2><p>It is not built here. In a clone, <code>./scripts/web</code> builds it (it needs "
    "the network once); packages and images of a release hold it. Until then, <code>mimi-mqtt users add "
    "--admin NAME</code> makes an administrator, and the REST API has all that the app has.</p>"
)
_APP = '<h2>The web app</h2><p><a href="/">Set up, look, listen and talk</a></p>'


def wants_page(request: Request) -> bool:
    """True for the request of a browser, False for that of a device."""
    return "device-id" not in request.headers and "text/html" in request.headers.get("accept", "")


class PlainPage:
    """Renders the page from the state of the moment."""

    def __init__(
        self,
        endpoints: Endpoints,
        directory: DeviceDirectory,
        health: Callable[[], Mapping[str, PartHealth]],
        readers: Readers,
        advice: Callable[[], Sequence[str]] = tuple,
        has_app: bool = False,
    ) -> None:
        self._endpoints = endpoints
        self._directory = directory
        self._health = health
        self._readers = readers
        self._advice = advice
        self._has_app = has_app

    def page(self, request: Request) -> Response:
        """The whole page."""
        address = escape(ota_address(request, self._endpoints.public_host))
        ports = [("MQTT (TCP)", str(self._endpoints.mqtt_port))]
        if self._endpoints.mqtt_tls_port is not None:
            ports.append(("MQTT (TLS)", str(self._endpoints.mqtt_tls_port)))
        ports.append(("Audio (UDP)", str(self._endpoints.udp_port)))
        body = (
            f"<h1>mimi_mqtt {escape(__version__)}</h1>"
            "<p>A voice server for ESP32 devices.</p>"
            "<h2>Connect a device</h2><p>Enter this as the device's OTA address:</p>"
            f"<p><code>{address}</code></p>"
            f"<h2>Ports</h2>{_table(ports)}"
            f"<h2>State</h2>{self._state(request)}{self._advised()}{_APP if self._has_app else _NO_APP}"
            '<p><a href="/healthz">/healthz</a> · <a href="/metrics">/metrics</a> · '
            '<a href="/docs">/docs</a> (REST API)</p>'
        )
        return Response(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mimi_mqtt</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
            f"<body>{body}</body></html>",
            media_type="text/html",
            headers={"Content-Security-Policy": _POLICY},
        )

    def _state(self, request: Request) -> str:
        if not self._readers.allow(request):
            works = all(part.ok for part in self._health().values())
            return f"<p>{'All parts work.' if works else '<span class=down>A part is down.</span>'}</p>"
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td{'' if part.ok else ' class=down'}>"
            f"{'ok' if part.ok else 'down'}</td><td>{escape(part.detail)}</td></tr>"
            for name, part in self._health().items()
        )
        return f"<table>{rows}</table><p>{len(self._directory)} devices may connect.</p>"

    def _advised(self) -> str:
        """The commands that give a language model, where there is none."""
        commands = "".join(f"<p><code>{escape(command)}</code></p>" for command in self._advice())
        if not commands:
            return ""
        return f"<h2>No language model yet</h2><p>These two commands give this machine one:</p>{commands}"


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"
