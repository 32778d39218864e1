"""The address by which a browser reaches the app, for links and passkeys; pure."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request

from mimi_mqtt.errors import Invalid
from mimi_mqtt.http.hosts import is_same_host
from mimi_mqtt.people.passkeys import Site


def web_origin(request: Request, public_url: str | None) -> str:
    """The start of links to the app: http.public_url, or the address of this request."""
    return public_url or f"{request.url.scheme}://{request.headers.get('host', '')}"


def passkey_site(request: Request, public_url: str | None) -> Site:
    """The site of a page that asks for a passkey.

    It is the app's own page: pages of http.allowed_hosts may use the API, but a passkey is only for the page
    that the server serves. Raises Invalid where browsers have no passkeys: at IP addresses, and without TLS
    anywhere but on this machine.
    """
    origin = request.headers.get("origin", "")
    if origin != public_url and not is_same_host(origin, request.headers.get("host", "")):
        raise Invalid("passkeys are for the pages of this server: open its app, at its own address")
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if _is_address(host):
        raise Invalid("passkeys need a name in place of an IP address: open the app by https:// and a name")
    if parts.scheme != "https" and host != "localhost" and not host.endswith(".localhost"):
        raise Invalid("passkeys need https://, or http://localhost on the server's own machine")
    return Site(origin, host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
