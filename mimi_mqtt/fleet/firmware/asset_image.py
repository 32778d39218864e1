"""Parser of assets images (fonts, themes, wake words), fed with a file's bytes as they come; pure, in
constant memory.

Format: Espressif's esp_mmap_assets, which XiaoZhi firmware maps from its `assets` partition: the number of
files, the checksum (the sum of all following bytes, 16 bits) and their length, 4 bytes each, little-endian;
then the table of the files and the files.
"""

import struct
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.errors import Invalid

MAX_ASSETS_BYTES: Final = 16 << 20
"""Largest assets image, in bytes."""
MAX_FILES: Final = 4_096
"""Most files of an assets image."""

_HEADER: Final = struct.Struct("<III")
_ENTRY: Final = struct.Struct("<32sIIHH")
_MIN_ENTRY_BYTES: Final = _ENTRY.size  # of the table: a name of 32 bytes, size, offset, width and height


@dataclass(frozen=True, slots=True)
class AssetsImage:
    """An assets image, by its own bytes; `size` is that of the file, in bytes."""

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class AssetsEntry:
    """A file in an assets image; `size` in bytes."""

    name: str
    size: int


def table_bytes(files: int) -> int:
    """The bytes from an image's start to the end of its table."""
    return _HEADER.size + files * _ENTRY.size


def entries(head: bytes) -> list[AssetsEntry]:
    """The files that the table at the start of an image names, as far as `head` reaches."""
    files = min(_HEADER.unpack_from(head)[0], (len(head) - _HEADER.size) // _ENTRY.size)
    found = []
    for number in range(files):
        name, size, *_ = _ENTRY.unpack_from(head, _HEADER.size + number * _ENTRY.size)
        text = name.partition(b"\0")[0].decode("utf-8", "replace")
        found.append(AssetsEntry("".join(char if char.isprintable() else "\ufffd" for char in text), size))
    return found


class AssetsParser:
    """Takes a file in parts (`feed`), and tells at its end what it is (`finish`). Both raise Invalid."""

    def __init__(self) -> None:
        self._size = 0
        self._head = b""
        self._sum = 0

    def feed(self, data: bytes) -> None:
        """Takes the next part of the file."""
        self._size += len(data)
        if self._size > MAX_ASSETS_BYTES:
            raise Invalid(f"the file is larger than {MAX_ASSETS_BYTES:,} bytes")
        missing = _HEADER.size - len(self._head)
        if missing:
            self._head += data[:missing]
            data = data[missing:]
            if len(self._head) == _HEADER.size:
                self._check_head()
        self._sum = (self._sum + sum(data)) & 0xFFFF

    def finish(self) -> AssetsImage:
        """The image, when all of the file came."""
        if len(self._head) < _HEADER.size:
            raise Invalid("the file is empty" if not self._head else _NOT_ASSETS)
        files, checksum, length = _HEADER.unpack(self._head)
        if self._size != _HEADER.size + length:
            word = "truncated" if self._size < _HEADER.size + length else "longer than it says"
            raise Invalid(
                f"the assets image is {word}: it says that it has {_HEADER.size + length:,} bytes, the file "
                "has "
                f"{self._size:,}"
            )
        if checksum != self._sum:
            raise Invalid(
                f"the assets image is damaged: its checksum is 0x{checksum:04x}, that of its data "
                f"0x{self._sum:04x}"
            )
        return AssetsImage(files, self._size)

    def _check_head(self) -> None:
        if self._head.startswith(b"\xe9"):
            raise Invalid("this is an application image: upload it as firmware, and assets.bin here")
        files, checksum, length = _HEADER.unpack(self._head)
        if not 0 < files <= MAX_FILES or checksum > 0xFFFF or length < files * _MIN_ENTRY_BYTES:
            raise Invalid(_NOT_ASSETS)


_NOT_ASSETS: Final = (
    "this is not an assets image: upload assets.bin, as the firmware's build or its tool for assets makes it"
)
