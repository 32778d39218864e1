"""Parser of ESP32 application images, fed with a file's bytes as they come; pure, in constant memory.

Format: Espressif's documentation of the app image (esp-idf, "App Image Format"): a header of 24 bytes,
segments of 8 bytes (address, length) and their data, padding whose last byte is the checksum and ends a block
of 16, and the SHA-256 of all before it. The first segment of an application begins with its descriptor of 256
bytes. An image signed for Secure Boot v2 is filled up to a sector with 0xFF, and one sector of signatures
follows.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.errors import Invalid

MAX_IMAGE_BYTES: Final = 16 << 20
"""Largest image, in bytes: the largest application partition that ESP32 chips map."""
MAX_SEGMENTS: Final = 16
"""Most segments of an image, as in the bootloader."""

CHIPS: Final = {
    0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6", 16: "esp32h2",
    18: "esp32p4", 20: "esp32c61", 23: "esp32c5", 25: "esp32h21", 28: "esp32h4",
}  # fmt: skip
"""Chip ids of image headers, and the names that devices report (`chip_model_name`)."""

MERGED: Final = (
    "this is a merged image (bootloader, partition table and application in one file): upload the app image, "
    "build/NAME.bin"
)

_NO_DESCRIPTOR: Final = (
    "this image has no application descriptor: it is a bootloader, or no application of esp-idf; upload "
    "the app image, "
    "build/NAME.bin"
)
_MAGIC: Final = 0xE9
_HEADER: Final = struct.Struct("<BBBBIB3sHBHH4sB")
_SEGMENT: Final = struct.Struct("<II")
_DESCRIPTOR: Final = struct.Struct("<II8s32s32s16s16s32s32s")
_DESCRIPTOR_BYTES: Final = 256
_DESCRIPTOR_MAGIC: Final = 0xABCD5432
_CHECKSUM_SEED: Final = 0xEF
_BLOCK: Final = 16
_HASH_BYTES: Final = 32
_SECTOR: Final = 0x1000
_SIGNATURE_MAGIC: Final = b"\xe7\x02"
_PARTITION_MAGIC: Final = b"\xaa\x50"
# At 0x8000 of the flash, or later; the file may begin at the bootloader, which is at 0, 0x1000 or 0x2000.
_FIRST_PARTITION_TABLE: Final = 0x6000
_LAST_PARTITION_TABLE: Final = 0x20000
_OTHER_FILES: Final = (
    (b"\x7fELF", "an ELF file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"UF2\n", "a UF2 file"),
    (_PARTITION_MAGIC, "a partition table"),
)


@dataclass(frozen=True, slots=True)
class AppImage:
    """An application image, by its own bytes; `size` is that of the file, in bytes."""

    chip: str
    version: str
    project: str
    idf_version: str
    built: str
    """Date and time of the build, as the compiler wrote them."""
    elf_sha256: str
    """64 hex digits."""
    secure_version: int
    size: int
    signed: bool
    """True: a sector of signatures for Secure Boot v2 follows. They are not verified."""


class ImageParser:
    """Takes a file in parts (`feed`), and tells at its end what it is (`finish`). Both raise Invalid, whose
    message says what is wrong with the file and which one to upload."""

    def __init__(self) -> None:
        self._position = 0
        self._piece = bytearray()
        """The bytes of the piece that is being read, as far as they came."""
        self._wanted = _HEADER.size
        self._read: Callable[[bytes], None] = self._read_header
        self._skip = 0
        """Bytes of a segment's data still to come."""
        self._after_descriptor = 0
        self._sha256 = hashlib.sha256()
        self._checksum = _CHECKSUM_SEED
        self._segments = 0
        self._has_hash = self._signed = self._blank = False
        self._chip = ""
        self._descriptor: _Descriptor | None = None
        self._ended_at: int | None = None

    def feed(self, data: bytes) -> None:
        """Takes the next part of the file."""
        view = memoryview(data)
        if self._position + len(view) > MAX_IMAGE_BYTES:
            raise Invalid(
                f"the file is larger than {MAX_IMAGE_BYTES:,} bytes: no application partition holds it"
            )
        while view:
            size = self._skip or self._wanted - len(self._piece)
            part, view = view[:size], view[size:]
            self._position += len(part)
            if self._skip:
                self._count(part)
                self._skip -= len(part)
                if not self._skip:
                    self._segment_ended()
                continue
            self._piece += part
            if len(self._piece) == self._wanted:
                piece = bytes(self._piece)
                self._piece.clear()
                self._read(piece)

    def finish(self) -> AppImage:
        """The image, when all of the file came."""
        if self._position < _HEADER.size:
            _check_magic(bytes(self._piece))
        if self._blank:
            raise Invalid(_wrong_magic(0xFF))
        if self._ended_at is None:
            raise Invalid(
                f"the image is truncated: the file ends after {self._position:,} bytes, before the image "
                "does; build "
                "or copy it again"
            )
        if self._descriptor is None:
            raise Invalid(_NO_DESCRIPTOR)
        if self._piece.strip(b"\xff"):
            raise Invalid(_trailing(self._position - self._ended_at))
        found = self._descriptor
        return AppImage(
            self._chip, found.version, found.project, found.idf_version, found.built, found.elf_sha256,
            found.secure_version, self._position, self._signed,
        )  # fmt: skip

    # ── the pieces, in their order ──────────────────────────────────────────────────────────────────────

    def _expect(self, size: int, read: Callable[[bytes], None]) -> None:
        self._wanted, self._read = size, read

    def _read_header(self, piece: bytes) -> None:
        if piece[0] == 0xFF:
            # In a merged image of a chip whose bootloader begins later than at 0, the flash before it is
            # blank.
            self._blank = True
            self._expect(_SECTOR - len(piece), self._read_sector)
            return
        _check_magic(piece)
        fields = _HEADER.unpack(piece)
        segments, chip, hashed = fields[1], fields[7], fields[12]
        if not 0 < segments <= MAX_SEGMENTS:
            raise Invalid(
                f"the image says that it has {segments} segments; there are 1 to {MAX_SEGMENTS}: it is "
                "damaged"
            )
        if chip not in CHIPS:
            raise Invalid(
                f"the image is for a chip with the id {chip}, which this server does not know; it knows "
                f"{', '.join(CHIPS.values())}"
            )
        if hashed > 1:
            raise Invalid(
                "the image's header is damaged: it says neither that a SHA-256 follows nor that none does"
            )
        self._chip, self._segments, self._has_hash = CHIPS[chip], segments, hashed == 1
        self._sha256.update(piece)
        self._expect(_SEGMENT.size, self._read_segment)

    def _read_segment(self, piece: bytes) -> None:
        address, length = _SEGMENT.unpack(piece)
        if length % 4 or length > MAX_IMAGE_BYTES - self._position:
            raise Invalid(
                f"a segment (address 0x{address:08x}) says that it has {length:,} bytes, which is not "
                "possible: the "
                "image is damaged"
            )
        self._sha256.update(piece)
        self._segments -= 1
        is_first = self._position == _HEADER.size + _SEGMENT.size
        if is_first and length >= _DESCRIPTOR_BYTES:
            self._after_descriptor = length - _DESCRIPTOR_BYTES
            self._expect(_DESCRIPTOR_BYTES, self._read_descriptor)
        else:
            self._skip_data(length)

    def _read_descriptor(self, piece: bytes) -> None:
        """The first bytes of the first segment; a bootloader has no application's descriptor there."""
        self._descriptor = _Descriptor.of(piece)
        self._count(memoryview(piece))
        self._skip_data(self._after_descriptor)

    def _skip_data(self, length: int) -> None:
        self._skip = length
        if not length:
            self._segment_ended()

    def _segment_ended(self) -> None:
        if self._segments:
            self._expect(_SEGMENT.size, self._read_segment)
        else:
            self._expect(_BLOCK - self._position % _BLOCK, self._read_checksum)

    def _read_checksum(self, piece: bytes) -> None:
        if piece[-1] != self._checksum:
            raise Invalid(
                f"the image is damaged: its checksum is 0x{piece[-1]:02x}, that of its data "
                f"0x{self._checksum:02x}"
            )
        self._sha256.update(piece)
        if self._has_hash:
            self._expect(_HASH_BYTES, self._read_hash)
        else:
            self._end()

    def _read_hash(self, piece: bytes) -> None:
        if piece != self._sha256.digest():
            raise Invalid(
                "the image is damaged: its SHA-256 is not that of its bytes; build or copy it again"
            )
        self._end()

    def _end(self) -> None:
        """The image is whole. Signatures may follow it; after a bootloader, a partition table does."""
        self._ended_at = self._position
        self._expect(-self._position % _SECTOR or _SECTOR, self._read_sector)

    def _read_sector(self, piece: bytes) -> None:
        """The rest of a sector, or a whole one: behind an image, or before a bootloader."""
        begin = self._position - len(piece)
        if piece.startswith(_PARTITION_MAGIC) and begin % _SECTOR == 0 and begin >= _FIRST_PARTITION_TABLE:
            raise Invalid(MERGED)
        if self._descriptor is not None and self._ended_at is not None:
            if piece.startswith(_SIGNATURE_MAGIC) and begin % _SECTOR == 0 and not self._signed:
                self._signed = True
            elif piece.strip(b"\xff"):
                raise Invalid(_trailing(self._position - self._ended_at))
        elif self._position > _LAST_PARTITION_TABLE:
            raise Invalid(_wrong_magic(0xFF) if self._blank else _NO_DESCRIPTOR)
        self._expect(_SECTOR, self._read_sector)

    def _count(self, data: memoryview) -> None:
        self._sha256.update(data)
        self._checksum ^= _xor(data)


@dataclass(frozen=True, slots=True)
class _Descriptor:
    """The descriptor of an application (esp-idf, `esp_app_desc_t`)."""

    version: str
    project: str
    idf_version: str
    built: str
    elf_sha256: str
    secure_version: int

    @classmethod
    def of(cls, data: bytes) -> "_Descriptor | None":
        magic, secure, _, version, project, time, date, idf, elf = _DESCRIPTOR.unpack_from(data)
        if magic != _DESCRIPTOR_MAGIC:
            return None
        built = f"{_text(date)} {_text(time)}".strip()
        return cls(_text(version), _text(project), _text(idf), built, elf.hex(), secure)


def _text(field: bytes) -> str:
    """The printable characters of a field that ends with a zero byte."""
    text = field.partition(b"\0")[0].decode("utf-8", "replace")
    return "".join(character for character in text if character.isprintable()).strip()


def _xor(data: memoryview) -> int:
    """The exclusive or of all bytes: halves laid on each other, which costs little more than reading them."""
    value, size = int.from_bytes(data, "little"), len(data)
    while size > 1:
        half = (size + 1) // 2
        value = (value >> (8 * half)) ^ (value & ((1 << (8 * half)) - 1))
        size = half
    return value


def _check_magic(head: bytes) -> None:
    """Raises Invalid for what does not begin as an image."""
    if not head:
        raise Invalid("the file is empty")
    for magic, what in _OTHER_FILES:
        if head.startswith(magic):
            raise Invalid(f"this is {what}, not an ESP32 image: upload the app image, build/NAME.bin")
    if head[0] != _MAGIC:
        raise Invalid(_wrong_magic(head[0]))


def _wrong_magic(first: int) -> str:
    return (
        f"this is not an ESP32 image: it begins with the byte 0x{first:02x}, an image with 0x{_MAGIC:02x}; "
        "upload "
        "the app image, build/NAME.bin"
    )


def _trailing(size: int) -> str:
    return (
        f"{size:,} bytes follow the end of the image, which are no signature: upload the app image, "
        "build/NAME.bin"
    )
