import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import AudioPacketError
from mimi_mqtt.wire import audio_packet
from mimi_mqtt.wire.audio_packet import AudioCipher, AudioHeader

KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
SSRC = 0xDEADBEEF
OPUS = bytes.fromhex("580102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627")

# The right column is what `openssl enc -aes-128-ctr -K 0001…0f -iv <header>` (OpenSSL 3.0) makes of OPUS.
UPLINK = (
    "01 00 0028 deadbeef 00000000 00000001",
    "9464dc9b856e7266462b4c1d8b501f8dc4b006cbe158c61e008d00dfcc289c41eba631e736f2cecb",
)
DOWNLINK = (
    "01 01 0028 deadbeef 0000003c 00000007",
    "de19eea614690062440ad9acf4a0eaedb3495b92b8ddc74d27bd2e15e132b668b46df7f3ea78397f",
)
COUNTER_WRAPS = (
    "01 01 0028 deadbeef ffffffff ffffffff",
    "0654ed8a7994a1e0066a00e665736bb8331858bbeaf83a74894f66bbf255517ee1800538019a2c3e",
)

u32 = st.integers(0, 2**32 - 1)


def test_uplink_vector_in_both_directions() -> None:
    header, encrypted = (bytes.fromhex(part) for part in UPLINK)
    nonce = audio_packet.nonce_template(SSRC)
    assert nonce == bytes.fromhex("01 00 0000 deadbeef 00000000 00000000")
    assert audio_packet.pack_uplink(nonce, 0, 1, len(OPUS)) == header
    assert AudioCipher(KEY).encrypt(header, OPUS) == header + encrypted
    assert AudioCipher(KEY).decrypt(header + encrypted) == OPUS
    assert audio_packet.parse_header(header + encrypted) == AudioHeader(1, 0, 40, SSRC, 0, 1)


def test_downlink_vector_in_both_directions() -> None:
    header, encrypted = (bytes.fromhex(part) for part in DOWNLINK)
    assert audio_packet.pack_downlink(SSRC, 60, 7, len(OPUS)) == header
    assert AudioCipher(KEY).encrypt(header, OPUS) == header + encrypted
    assert AudioCipher(KEY).decrypt(header + encrypted) == OPUS
    assert audio_packet.parse_header(header + encrypted) == AudioHeader(1, 1, 40, SSRC, 60, 7)


def test_vector_whose_block_counter_carries_into_the_timestamp() -> None:
    header, encrypted = (bytes.fromhex(part) for part in COUNTER_WRAPS)
    assert AudioCipher(KEY).encrypt(header, OPUS) == header + encrypted


def openssl(key: bytes, header: bytes, payload: bytes) -> bytes | None:
    """What the machine's own OpenSSL says, or None on a machine without it."""
    program = shutil.which("openssl")
    if program is None:
        return None
    command = [program, "enc", "-aes-128-ctr", "-K", key.hex(), "-iv", header.hex(), "-nopad"]
    return subprocess.run(command, input=payload, capture_output=True, check=True).stdout


@pytest.mark.parametrize("vector", [UPLINK, DOWNLINK, COUNTER_WRAPS])
def test_openssl_on_this_machine_agrees(vector: tuple[str, str]) -> None:
    header, encrypted = (bytes.fromhex(part) for part in vector)
    assert openssl(KEY, header, OPUS) in (encrypted, None)


@given(st.binary(min_size=16, max_size=16), st.lists(st.tuples(u32, u32, st.binary(min_size=1)), min_size=1))
def test_one_cipher_serves_any_packets_in_any_order(
    key: bytes, packets: list[tuple[int, int, bytes]]
) -> None:
    ours, theirs = AudioCipher(key), AudioCipher(key)
    for timestamp, sequence, payload in packets:
        header = audio_packet.pack_downlink(SSRC, timestamp, sequence, len(payload))
        datagram = ours.encrypt(header, payload)
        assert audio_packet.parse_header(datagram) == AudioHeader(
            1, 1, len(payload), SSRC, timestamp, sequence
        )
        assert theirs.decrypt(datagram) == payload


@given(st.binary(max_size=80))
def test_header_of_anything_is_read_or_refused(datagram: bytes) -> None:
    try:
        header = audio_packet.parse_header(datagram)
    except AudioPacketError:
        return
    assert header.length == len(datagram) - 16 > 0


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        bytes.fromhex("0100 0000 deadbeef 00000000 00000001"),
        bytes.fromhex("0200 0001 deadbeef 00000000 00000001 58"),
        bytes.fromhex("0100 0002 deadbeef 00000000 00000001 58"),
        bytes.fromhex("0100 0000 deadbeef 00000000 00000001 58"),
    ],
    ids=["empty", "header only", "wrong type", "longer than it is", "shorter than it is"],
)
def test_malformed_datagrams_are_refused(datagram: bytes) -> None:
    with pytest.raises(AudioPacketError):
        audio_packet.parse_header(datagram)


def test_fields_that_do_not_fit_are_refused() -> None:
    nonce = audio_packet.nonce_template(SSRC)
    for pack in (
        lambda: audio_packet.pack_downlink(SSRC, 2**32, 1, 1),
        lambda: audio_packet.pack_downlink(SSRC, 0, 1, 2**16),
        lambda: audio_packet.pack_uplink(nonce, 0, 2**32, 1),
        lambda: audio_packet.pack_uplink(nonce[:15], 0, 1, 1),
        lambda: AudioCipher(bytes(15)),
    ):
        with pytest.raises(AudioPacketError):
            pack()


def test_uplink_keeps_the_flags_of_the_nonce() -> None:
    nonce = bytes.fromhex("01 a5 0000 deadbeef 00000000 00000000")
    assert audio_packet.pack_uplink(nonce, 120, 9, 3) == bytes.fromhex(
        "01 a5 0003 deadbeef 00000078 00000009"
    )


def test_session_key_vector() -> None:
    # `openssl kdf -kdfopt hexkey:0001…0f -kdfopt salt:sess-0001 -kdfopt "info:mimi-mqtt udp audio v1" HKDF`
    assert audio_packet.derive_session_key(KEY, "sess-0001").hex() == "280b5babe67735b9373e78fb97d7a5a8"


@given(st.binary(min_size=16, max_size=16), st.text(st.characters(codec="utf-8"), max_size=80))
def test_session_key_is_hkdf_sha256(master_key: bytes, session_id: str) -> None:
    reference = HKDF(SHA256(), 16, salt=session_id.encode(), info=b"mimi-mqtt udp audio v1").derive(
        master_key
    )
    assert audio_packet.derive_session_key(master_key, session_id) == reference


def test_downlink_shares_no_counter_block_with_the_uplink_or_itself() -> None:
    def blocks(header: bytes, payload_bytes: int) -> set[int]:
        first = int.from_bytes(header)
        return {first + index for index in range(-(-payload_bytes // 16))}

    nonce = audio_packet.nonce_template(SSRC)
    seen: set[int] = set()
    for sequence in range(1, 500):
        uplink = blocks(audio_packet.pack_uplink(nonce, sequence * 60, sequence, 150), 150)
        downlink = blocks(audio_packet.pack_downlink(SSRC, sequence * 60, sequence, 150), 150)
        assert not downlink & uplink
        assert not downlink & seen
        seen |= downlink
