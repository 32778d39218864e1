"""Audio datagrams: the 16-byte header, its AES-128-CTR cipher and the session key.

The header, big-endian, *is* the cipher's initial counter block. Source: the device contract, section 4. Both
directions share the session's key, so the downlink sets a flag bit and a strictly increasing timestamp: none
of its counter blocks ever meets one of the uplink or of another downlink packet.
"""

import hmac
import struct
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from mimi_mqtt.errors import AudioPacketError

HEADER_BYTES = 16
KEY_BYTES = 16
AUDIO_TYPE = 0x01
DOWNLINK_FLAGS = 0x01
UPLINK_FLAGS = 0x00
MAX_PAYLOAD_BYTES = 1_484
"""Longest payload: the device's 1,500-byte receive buffer without the header."""

_HEADER = struct.Struct(">BBHIII")
_KEY_INFO = b"mimi-mqtt udp audio v1"


class AudioHeader(NamedTuple):
    """The header's fields; `length` is the payload's in bytes, `timestamp` in ms."""

    type: int
    flags: int
    length: int
    ssrc: int
    timestamp: int
    sequence: int


def derive_session_key(master_key: bytes, session_id: str) -> bytes:
    """The 16-byte session key: HKDF-SHA256 (RFC 5869) of the master key, salted with the session id."""
    pseudo_random_key = hmac.digest(session_id.encode(), master_key, "sha256")
    return hmac.digest(pseudo_random_key, _KEY_INFO + b"\x01", "sha256")[:KEY_BYTES]


def parse_header(datagram: bytes) -> AudioHeader:
    """The header of a datagram of the right type and exact length; raises AudioPacketError."""
    size = len(datagram)
    if size <= HEADER_BYTES:
        raise AudioPacketError(f"datagram of {size} bytes holds no audio")
    header = AudioHeader._make(_HEADER.unpack_from(datagram))
    if header.type != AUDIO_TYPE:
        raise AudioPacketError(f"packet type is 0x{header.type:02x}, not 0x01")
    if header.length != size - HEADER_BYTES:
        raise AudioPacketError(
            f"header says {header.length} bytes of payload, there are {size - HEADER_BYTES}"
        )
    return header


def nonce_template(ssrc: int) -> bytes:
    """The nonce that hello carries: an uplink header without length, timestamp and sequence."""
    return _HEADER.pack(AUDIO_TYPE, UPLINK_FLAGS, 0, ssrc, 0, 0)


def pack_downlink(ssrc: int, timestamp: int, sequence: int, length: int) -> bytes:
    """The header of a packet to the device; raises AudioPacketError when a field does not fit."""
    try:
        return _HEADER.pack(AUDIO_TYPE, DOWNLINK_FLAGS, length, ssrc, timestamp, sequence)
    except struct.error as error:
        raise AudioPacketError(f"a header field is out of range: {error}") from error


def pack_uplink(nonce: bytes, timestamp: int, sequence: int, length: int) -> bytes:
    """The header of a device's packet: hello's 16-byte `nonce`, type, flags and ssrc as they are.

    Raises AudioPacketError when a field does not fit.
    """
    try:
        kind, flags, _, ssrc, _, _ = _HEADER.unpack(nonce)
        return _HEADER.pack(kind, flags, length, ssrc, timestamp, sequence)
    except struct.error as error:
        raise AudioPacketError(f"a header field is out of range: {error}") from error


class AudioCipher:
    """One session's cipher; a context for each direction, re-used for every packet. Not thread-safe."""

    __slots__ = ("_incoming", "_outgoing")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise AudioPacketError(f"the key has {len(key)} bytes, not {KEY_BYTES}")
        cipher = Cipher(AES(key), CTR(bytes(HEADER_BYTES)))
        self._incoming = cipher.decryptor()
        self._outgoing = cipher.encryptor()

    def decrypt(self, datagram: bytes) -> bytes:
        """The payload of a datagram whose header was parsed. There is no tag: judge before you believe."""
        context = self._incoming
        context.reset_nonce(datagram[:HEADER_BYTES])
        return context.update(datagram[HEADER_BYTES:])

    def encrypt(self, header: bytes, payload: bytes) -> bytes:
        """The whole datagram: `header` in clear and `payload` under it."""
        context = self._outgoing
        context.reset_nonce(header)
        return header + context.update(payload)
