"""One-time links at which devices post a picture: each takes one upload, within a few minutes.

A device posts without saying who it is (device contract, section 6): the link is the secret.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.store.audit import SERVER, Author

LINK_S: Final = 120.0
"""The time in which a link takes an upload, in seconds."""
MAX_LINKS: Final = 1_000
"""Links that are open at once."""
LINKS_PER_DEVICE: Final = 4
"""Of those, links of one device."""
TOKEN_BYTES: Final = 16
"""Random bytes of a link."""

_links = Counter("mimi_upload_links_total", "One-time links for uploads, by what became of them.", ["result"])


@dataclass(eq=False, slots=True)
class UploadLink:
    """An open link: whose upload it takes, and `upload_id`, the result."""

    device_id: str
    owner_id: str
    group_id: str
    kind: str
    until: float
    """Time of the loop until which an upload may begin, in s."""
    author: Author = SERVER
    """The asker of the picture."""
    key: bytes = field(default=b"", repr=False)
    upload_id: str = ""


class UploadLinks:
    """Open links by the SHA-256 of their secret part: the time of a look-up tells nothing about it."""

    def __init__(self) -> None:
        self._open: dict[bytes, UploadLink] = {}

    def __len__(self) -> int:
        """Links that are open."""
        return len(self._open)

    def open(self, link: UploadLink, now: float) -> str | None:
        """Opens a link, and returns its secret part, URL-safe; None when too many are open."""
        for key in [key for key, other in self._open.items() if now >= other.until]:
            self._close(key, "expired")
        own = sum(other.device_id == link.device_id for other in self._open.values())
        if len(self._open) >= MAX_LINKS or own >= LINKS_PER_DEVICE:
            return None
        token = secrets.token_bytes(TOKEN_BYTES)
        link.key = _digest(token)
        self._open[link.key] = link
        return base64.urlsafe_b64encode(token).decode().rstrip("=")

    def take(self, secret: str, now: float) -> UploadLink | None:
        """Takes a link: nobody else can take it after. None: there is none such, it was taken, or its time is
        over."""
        try:
            token = base64.b64decode(secret + "==", altchars=b"-_", validate=True)
        except ValueError:
            token = secret.encode(errors="replace")
        found = self._open.get(_digest(token))
        if found is None:
            return None
        self._close(found.key, "taken" if now < found.until else "expired")
        return found if now < found.until else None

    def close(self, link: UploadLink) -> None:
        """Forgets a link. Safe to call twice."""
        self._close(link.key, "withdrawn")

    def _close(self, key: bytes, result: str) -> None:
        if self._open.pop(key, None) is not None:
            _links.labels(result).inc()


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
