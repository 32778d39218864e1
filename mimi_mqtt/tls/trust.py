"""Public trust: certificates of authorities that devices know without being told."""

import warnings
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError


@cache
def public_authorities() -> Store:
    """Mozilla's list of authorities: that of ESP-IDF's certificate bundle, and of many browsers. Raises
    OSError and ValueError when it can't be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of an old authority's serial number
        return Store(x509.load_pem_x509_certificates(Path(certifi.where()).read_bytes()))


def is_trusted(
    chain: Sequence[x509.Certificate], host: str, now: datetime, authorities: Store | None = None
) -> bool:
    """True when a client that knows the `authorities` (the public ones unless given) accepts the chain, the
    server's own certificate first, for `host` at `now`. Raises OSError and ValueError when the public ones
    can't be read."""
    policy = PolicyBuilder().store(authorities or public_authorities()).time(now)
    try:
        policy.build_server_verifier(_subject(host)).verify(chain[0], [*chain[1:]])
    except (VerificationError, ValueError):  # ValueError: no name, or a certificate that breaks the rules
        return False
    return True


def _subject(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
