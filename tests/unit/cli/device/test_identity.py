import uuid

import pytest

from mimi_mqtt.cli.device.identity import canonical_mac, client_id_for, default_mac
from mimi_mqtt.errors import ProtocolError


def test_this_machines_device_is_always_the_same() -> None:
    mac = default_mac()
    assert mac == default_mac() == canonical_mac(mac)
    assert int(mac[:2], 16) & 0b11 == 0b10  # locally administered, not a group


def test_client_id_follows_the_mac() -> None:
    first, second = client_id_for("02:00:00:00:00:01"), client_id_for("02:00:00:00:00:02")
    assert uuid.UUID(first).version == 5
    assert first == client_id_for("02:00:00:00:00:01") != second


def test_mac_is_written_as_firmware_writes_it() -> None:
    assert canonical_mac("AA-BB-CC-00-11-22") == "aa:bb:cc:00:11:22"
    with pytest.raises(ProtocolError):
        canonical_mac("phone")
