"""Images are told by their own bytes, and whatever is no app image is refused with the way to the right
file."""

import struct

import pytest

from mimi_mqtt.errors import Invalid
from mimi_mqtt.fleet.firmware.asset_image import AssetsParser, entries, table_bytes
from mimi_mqtt.fleet.firmware.image import CHIPS, MAX_IMAGE_BYTES, AppImage, ImageParser
from tests.firmware import images


def parse(data: bytes, step: int = 4_096) -> AppImage:
    parser = ImageParser()
    for start in range(0, len(data), step):
        parser.feed(data[start : start + step])
    return parser.finish()


def refusal(data: bytes, step: int = 4_096) -> str:
    with pytest.raises(Invalid) as refused:
        parse(data, step)
    return str(refused.value)


@pytest.mark.parametrize("step", [1, 7, 32, 4_096, 1 << 20])
def test_an_image_tells_what_it_is_however_it_arrives(step: int) -> None:
    data = images.image(version="2.3.1")
    found = parse(data, step)
    assert (found.chip, found.version, found.project, found.idf_version) == (
        "esp32s3",
        "2.3.1",
        "xiaozhi",
        "v5.5.1",
    )
    assert (found.built, found.secure_version, found.size) == ("Aug  1 2026 12:30:00", 3, len(data))
    assert len(found.elf_sha256) == 64
    assert not found.signed


@pytest.mark.parametrize("chip", CHIPS)
def test_the_chip_is_that_of_the_header(chip: int) -> None:
    assert parse(images.image(chip=chip)).chip == CHIPS[chip]


def test_an_image_without_a_hash_and_one_with_signatures_are_whole_too() -> None:
    assert parse(images.image(hashed=False)).version == "2.3.1"
    data = images.signed(images.image())
    found = parse(data)
    assert found.signed
    assert found.size == len(data)
    assert parse(images.image() + b"\xff" * 9_000).version == "2.3.1"


@pytest.mark.parametrize(("begin", "table"), [(0, 0x8000), (0x1000, 0x8000), (0x2000, 0x8000), (0, 0x10000)])
@pytest.mark.parametrize("step", [333, 4_096, 1 << 20])
def test_a_merged_image_is_refused_with_the_file_to_upload(begin: int, table: int, step: int) -> None:
    assert refusal(images.merged(begin, table), step) == (
        "this is a merged image (bootloader, partition table and application in one file): "
        "upload the app image, build/NAME.bin"
    )


@pytest.mark.parametrize("kept", [1, 23, 24, 31, 40, 300, 5_000, -33, -1])
def test_a_truncated_image_is_refused(kept: int) -> None:
    assert "truncated" in refusal(images.image()[:kept])


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"\x7fELF" + b"\0" * 100, "an ELF file"),
        (b"PK\x03\x04" + b"\0" * 100, "a ZIP archive"),
        (b"PK\x03\x04", "a ZIP archive"),
        (images.partition_table(), "a partition table"),
        (b"hello", "begins with the byte 0x68"),
        (b"\xff" * 0x40000, "begins with the byte 0xff"),
        (b"\xff" * 5, "begins with the byte 0xff"),
        (images.image(chip=77), "a chip with the id 77"),
        (images.image(count=0), "has 0 segments"),
        (images.image(count=17), "has 17 segments"),
        (images.bootloader(), "no application descriptor"),
        (images.bootloader() + b"\0" * 0x40000, "no application descriptor"),
        (images.image([images.descriptor(magic=1) + b"abcd"]), "no application descriptor"),
        (images.image() + b"x", "1 bytes follow"),
        (images.image() + b"\xff" * 9_000 + b"x" * 5_000, "follow the end"),
        (images.signed(images.image()) + b"y" * 4_096, "follow the end"),
    ],
)
def test_what_is_no_app_image_is_refused(data: bytes, word: str) -> None:
    assert word in refusal(data)


@pytest.mark.parametrize("at", [33, 60, 400, 15_000])
@pytest.mark.parametrize("hashed", [True, False])
def test_a_changed_byte_is_noticed(at: int, hashed: bool) -> None:
    data = bytearray(images.image(hashed=hashed))
    data[at] ^= 0x40
    assert "damaged" in refusal(bytes(data)) or at == 33


def test_a_changed_hash_is_noticed() -> None:
    data = bytearray(images.image())
    data[-1] ^= 1
    assert "SHA-256" in refusal(bytes(data))


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0xFFFFFFFC, MAX_IMAGE_BYTES, 5])
def test_a_segment_that_claims_more_than_an_image_holds_is_refused_at_once(length: int) -> None:
    data = bytearray(images.image())
    struct.pack_into("<I", data, 28, length)
    parser = ImageParser()
    with pytest.raises(Invalid, match="segment"):
        parser.feed(bytes(data[:32]))


def test_an_image_of_empty_segments_ends() -> None:
    assert "no application descriptor" in refusal(images.image([b""] * 16))


def test_a_file_that_is_too_large_is_refused_when_its_bound_is_reached() -> None:
    parser = ImageParser()
    parser.feed(images.image([images.descriptor() + bytes(MAX_IMAGE_BYTES - 1_000)])[:64])
    with pytest.raises(Invalid, match="larger than 16,777,216 bytes"):
        parser.feed(bytes(MAX_IMAGE_BYTES))


def test_the_parser_keeps_no_more_than_a_sector() -> None:
    parser = ImageParser()
    data = images.image([images.descriptor() + bytes(500_000)])
    for start in range(0, len(data), 10_000):
        parser.feed(data[start : start + 10_000])
        assert len(parser._piece) <= 4_096


def assets_of(data: bytes, step: int = 100) -> int:
    parser = AssetsParser()
    for start in range(0, len(data), step):
        parser.feed(data[start : start + step])
    return parser.finish().files


def test_an_assets_image_tells_its_files_and_is_verified() -> None:
    data = images.assets(3)
    assert assets_of(data) == assets_of(data, 1) == 3
    for broken, word in (
        (data[:-1], "truncated"), (data + b"x", "longer"), (data[:-1] + b"!", "damaged"), (b"", "empty"),
        (b"abc", "not an assets image"), (images.image(), "an application image"),
        (b"\0" * 50, "not an assets image"),
    ):  # fmt: skip
        with pytest.raises(Invalid, match=word):
            assets_of(broken)


def test_files_of_assets_are_named_as_far_as_their_table_reaches() -> None:
    table = b"".join(
        struct.pack("<32sIIHH", name, size, 0, 0, 0)
        for name, size in ((b"font.bin", 7), (b"\xff\x1b[2J", 1 << 31), (b"x" * 32, 0))
    )
    head = struct.pack("<III", 3, 0, len(table)) + table
    assert len(head) == table_bytes(3)
    found = [(each.name, each.size) for each in entries(head)]
    assert found == [("font.bin", 7), ("\ufffd\ufffd[2J", 1 << 31), ("x" * 32, 0)]
    assert [each.name for each in entries(head[:-1])] == ["font.bin", "\ufffd\ufffd[2J"]
