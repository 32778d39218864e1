"""Random tokens of which the server keeps only the digest, and random ids; pure."""

import hashlib
import secrets
from typing import Final

TOKEN_CHARS: Final = 43
"""Characters of a token without its prefix: 256 random bits in base64url."""
KEY_PREFIX: Final = "mk_"
"""Beginning of an API key, by which people and scanners for leaked secrets know it."""


def new_token(prefix: str = "") -> str:
    """A token of 256 random bits behind `prefix`."""
    return prefix + secrets.token_urlsafe(32)


def new_link_token() -> str:
    """A token of 128 random bits, for links that people copy."""
    return secrets.token_urlsafe(16)


def new_id(prefix: str) -> str:
    """An id of 64 random bits behind a letter."""
    return prefix + secrets.token_hex(8)


def digest(token: str) -> str:
    """The kept form of a token: its SHA-256. It is not guessed as a password would be, so a fast digest is
    enough, and being looked up by it tells nothing of the token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
