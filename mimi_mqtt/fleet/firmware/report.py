"""Facts that a device's OTA report tells about its chip and its flash; pure.

The report is kept as it came: whatever is missing, or of another type, counts as unknown. Source: the device
contract, section 1.
"""

from collections.abc import Iterator, Mapping
from typing import Final

CHIP_MODELS: Final = {
    1: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6", 16: "esp32h2",
    18: "esp32p4", 20: "esp32c61", 23: "esp32c5", 25: "esp32h21", 28: "esp32h4",
}  # fmt: skip
"""`chip_info.model` (esp-idf, `esp_chip_model_t`) and the chip's name."""

_APP, _DATA = 0, 1
_FIRST_SLOT, _LAST_SLOT = 0x10, 0x1F
_ASSETS: Final = "assets"


def chip_of(report: Mapping[str, object]) -> str:
    """The chip's name, such as `esp32s3`; "" when the report does not tell it."""
    name = report.get("chip_model_name")
    if isinstance(name, str) and name.strip():
        return name.strip().lower().replace("-", "").replace("_", "")[:16]
    info = report.get("chip_info")
    model = info.get("model") if isinstance(info, Mapping) else None
    return CHIP_MODELS.get(model, "") if type(model) is int else ""


def slot_bytes(report: Mapping[str, object]) -> int | None:
    """The size of the partition that an update is written to, in bytes: of the smallest one of those that the
    device does not run from. 0: there is none; None: the report has no application partitions."""
    ota = report.get("ota")
    running = ota.get("label") if isinstance(ota, Mapping) else None
    slots = [
        (label, size)
        for label, kind, subtype, size in _partitions(report)
        if kind == _APP and _FIRST_SLOT <= subtype <= _LAST_SLOT
    ]
    if not slots:
        return None
    return min((size for label, size in slots if label != running), default=0)


def assets_bytes(report: Mapping[str, object]) -> int | None:
    """The size of the partition for assets, in bytes; 0: there is none; None: the report has no
    partitions."""
    partitions = list(_partitions(report))
    if not partitions:
        return None
    return next((size for label, kind, _, size in partitions if kind == _DATA and label == _ASSETS), 0)


def _partitions(report: Mapping[str, object]) -> Iterator[tuple[str, int, int, int]]:
    """Label, type, subtype and size of each partition that is told as it should be."""
    table = report.get("partition_table")
    for row in table if isinstance(table, list) else ():
        if not isinstance(row, Mapping):
            continue
        label, kind, subtype, size = (row.get(name) for name in ("label", "type", "subtype", "size"))
        if (
            isinstance(label, str)
            and type(kind) is int
            and type(subtype) is int
            and type(size) is int
            and size > 0
        ):
            yield label, kind, subtype, size
