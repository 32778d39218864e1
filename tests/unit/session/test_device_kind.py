"""What devices can take, by what they say of themselves."""

import pytest

from mimi_mqtt.session.device_kind import UNKNOWN_DEVICE, device_kind


@pytest.mark.parametrize(
    ("board", "name", "firmware", "queue"),
    [
        ("bread-compact-wifi", "bread-compact-wifi-lcd", "2.4.2", 40),
        ("bread-compact-wifi", "", "1.6.0", 40),
        ("bread-compact-wifi", "", "2.5.0", 20),
        ("bread-compact-wifi", "", "2.10.1-beta", 20),
        ("bread-compact-wifi", "", "", 20),
        ("bread-compact-wifi", "", "1.5.9", 5),
        ("xmini-c3", "", "2.4.2", 5),
        ("wifi", "esp32-c3-mini", "2.4.2", 5),
        ("lichuang-c3-dev", "", "2.5.0", 5),
        ("esp-box-3", "esp-box-3", "2.4.2", 40),
        ("m5stack-cores3", "", "2.4.2", 40),
    ],
)
def test_the_queue_follows_release_and_board(board: str, name: str, firmware: str, queue: int) -> None:
    assert device_kind(board, name, firmware, False).queue_frames == queue


def test_a_modem_takes_shorter_messages() -> None:
    wifi, modem = (device_kind("ml307", "", "2.4.2", cellular) for cellular in (False, True))
    assert (wifi.max_message_bytes, modem.max_message_bytes) == (8_000, 2_000)


@pytest.mark.parametrize(("wanted", "frame_ms", "lead"), [(3, 60, 3), (30, 60, 20), (30, 20, 30), (1, 60, 1)])
def test_no_more_than_the_queue_and_1200_ms_is_sent_ahead(wanted: int, frame_ms: int, lead: int) -> None:
    assert device_kind("box", "", "2.4.2", False).lead_frames(wanted, frame_ms) == lead


def test_a_device_that_is_not_known_is_sent_what_every_device_takes() -> None:
    assert UNKNOWN_DEVICE.max_message_bytes == 2_000
    assert UNKNOWN_DEVICE.lead_frames(30, 60) == 5


@pytest.mark.parametrize(
    ("firmware", "notifies"),
    [("2.5.0", True), ("2.5", True), ("2.10.1-beta", True), ("3.0.0", True), ("2.4.2", False), ("", False)],
)
def test_notify_is_for_firmware_from_2_5_on(firmware: str, notifies: bool) -> None:
    kind = device_kind("box", "", firmware, False)
    assert (kind.alerts, kind.notifies) == (True, notifies)


def test_espressifs_client_is_neither_alerted_nor_notified() -> None:
    kind = device_kind("esp32s3", "", "2.6.0", False, espressif=True)
    assert (kind.alerts, kind.notifies) == (False, False)
