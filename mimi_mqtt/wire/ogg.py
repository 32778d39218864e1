"""Ogg Opus streams: pages written as packets come, and packets read from pages in pieces of any length.

One logical stream, mono or stereo, in one physical stream. Sources: RFC 3533 (Ogg), RFC 7845 (Opus in Ogg).
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from mimi_mqtt.errors import OggError

GRANULE_RATE: Final = 48_000
"""Samples that a granule position counts in a second, whatever the rate of the sound (RFC 7845, 4)."""
LIBOPUS_PRE_SKIP: Final = 312
"""Look-ahead of libopus (6.5 ms) at 48 kHz: as many samples at the beginning are not part of the sound."""
MAX_PAGE_SAMPLES: Final = GRANULE_RATE
"""Longest sound in one page: a second (RFC 7845, section 4, recommends no more)."""
MAX_PACKET_BYTES: Final = 61_440
"""Largest packet taken or read, in bytes: what RFC 7845, section 6, wants every reader to take."""
MAX_HEADER_BYTES: Final = 65_536
"""Bytes of a header that are kept while it is read: pictures in tags are larger, and dropped unread."""

_HEAD: Final = struct.Struct("<4sBBqIIIB")
_CHECKSUM_AT: Final = 22
_CONTINUED, _FIRST, _LAST = 0x01, 0x02, 0x04
_FULL: Final = 255
_MAX_SEGMENTS: Final = 255
_NO_PACKET_ENDS: Final = -1
_OPUS_HEAD: Final = struct.Struct("<8sBBHIhB")
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(page: bytes | bytearray) -> int:
    """The CRC-32 of a page whose checksum field is zero (RFC 3533, section 6: polynomial 0x04c11db7, not
    reflected, beginning and ending with 0).

    zlib's is the reflected one of the same polynomial: bits are reversed before and after.
    """
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


@dataclass(frozen=True, slots=True)
class OpusPacket:
    """An Opus packet and its length in samples at 48 kHz."""

    data: bytes = field(repr=False)
    samples: int


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────


class OggOpusWriter:
    """Writes one stream of packets: `begin`, then `write` as often as needed, then `end`.

    `serial` tells the stream from others (32 bits, random). `pre_skip` counts samples at 48 kHz that a player
    drops at the beginning; `input_rate` (Hz) is information only. The newest packet is held back until the
    next one or the end, as the last page with a packet has to say that it is the last.
    """

    def __init__(
        self,
        serial: int,
        *,
        channels: int = 1,
        pre_skip: int = LIBOPUS_PRE_SKIP,
        input_rate: int = 24_000,
        vendor: str = "mimi_mqtt",
    ) -> None:
        if channels not in (1, 2) or not 0 <= serial < 1 << 32 or not 0 <= pre_skip < 1 << 16:
            raise OggError("a stream has one or two channels, a serial of 32 bits and a pre-skip of 16")
        self._serial = serial
        self._channels = channels
        self._pre_skip = pre_skip
        self._input_rate = input_rate
        self._vendor = vendor
        self._page = 0
        self._granule = 0
        self._held: OpusPacket | None = None
        self._begun = self._ended = False

    @property
    def samples(self) -> int:
        """Samples at 48 kHz of all packets taken, the pre-skip included."""
        return self._granule + (self._held.samples if self._held is not None else 0)

    @property
    def written(self) -> int:
        """Samples at 48 kHz of the packets that have left in pages."""
        return self._granule

    def begin(self) -> bytes:
        """The two pages of headers: OpusHead and OpusTags, each on its own (RFC 7845, section 5)."""
        if self._begun:
            raise OggError("the stream has begun already")
        self._begun = True
        head = _OPUS_HEAD.pack(b"OpusHead", 1, self._channels, self._pre_skip, self._input_rate, 0, 0)
        vendor = self._vendor.encode()
        tags = b"OpusTags" + len(vendor).to_bytes(4, "little") + vendor + bytes(4)
        first = b"".join(self._pages([(head, 0)], _FIRST))
        return first + b"".join(self._pages([(tags, 0)]))

    def write(self, packets: Sequence[OpusPacket]) -> bytes:
        """The pages that are complete now that `packets` have come; the last packet waits for the next call.

        Raises OggError for a packet that is empty, too large, or not 2.5 to 120 ms long.
        """
        self._check_open()
        for packet in packets:
            if not 0 < len(packet.data) <= MAX_PACKET_BYTES:
                raise OggError(f"an Opus packet has 1 to {MAX_PACKET_BYTES} bytes, not {len(packet.data)}")
            if not 120 <= packet.samples <= 5_760:
                raise OggError(f"an Opus packet has 120 to 5760 samples at 48 kHz, not {packet.samples}")
        if not packets:
            return b""
        ready = [*([self._held] if self._held is not None else []), *packets]
        self._held = ready.pop()
        return self._written(ready)

    def end(self, samples: int | None = None) -> bytes:
        """The last page. `samples` (at 48 kHz, without the pre-skip) ends the sound within the last packet;
        without it the packets are played to their end. A stream without packets ends with an empty page.
        """
        self._check_open()
        self._ended = True
        held, self._held = self._held, None
        if held is None:
            return self._one_page(_LAST, self._granule, b"", b"")
        begin, self._granule = self._granule, self._granule + held.samples
        end = self._granule if samples is None else samples + self._pre_skip
        if not begin <= end <= self._granule:
            raise OggError("a stream ends within its last packet")
        return b"".join(self._pages([(held.data, end)], _LAST))

    def _check_open(self) -> None:
        if not self._begun or self._ended:
            raise OggError("the stream has not begun, or has ended")

    def _written(self, packets: Sequence[OpusPacket]) -> bytes:
        pages: list[bytes] = []
        page: list[tuple[bytes, int]] = []
        began = self._granule
        for packet in packets:
            if page and self._granule + packet.samples - began > MAX_PAGE_SAMPLES:
                pages += self._pages(page)
                page, began = [], self._granule
            self._granule += packet.samples
            page.append((packet.data, self._granule))
        return b"".join([*pages, *self._pages(page)])

    def _pages(self, packets: Sequence[tuple[bytes, int]], flags: int = 0) -> Iterator[bytes]:
        """Pages with `packets` and the granule position after each; `flags` holds for the first page, but
        the mark of the last for the last one. A packet that does not fit goes on in the next page."""
        lacing, body, granule = bytearray(), bytearray(), _NO_PACKET_ENDS
        first, last = flags & _FIRST, flags & _LAST
        continued = 0
        for data, after in packets:
            at, segments = 0, len(data) // _FULL + 1
            while segments:
                if len(lacing) == _MAX_SEGMENTS:
                    yield self._one_page(first | continued, granule, lacing, body)
                    lacing, body, granule = bytearray(), bytearray(), _NO_PACKET_ENDS
                    first, continued = 0, _CONTINUED if at else 0
                size = min(_FULL, len(data) - at)
                lacing.append(size)
                body += data[at : at + size]
                at += size
                segments -= 1
            granule = after
        if lacing:
            yield self._one_page(first | continued | last, granule, lacing, body)

    def _one_page(
        self, flags: int, granule: int, lacing: bytes | bytearray, body: bytes | bytearray
    ) -> bytes:
        page = bytearray(_HEAD.pack(b"OggS", 0, flags, granule, self._serial, self._page, 0, len(lacing)))
        page += lacing
        page += body
        page[_CHECKSUM_AT : _CHECKSUM_AT + 4] = checksum(page).to_bytes(4, "little")
        self._page = self._page + 1 & 0xFFFFFFFF
        return bytes(page)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OpusHead:
    """The identification header: `pre_skip` in samples at 48 kHz, `gain` in 1/256 dB."""

    channels: int
    pre_skip: int
    input_rate: int
    gain: int


class OggOpusReader:
    """Reads one stream: `feed` gives the Opus packets that are whole, `finish` checks the end.

    What a player on a device needs is demanded: the stream is the only one, no page is lost or broken, the
    last page is marked so. Memory is bounded by a page and a packet. Raises OggError, after which the reader
    is of no use.
    """

    def __init__(self) -> None:
        self._unread = bytearray()
        self._packet = bytearray()
        self._open = False  # a packet goes on in the next page
        self._serial: int | None = None
        self._next_page = 0
        self._headers = 0
        self._dropping = False  # the rest of tags that are too long
        self.head: OpusHead | None = None
        """The identification header, once it was read."""
        self.granule = 0
        """The last granule position: samples at 48 kHz up to it, the pre-skip included."""
        self.opening: tuple[int, int] | None = None
        """The granule position of the first page in which audio packets end, and their number: a stream that
        was cut out of a longer one does not begin at 0."""
        self.ended = False
        """True once the page marked as the last was read."""

    def feed(self, data: bytes) -> list[bytes]:
        """The audio packets that are whole with `data`."""
        self._unread += data
        packets: list[bytes] = []
        while (page := self._take_page()) is not None:
            packets += page
        return packets

    def finish(self) -> None:
        """Checks that the stream is whole."""
        if self._headers < 2:
            raise OggError("the stream has no headers of Opus")
        if not self.ended:
            raise OggError("the last page is missing: the stream was cut off")
        if self._unread or self._open:
            raise OggError("the stream ends within a page or packet")

    def _take_page(self) -> list[bytes] | None:
        unread = self._unread
        if not b"OggS".startswith(bytes(unread[:4])):
            raise OggError("this is no Ogg stream, or bytes of it are lost")
        if len(unread) < _HEAD.size:
            return None
        _, version, flags, granule, serial, number, told, count = _HEAD.unpack_from(unread)
        if len(unread) < _HEAD.size + count:
            return None
        lacing = bytes(unread[_HEAD.size : _HEAD.size + count])
        size = _HEAD.size + count + sum(lacing)
        if len(unread) < size:
            return None
        page = unread[:size]
        page[_CHECKSUM_AT : _CHECKSUM_AT + 4] = bytes(4)
        if version != 0 or checksum(page) != told:
            raise OggError("a page is broken: its checksum or version is wrong")
        del unread[:size]
        self._check_order(flags, serial, number)
        packets = self._packets(lacing, bytes(page[_HEAD.size + count :]))
        if granule != _NO_PACKET_ENDS:
            if granule < self.granule and packets:
                raise OggError("granule positions go back")
            self.granule = granule
            if packets and self.opening is None:
                self.opening = granule, len(packets)
        self.ended = bool(flags & _LAST)
        return packets

    def _check_order(self, flags: int, serial: int, number: int) -> None:
        if self.ended:
            raise OggError("something follows the last page: only one stream is taken")
        if self._serial is None:
            if not flags & _FIRST:
                raise OggError("the first page is missing")
            self._serial, self._next_page = serial, number
        elif serial != self._serial or flags & _FIRST:
            raise OggError("there are several streams: only one is taken")
        if number != self._next_page:
            raise OggError(f"page {self._next_page} is missing")
        self._next_page = number + 1 & 0xFFFFFFFF
        if bool(flags & _CONTINUED) != self._open:
            raise OggError("a packet's beginning or rest is missing")

    def _packets(self, lacing: bytes, body: bytes) -> list[bytes]:
        packets: list[bytes] = []
        at = 0
        for size in lacing:
            if not self._dropping:
                self._packet += body[at : at + size]
            at += size
            self._open = size == _FULL
            if len(self._packet) > (MAX_PACKET_BYTES if self._headers >= 2 else MAX_HEADER_BYTES):
                if self._headers != 1:
                    raise OggError(f"a packet is larger than {MAX_PACKET_BYTES} bytes")
                self._dropping = True
                del self._packet[8:]
            if not self._open:
                packet, self._packet, self._dropping = bytes(self._packet), bytearray(), False
                if self._headers >= 2:
                    packets.append(packet)
                else:
                    self._read_header(packet)
        return packets

    def _read_header(self, packet: bytes) -> None:
        if self._headers == 0:
            if len(packet) < _OPUS_HEAD.size or not packet.startswith(b"OpusHead"):
                raise OggError("the Ogg stream's sound is not Opus")
            _, version, channels, pre_skip, rate, gain, family = _OPUS_HEAD.unpack_from(packet)
            if version >> 4 or family != 0 or channels not in (1, 2):
                raise OggError("the Opus stream has another version, or more than two channels")
            self.head = OpusHead(channels, pre_skip, rate, gain)
        elif not packet.startswith(b"OpusTags"):
            raise OggError("the header OpusTags is missing")
        self._headers += 1
