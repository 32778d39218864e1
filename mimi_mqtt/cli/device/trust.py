"""The certificates that a simulated device believes: of public authorities, as firmware does, or others."""

import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx

from mimi_mqtt.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Trust:
    """The authorities of OTA over https, MQTT over TLS and wss: `ca` names a file of them instead of the
    public ones; `insecure` believes everyone."""

    ca: Path | None = None
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """The TLS context of a connection. Raises ConfigError: the file of `ca` can't be used."""
        return _context(self)


@cache
def _context(trust: Trust) -> ssl.SSLContext:
    if trust.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if trust.ca is not None:
        try:
            return ssl.create_default_context(cafile=trust.ca)
        except OSError as error:
            raise ConfigError(f"--tls-ca: {trust.ca} is no file of certificates in PEM: {error}") from error
    # The list of a browser maker, as in firmware, and what this machine trusts besides.
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
