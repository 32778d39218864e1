"""Tokens that open the WebSocket of a browser device: short-lived, and worth nothing anywhere else; pure.

A browser can set no headers on a WebSocket, so its token travels in the address, which a proxy on the way may
log. It is good for a minute, names its device and credential epoch, and follows from the server's secret, so
that every node can check it and nothing is stored.
"""

import hmac
from base64 import urlsafe_b64encode
from typing import Final

from mimi_mqtt.fleet.credentials import Credentials

LIFETIME_S: Final = 60
"""Seconds for which a token opens connections. A connection outlives it."""

_PURPOSE: Final = "tokens of browser devices"
_START: Final = b"browser."
_MAX_MOMENT_DIGITS: Final = 12


class BrowserTokens:
    """Makes and checks tokens. `now` is in seconds since 1970."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def token(self, device_id: str, epoch: int, now: float) -> str:
        """A token for a device's present credentials: `browser.UNTIL.SIGNATURE`."""
        until = int(now) + LIFETIME_S
        signature = _signature(self._credentials.key(_PURPOSE), device_id, epoch, until)
        return f"{_START.decode()}{until}.{signature.decode()}"

    @staticmethod
    def is_one(token: bytes) -> bool:
        """True when it looks like a token, which no other credential does."""
        return token.startswith(_START)

    def is_good(self, token: bytes, device_id: str, epoch: int, now: float) -> bool:
        """True when the token was made for the device and its time is not over. Takes the same time for every
        wrong signature."""
        moment, _, given = token.removeprefix(_START).partition(b".")
        until = int(moment) if moment.isdigit() and len(moment) <= _MAX_MOMENT_DIGITS else 0
        keys = (self._credentials.key(_PURPOSE), self._credentials.old_key(_PURPOSE))
        signed = [
            hmac.compare_digest(given, _signature(key, device_id, epoch, until))
            for key in keys
            if key is not None
        ]
        return any(signed) and now < until <= now + LIFETIME_S


def _signature(key: bytes, device_id: str, epoch: int, until: int) -> bytes:
    digest = hmac.digest(key, f"browser|{device_id}|{epoch}|{until}".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=")
