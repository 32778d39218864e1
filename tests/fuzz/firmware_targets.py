"""Fuzz targets of firmware: images, assets, versions, and a device's report of its flash."""

import hashlib
import json

from mimi_mqtt.errors import Invalid
from mimi_mqtt.fleet.firmware import report, versions
from mimi_mqtt.fleet.firmware.asset_image import MAX_FILES, AssetsParser
from mimi_mqtt.fleet.firmware.image import CHIPS, MAX_IMAGE_BYTES, AppImage, ImageParser
from tests.firmware import images
from tests.fuzz.target import Target, told_briefly


def _parsed(data: bytes, step: int) -> AppImage | str:
    parser = ImageParser()
    try:
        for start in range(0, len(data), step):
            parser.feed(data[start : start + step])
            assert len(parser._piece) <= 4_096, "more than a sector is kept"
        return parser.finish()
    except Invalid as error:
        told_briefly(error)
        return str(error)


def check_image(data: bytes) -> bool:
    """An app image: only Invalid; it does not depend on how it arrives; what is accepted is whole."""
    found = _parsed(data, max(1, len(data)))
    assert _parsed(data, 1 + len(data) % 97) == found
    if isinstance(found, str):
        return False
    assert found.chip in CHIPS.values()
    assert found.size == len(data) <= MAX_IMAGE_BYTES
    for text in (found.version, found.project, found.idf_version, found.built):
        assert text.isprintable()
        assert len(text) <= 40
    assert data[0] == 0xE9
    if data[23]:  # its SHA-256 is that of all before it
        assert any(
            hashlib.sha256(data[:end]).digest() == data[end : end + 32]
            for end in range(16, len(data) - 31, 16)
        )
    return True


def check_assets(data: bytes) -> bool:
    """An assets image: only Invalid; what is accepted has the sum that it tells."""
    outcomes = []
    for step in (max(1, len(data)), 1 + len(data) % 13):
        parser = AssetsParser()
        try:
            for start in range(0, len(data), step):
                parser.feed(data[start : start + step])
            outcomes.append(str(parser.finish()))
        except Invalid as error:
            told_briefly(error)
            outcomes.append("")
    assert bool(outcomes[0]) == bool(outcomes[1])
    if not outcomes[0]:
        return False
    assert 0 < int.from_bytes(data[:4], "little") <= MAX_FILES
    assert sum(data[12:]) & 0xFFFF == int.from_bytes(data[4:8], "little")
    return True


def check_version(data: bytes) -> bool:
    """A version: what is registered is what every device can compare without aborting."""
    text = data.decode("utf-8", "replace")
    versions.is_newer(text, "2.3.1")
    versions.is_same("2.3.1", text)
    if not versions.is_plain(text):
        return False
    assert text.isascii()
    parts = [int(part) for part in text.split(".")]
    assert all(part < 1 << 31 for part in parts)
    assert versions.numbers(text) == tuple(parts)
    assert not versions.is_newer(text, text)
    return True


def check_report(data: bytes) -> bool:
    """A device's report: never an error; sizes are of its partitions."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(found, dict):
        return False
    assert len(report.chip_of(found)) <= 16
    for size in (report.slot_bytes(found), report.assets_bytes(found)):
        assert size is None or size >= 0
    return True


_SMALL = images.image([images.descriptor() + b"\0" * 64, b"abcd" * 8])
_REPORT = json.dumps(
    {
        "chip_model_name": "esp32s3",
        "chip_info": {"model": 9},
        "ota": {"label": "ota_0"},
        "partition_table": [
            {"label": "ota_0", "type": 0, "subtype": 16, "address": 65_536, "size": 4_000_000},
            {"label": "ota_1", "type": 0, "subtype": 17, "address": 65_536, "size": 4_000_000},
            {"label": "assets", "type": 1, "subtype": 130, "address": 65_536, "size": 8_000_000},
        ],
    }
).encode()

TARGETS = (
    Target(
        "firmware-image",
        check_image,
        (
            _SMALL,
            images.image([images.descriptor("1.0") + b"\0" * 64], chip=0, hashed=False),
            images.signed(_SMALL),
        ),
        (b"\xe9", b"\x32\x54\xcd\xab", b"\xaa\x50", b"\xff\xff\xff\xff", b"\xe7\x02", b"\x00\x00\x00\x80"),
        16_384,
    ),
    Target(
        "firmware-assets",
        check_assets,
        (images.assets(1, b"ZZ{}"), images.assets(3, b"ZZx")),
        (b"ZZ", b"\x00\x00"),
    ),
    Target(
        "firmware-version",
        check_version,
        (b"2.3.1", b"1", b"999999999.0.1"),
        (b".", b"-beta", b"999999999"),
        64,
    ),
    Target(
        "firmware-report", check_report, (_REPORT,), (b'"partition_table":', b'"ota":', b'"size":', b"-1")
    ),
)
