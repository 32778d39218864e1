"""Encryption of providers' keys in the store: AES-256-GCM with a key that follows from the server's secret.

What is sealed belongs to its place: the name of the provider and the option are authenticated with it, so
that a sealed key moved to another row is of no use there.
"""

import base64
import binascii
import os
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PURPOSE: Final = "provider keys"
"""The purpose of the key, for `Credentials.key`."""

_NONCE_BYTES: Final = 12


class SecretKeys(Protocol):
    """The keys that follow from the server's secret, as `fleet.credentials.Credentials` has them."""

    secret_id: str

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose."""

    def old_key(self, purpose: str) -> bytes | None:
        """The same of the secret before the last rotation; None when that is over."""


class Unreadable(Exception):
    """Something was sealed with a secret that is no longer known, or was damaged."""


def seal(text: str, keys: SecretKeys, name: str, option: str) -> str:
    """`text` encrypted for the option of the provider `name`, in base64."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(keys.key(PURPOSE)).encrypt(nonce, text.encode(), _place(name, option))
    return base64.b64encode(nonce + sealed).decode("ascii")


def unseal(sealed: str, keys: SecretKeys, name: str, option: str) -> str:
    """The text that was sealed with the secret in force, or the one before it while that is good. Raises
    Unreadable."""
    try:
        content = base64.b64decode(sealed, validate=True)
    except binascii.Error:
        raise Unreadable from None
    nonce, encrypted = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
    for key in (keys.key(PURPOSE), keys.old_key(PURPOSE)):
        if key is None or len(nonce) < _NONCE_BYTES:
            continue
        try:
            return AESGCM(key).decrypt(nonce, encrypted, _place(name, option)).decode()
        except InvalidTag:
            continue
    raise Unreadable


def _place(name: str, option: str) -> bytes:
    return f"{name}\0{option}".encode()
