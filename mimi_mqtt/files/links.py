"""Signed links: addresses of downloads that carry their own permission, for a short time; pure."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

SIGNATURE_CHARS: Final = 22
"""Characters of a signature: 128 bits in base64url."""
_MAX_MOMENT_DIGITS: Final = 12


class SignedLinks:
    """Makes and checks the query of a link. `keys` gives the key that signs, and older ones that are still
    believed, in this order; a rotation of the server's secret changes them."""

    def __init__(self, keys: Callable[[], tuple[bytes, ...]]) -> None:
        self._keys = keys

    def query(self, path: str, until: float) -> str:
        """The query of a link to `path` that is good until a time, in seconds since 1970, such as
        `until=1790000000&sig=…`. It has no colon (device contract, section 5)."""
        moment = int(until)
        return f"until={moment}&sig={_signature(self._keys()[0], path, moment)}"

    def is_good(self, path: str, until: str, signature: str, now: float) -> bool:
        """True when the link was signed by this server for `path`, and its time is not over. Takes the same
        time for every wrong signature."""
        if not (until.isascii() and until.isdigit() and len(until) <= _MAX_MOMENT_DIGITS):
            return False
        moment, given = int(until), signature.encode("utf-8", "replace")
        signed = [hmac.compare_digest(given, _signature(key, path, moment).encode()) for key in self._keys()]
        return any(signed) and now < moment


def _signature(key: bytes, path: str, moment: int) -> str:
    digest = hmac.digest(key, f"link|{moment}|{path}".encode("utf-8", "replace"), "sha256")
    return urlsafe_b64encode(digest[:16]).rstrip(b"=").decode("ascii")
