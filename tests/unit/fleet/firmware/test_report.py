"""Chip and partitions of a device, from a report that may lack anything."""

import pytest

from mimi_mqtt.fleet.firmware.report import assets_bytes, chip_of, slot_bytes

TABLE = [
    {"label": "nvs", "type": 1, "subtype": 2, "address": 1, "size": 16_384},
    {"label": "ota_0", "type": 0, "subtype": 16, "address": 1, "size": 4_000_000},
    {"label": "ota_1", "type": 0, "subtype": 17, "address": 1, "size": 3_932_160},
    {"label": "assets", "type": 1, "subtype": 130, "address": 1, "size": 8_000_000},
]


@pytest.mark.parametrize(
    ("report", "chip"),
    [
        ({"chip_model_name": "ESP32-S3"}, "esp32s3"), ({"chip_info": {"model": 9}}, "esp32s3"),
        ({"chip_info": {"model": 1}}, "esp32"), ({"chip_info": {"model": 999}}, ""), ({}, ""),
        ({"chip_model_name": 3, "chip_info": [9]}, ""), ({"chip_info": {"model": True}}, ""),
    ],
)  # fmt: skip
def test_the_chip_is_told_by_name_or_model(report: dict[str, object], chip: str) -> None:
    assert chip_of(report) == chip


def test_the_partition_for_an_update_is_the_one_that_it_does_not_run_from() -> None:
    assert slot_bytes({"partition_table": TABLE, "ota": {"label": "ota_0"}}) == 3_932_160
    assert slot_bytes({"partition_table": TABLE, "ota": {"label": "ota_1"}}) == 4_000_000
    assert slot_bytes({"partition_table": TABLE}) == 3_932_160
    assert slot_bytes({"partition_table": TABLE[:2], "ota": {"label": "ota_0"}}) == 0


@pytest.mark.parametrize(
    "table",
    [
        None, {}, "x", [None, 1, []], [{"label": 1, "type": 0, "subtype": 16, "size": 5}],
        [{"label": "ota_0", "type": 0, "subtype": 16, "size": "5"}],
        [{"label": "ota_0", "type": 0, "subtype": 16, "size": -5}],
    ],
)  # fmt: skip
def test_a_table_that_can_not_be_read_is_unknown(table: object) -> None:
    assert slot_bytes({"partition_table": table}) is None
    assert assets_bytes({"partition_table": table}) is None


def test_the_assets_partition_is_found_by_its_label() -> None:
    assert assets_bytes({"partition_table": TABLE}) == 8_000_000
    assert assets_bytes({"partition_table": TABLE[:3]}) == 0
