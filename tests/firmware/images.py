"""ESP32 images of any content, laid out as esp-idf documents them."""

import hashlib
import struct
from collections.abc import Sequence

ESP32, ESP32S3 = 0, 9
SECTOR = 0x1000


def descriptor(
    version: str = "2.3.1", project: str = "xiaozhi", idf: str = "v5.5.1", *, magic: int = 0xABCD5432
) -> bytes:
    """The 256 bytes of an application's descriptor."""
    return struct.pack(
        "<II8x32s32s16s16s32s32s72x", magic, 3, version.encode(), project.encode(), b"12:30:00",
        b"Aug  1 2026",
        idf.encode(), hashlib.sha256(version.encode()).digest(),
    ).ljust(256, b"\0")  # fmt: skip


def image(
    segments: Sequence[bytes] | None = None,
    *,
    version: str = "2.3.1",
    chip: int = ESP32S3,
    hashed: bool = True,
    count: int | None = None,
    magic: int = 0xE9,
) -> bytes:
    """An application image; `segments` replaces all of its data, `count` the number of segments that it
    tells."""
    if segments is None:
        segments = (descriptor(version) + bytes(range(256)) * 40, b"\x12\x34\x56\x78" * 4_000)
    data = bytearray(
        struct.pack(
            "<BBBBIB3sHBHH4sB", magic, len(segments) if count is None else count, 2, 0x4F, 0x40374F38,
            0xEE, b"\0\0\0",
            chip, 0, 0, 199, b"\0\0\0\0", int(hashed),
        )
    )  # fmt: skip
    checksum = 0xEF
    for number, segment in enumerate(segments):
        data += struct.pack("<II", 0x3C0A0020 + number * 0x10000, len(segment)) + segment
        for byte in segment:
            checksum ^= byte
    data += b"\0" * (15 - len(data) % 16) + bytes([checksum])
    if hashed:
        data += hashlib.sha256(data).digest()
    return bytes(data)


def bootloader() -> bytes:
    """A bootloader: an image without an application's descriptor."""
    return image([b"\x50\0\0\0" + b"\xa5" * 8_188, b"\x5a" * 4_096])


def partition_table() -> bytes:
    """A partition table with two application slots, in its sector."""
    rows = [(0, 0x10, 0x20000, 0x3C0000, b"ota_0"), (0, 0x11, 0x3E0000, 0x3C0000, b"ota_1")]
    table = b"".join(
        struct.pack("<2sBBII16sI", b"\xaa\x50", kind, subtype, at, size, name, 0)
        for kind, subtype, at, size, name in rows
    )
    return table.ljust(SECTOR, b"\xff")


def merged(begin: int = 0, table: int = 0x8000) -> bytes:
    """Bootloader (at `begin`), partition table and application in one file."""
    flash = (b"\xff" * begin + bootloader()).ljust(table, b"\xff") + partition_table()
    return flash.ljust(0x20000, b"\xff") + image()


def signed(app: bytes) -> bytes:
    """An image with a sector of signatures for Secure Boot v2."""
    return app + b"\xff" * (-len(app) % SECTOR) + b"\xe7\x02" + b"\x11" * (SECTOR - 2)


def assets(files: int = 2, content: bytes = b"ZZ{}" * 100) -> bytes:
    """An assets image of esp_mmap_assets."""
    body = b"".join(
        struct.pack("<32sIIHH", f"file{number}".encode(), len(content) - 2, number * len(content), 0, 0)
        for number in range(files)
    )
    body += content * files
    return struct.pack("<III", files, sum(body) & 0xFFFF, len(body)) + body
