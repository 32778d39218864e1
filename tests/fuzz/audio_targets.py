"""Fuzz targets of audio: a datagram's header, trust in a session's uplink, libopus' verdict, Ogg streams."""

from mimi_mqtt.audio.opus import OpusDecoder, OpusEncoder, PacketCheck, packet_duration_samples
from mimi_mqtt.errors import AudioError, AudioPacketError, OggError
from mimi_mqtt.transports.udp_channel import Uplink, UplinkLimits
from mimi_mqtt.transports.udp_rows import Address
from mimi_mqtt.wire.audio_packet import (
    AudioCipher,
    nonce_template,
    pack_uplink,
    parse_header,
)
from mimi_mqtt.wire.ogg import MAX_PACKET_BYTES, OggOpusReader, OggOpusWriter, OpusPacket, checksum
from tests.fuzz.target import Source, Target, pieces, told_briefly

_RATE, _FRAME_MS = 16_000, 60
_FRAME_SAMPLES = _RATE * _FRAME_MS // 1000
_KEY = bytes(range(16))
_SSRC = 0x01020304


def check_header(data: bytes) -> bool:
    """A datagram's header: only AudioPacketError; what is decrypted encrypts to the same datagram."""
    try:
        header = parse_header(data)
    except AudioPacketError:
        return False
    assert header.length == len(data) - 16
    cipher = AudioCipher(_KEY)
    assert cipher.encrypt(data[:16], cipher.decrypt(data)) == data
    assert pack_uplink(data[:16], header.timestamp, header.sequence, header.length) == data[:16]
    return True


def check_packet(data: bytes) -> bool:
    """An Opus packet: what the check accepts has the frame's length and decodes to it."""
    accepted = PacketCheck(_RATE, _FRAME_MS)(data)
    if not accepted:
        return False
    assert packet_duration_samples(data, _RATE) == _FRAME_SAMPLES
    try:
        samples = OpusDecoder(_RATE).decode(data)
    except AudioError:  # one that is well-formed outside may be broken within
        return True
    assert len(samples) == _FRAME_SAMPLES
    return True


class _Sink:
    """Keeps the packets that a session is given."""

    def __init__(self) -> None:
        self.packets: list[tuple[bytes, int]] = []

    def audio_received(self, packet: bytes, sequence: int, timestamp: int, arrived: float) -> None:
        self.packets.append((packet, sequence))


_ADDRESSES: tuple[Address, ...] = (
    ("192.0.2.1", 1000),
    ("192.0.2.1", 2000),
    ("203.0.113.9", 6),
    ("198.51.100.7", 7),
    ("198.51.100.8", 8),
    ("198.51.100.9", 9),
)
_GOOD, _BAD = b"\x58", b"\xff" * 20  # a frame of silence, 60 ms in SILK at 16 kHz; stereo


def check_uplink(data: bytes) -> bool:
    """A session's datagrams from several addresses: only good audio is delivered, each packet once."""
    check, sink = PacketCheck(_RATE, _FRAME_MS), _Sink()
    limits = UplinkLimits(max_sequence_jump=250, max_datagrams_per_s=200.0, path_proof_packets=3)
    uplink = Uplink(AudioCipher(_KEY), check, sink, limits, _FRAME_MS, 100.0, {"session": "s"})
    device, source, now, sequence, sent = AudioCipher(_KEY), Source(data), 100.0, 0, 0
    while source and sent < 200:
        kind = source.number(1)
        now += kind % 8 * 0.03
        jump = source.number(1)
        sequence = source.number(4) if jump == 255 else max(0, sequence + jump % 16 - 2) & 0xFFFFFFFF
        payload = source.take(kind & 63) if kind & 64 else _BAD if kind & 128 else _GOOD
        if not payload:
            continue
        nonce = nonce_template(_SSRC) if jump != 254 else b"\x01\x01" + nonce_template(_SSRC)[2:]
        datagram = device.encrypt(pack_uplink(nonce, source.number(1), sequence, len(payload)), payload)
        sent += 1
        before = len(sink.packets)
        uplink.receive(datagram, parse_header(datagram), _ADDRESSES[jump // 16 % len(_ADDRESSES)], now)
        assert len(sink.packets) - before <= 16, "more was held back than a proof needs"
    assert all(check(packet) for packet, _ in sink.packets), "something that is no audio was delivered"
    stats = uplink.stats
    assert stats.received == len(sink.packets)
    assert min(stats.lost, stats.late, stats.duplicate, stats.forged, stats.limited) >= 0
    assert not sink.packets or uplink.address in _ADDRESSES
    assert not uplink.proven or uplink.address is not None
    return bool(sink.packets)


def _with_checksums(data: bytes) -> bytes:
    """`data` with the right checksum in every page, which no fuzzer would find."""
    mended, at = bytearray(data), 0
    while (at := mended.find(b"OggS", at)) >= 0 and at + 27 <= len(mended):
        lacing = mended[at + 27 : at + 27 + mended[at + 26]]
        end = at + 27 + mended[at + 26] + sum(lacing)
        if end > len(mended):
            break
        mended[at + 22 : at + 26] = bytes(4)
        mended[at + 22 : at + 26] = checksum(mended[at:end]).to_bytes(4, "little")
        at = end
    return bytes(mended)


def _read_ogg(stream: bytes) -> list[bytes] | None:
    reader = OggOpusReader()
    packets: list[bytes] = []
    try:
        for piece in pieces(stream):
            packets += reader.feed(piece)
        reader.finish()
    except OggError as error:
        told_briefly(error)
        return None
    return packets


def check_ogg(data: bytes) -> bool:
    """An Ogg Opus stream: only OggError, however it is cut; what is read can be written and read again."""
    packets = _read_ogg(_with_checksums(data))
    if packets is None:
        return False
    assert all(len(packet) <= MAX_PACKET_BYTES for packet in packets)
    writer = OggOpusWriter(1)
    whole = [OpusPacket(packet, 2_880) for packet in packets if packet]
    stream = writer.begin() + writer.write(whole) + writer.end()
    assert _read_ogg(stream) == [packet.data for packet in whole]
    return True


def _ogg(*batches: int) -> bytes:
    """A stream of packets; each number is how many come at once."""
    writer = OggOpusWriter(7)
    stream = writer.begin()
    for count in batches:
        stream += writer.write([OpusPacket(b"\x58" * 40, 2_880)] * count)
    return stream + writer.end()


def _speech() -> bytes:
    """A frame of a real encoder."""
    import numpy as np

    tone = (np.sin(np.arange(_FRAME_SAMPLES) / 5) * 8_000).astype(np.int16)
    return bytes(OpusEncoder(_RATE, application="voip").encode(tone))


_HEADER = pack_uplink(nonce_template(_SSRC), 0, 1, 4)

TARGETS = (
    Target(
        "audio-header",
        check_header,
        (_HEADER + b"\x58abc", _HEADER[:3] + b"\x01" + _HEADER[4:] + b"x"),
        (),
        1_500,
    ),
    Target(
        "audio-packet",
        check_packet,
        (_speech(), b"\x58", b"\x5b\x01\x00"),
        (b"\x58", b"\x5b", b"\x48"),
        1_500,
    ),
    Target(
        "audio-uplink",
        check_uplink,
        (
            b"\x02\x03\x00" * 12,
            b"\x02\x03\x00" * 4 + b"\x02\x13\x00" * 6 + b"\x82\x23\x00" * 3,
            b"\x42\x03\x58\x01\x00" * 8,
        ),
        (b"\x02\x03\x00", b"\x02\x13\x00", b"\x82\x03\x00", b"\xff\0\0\x10\0"),
        1_024,
    ),
    Target(
        "audio-ogg",
        check_ogg,
        (_ogg(), _ogg(1, 1), _ogg(20), _ogg(3, 20, 1)),
        (b"OggS\0\0", b"OpusHead", b"OpusTags", b"\xff" * 8, bytes(8)),
        4_096,
    ),
)
