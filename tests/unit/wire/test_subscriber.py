import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.wire.ota import OtaRequest
from mimi_mqtt.wire.subscriber import MASK, SubscriberMask, is_cellular

IMEI = "868123456789012"
ICCID = "89860412345678901234"
MODEM: dict[str, Any] = {
    "type": "ml307",
    "name": f"ml307-{IMEI}",
    "revision": "ML307R-DC-MBRH0S01",
    "carrier": "CHINA MOBILE",
    "csq": "25",
    "imei": IMEI,
    "iccid": ICCID,
    "cereg": {"stat": 1, "tac": "1A2B", "ci": "0C3D4E5F", "AcT": 7},
}


def masked(report: dict[str, Any]) -> dict[str, Any]:
    return SubscriberMask(report).of_object(report)


def test_a_modems_report_keeps_what_is_not_personal() -> None:
    assert masked({"version": 2, "flash_size": 16777216, "board": MODEM}) == {
        "version": 2,
        "flash_size": 16777216,
        "board": {
            "type": "ml307",
            "name": f"ml307-{MASK}",
            "revision": "ML307R-DC-MBRH0S01",
            "carrier": "CHINA MOBILE",
            "csq": "25",
        },
    }


@pytest.mark.parametrize(
    "report",
    [
        {"imei": IMEI},
        {"board": {"IMEI": int(IMEI)}},
        {"modem": [{"Iccid": ICCID}, {"note": ICCID}]},
        {"board": {"cereg": {"imei": IMEI}}, "text": f"modem {IMEI}, card {ICCID}"},
        {"board": {"sn": int(IMEI), "card": ICCID, "other": f"{ICCID}F"}},
        {"board": {"imei": {"value": IMEI[:12]}}, "list": [f"x{IMEI[:12]}y"], IMEI: 1, f"a{IMEI[:12]}": 2},
    ],
)
def test_identities_are_removed_wherever_a_board_puts_them(report: dict[str, Any]) -> None:
    left = json.dumps(masked(report))
    assert IMEI[:12] not in left
    assert ICCID not in left


def test_an_ordinary_report_is_kept_as_it_is() -> None:
    report = {
        "mac_address": "aa:bb:cc:00:11:22",
        "application": {
            "elf_sha256": "12345678901234567890" * 3 + "abcd",
            "compile_time": "Aug 1 2026T12:00Z",
        },
        "chip_info": {"model": 9, "cores": 2, "ratio": 1.5, "ok": True, "none": None},
        "partition_table": [{"label": "nvs", "type": 1, "address": 36864, "size": 16384}],
        "board": {"ssid": "home", "rssi": -55, "ip": "192.168.1.7", "mac": "aa:bb:cc:00:11:22"},
    }
    assert masked(report) == report


@pytest.mark.parametrize(
    ("report", "cellular"),
    [
        ({"board": MODEM}, True),
        ({"board": {"type": "x", "carrier": "y"}}, True),
        ({"board": {"type": "x", "ssid": "home", "revision": "2"}}, False),
        ({"board": {"type": "x"}}, False),
        ({"board": {}}, None),
        ({"board": "ml307"}, None),
        ({}, None),
    ],
)
def test_boards_with_a_modem_are_told_from_those_with_wifi(
    report: dict[str, Any], cellular: bool | None
) -> None:
    assert is_cellular(report) is cellular


def test_headers_and_fields_that_repeat_an_identity_are_masked() -> None:
    headers = {"Device-Id": "aa:bb:cc:00:11:22", "User-Agent": f"ml307-{IMEI}/2.4.2", "Serial-Number": IMEI}
    request = OtaRequest.from_http(headers, json.dumps({"board": {"imei": IMEI}}).encode())
    assert IMEI not in f"{request!r} {request.board} {request.serial_number} {request.report}"
    assert request.firmware_version == "2.4.2"
    assert request.cellular is True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["imei", "cereg", "board"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(["imei", "board"]), json_values, max_size=4))
def test_any_report_is_read_and_masking_it_again_changes_nothing(report: dict[str, Any]) -> None:
    once = masked(report)
    assert masked(once) == once
