"""One-time addresses of recordings: each may be fetched once, within a minute.

A device fetches without saying who it is (device contract, section 3): the address is the secret.
"""

import asyncio
import base64
import hashlib
import secrets
from enum import Enum
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.voice.notices.recording import Recording

FETCH_WITHIN_S: Final = 60.0
"""The time in which an address may be fetched, in seconds."""
MAX_OPEN: Final = 2_000
"""Addresses that may be fetched, or are being fetched, at once."""
TOKEN_BYTES: Final = 16
"""Random bytes of an address."""

_fetches = Counter("mimi_notice_fetches_total", "One-time addresses, by what became of them.", ["result"])


class FetchState(Enum):
    """The present state of an address."""

    OPEN = "open"
    FETCHING = "fetching"
    WHOLE = "whole"
    """Fetched to the end."""
    PARTLY = "partly"
    """The fetch ended before."""
    NEVER = "never"
    """Not fetched, and can't be any more."""


class Fetch:
    """The fetch of one address: opened by `offers`, served by `http.notices`."""

    def __init__(self, recording: Recording, until: float, key: bytes = b"") -> None:
        self.recording = recording
        self.key = key
        """The hash by which its address is found."""
        self.until = until
        """Loop time until which it may begin, in s."""
        self.state = FetchState.OPEN
        self.began_at = 0.0
        """Loop time of its beginning, in s."""
        self.begun = asyncio.Event()
        """Set when it began, or can't any more."""
        self.ended = asyncio.Event()
        """Set when it ended, or can't begin any more; its server then stops."""

    def end(self, *, whole: bool) -> None:
        """It ended; safe to call twice."""
        if self.state is FetchState.FETCHING:
            self._become(FetchState.WHOLE if whole else FetchState.PARTLY)

    def withdraw(self) -> None:
        """Cancels it: it can't begin any more, and what is being sent ends."""
        if self.state is FetchState.OPEN:
            self._become(FetchState.NEVER)
        else:
            self.end(whole=False)

    def begin(self, now: float) -> None:
        """A client fetches it."""
        self.state, self.began_at = FetchState.FETCHING, now
        self.begun.set()

    def _become(self, state: FetchState) -> None:
        self.state = state
        _fetches.labels(state.value).inc()
        self.begun.set()
        self.ended.set()


class NoticeUrls:
    """Open addresses by the SHA-256 of their secret part: the time of a look-up tells nothing about it."""

    def __init__(self) -> None:
        self._open: dict[bytes, Fetch] = {}

    def __len__(self) -> int:
        """Addresses that may be fetched, or are being fetched."""
        return len(self._open)

    def open(self, recording: Recording, now: float) -> tuple[str, Fetch] | None:
        """A new address's secret part, URL-safe, and its fetch; None when `MAX_OPEN` are open."""
        if len(self._open) >= MAX_OPEN:
            return None
        token = secrets.token_bytes(TOKEN_BYTES)
        key = _digest(token)
        fetch = self._open[key] = Fetch(recording, now + FETCH_WITHIN_S, key)
        return base64.urlsafe_b64encode(token).decode().rstrip("="), fetch

    def close(self, fetch: Fetch) -> None:
        """Forgets an address, and ends its fetch. Safe to call twice."""
        fetch.withdraw()
        self._open.pop(fetch.key, None)

    def find(self, secret: str, now: float) -> Fetch | None:
        """The fetch of an address, to be begun. None: there is none such, it was fetched, or its time is
        over."""
        fetch = self._open.get(_digest(_token(secret)))
        if fetch is None or fetch.state is not FetchState.OPEN or now >= fetch.until:
            return None
        return fetch


def _token(secret: str) -> bytes:
    """The bytes of an address's secret part; other bytes for what is none."""
    try:
        return base64.b64decode(secret + "==", altchars=b"-_", validate=True)
    except ValueError:
        return secret.encode(errors="replace")


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
