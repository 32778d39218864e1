import json
from typing import Any

import pytest

from mimi_mqtt.cli.device.booting import MqttAccess, read_access
from mimi_mqtt.errors import DeviceFailure

MAC = "02:00:00:00:00:01"
MQTT: dict[str, Any] = {
    "endpoint": "192.168.1.2:1883",
    "client_id": "c",
    "username": "u",
    "password": "p",
    "publish_topic": "mimi/devices/x/up",
    "subscribe_topic": "mimi/devices/x/down",
    "keepalive": 120,
}


def read(answer: object) -> MqttAccess:
    return read_access(json.dumps(answer).encode(), MAC)


def test_mqtt_section_is_taken_as_it_is() -> None:
    access = read({"mqtt": MQTT, "firmware": {}})
    assert access == MqttAccess("192.168.1.2", 1883, "c", "u", "p", "mimi/devices/x/up", 120)
    assert not access.tls


def test_endpoint_without_a_port_is_tls() -> None:
    access = read({"mqtt": {**MQTT, "endpoint": "mqtt.example.org"}})
    assert (access.port, access.tls) == (8883, True)


def test_keepalive_defaults_to_the_firmwares() -> None:
    for wrong in (None, "90", 0, 100_000, True):
        assert read({"mqtt": {**MQTT, "keepalive": wrong}}).keepalive_s == 240


@pytest.mark.parametrize("endpoint", ["", ":1883", "host:0", "host:mqtt", "host:70000", "host:1:2", 7])
def test_endpoints_that_are_none_are_refused(endpoint: object) -> None:
    with pytest.raises(DeviceFailure, match="endpoint"):
        read({"mqtt": {**MQTT, "endpoint": endpoint}})


def test_activation_tells_the_code_and_what_to_do() -> None:
    with pytest.raises(DeviceFailure, match="123456") as caught:
        read({"activation": {"code": "123456", "message": "x", "challenge": "y"}})
    assert f"mimi-mqtt devices allow {MAC}" in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"mqtt":7}'])
def test_answers_without_an_mqtt_section_are_refused(body: bytes) -> None:
    with pytest.raises(DeviceFailure):
        read_access(body, MAC)
