import json
from typing import Any

import pytest

from mimi_mqtt.cli.device.booting import Activation, MqttAccess, activation_body, read_answer, report
from mimi_mqtt.cli.device.profiles import PROFILES
from mimi_mqtt.errors import DeviceFailure
from mimi_mqtt.wire.ota import ActivationRequest

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
    access = read_answer(json.dumps(answer).encode())
    assert isinstance(access, MqttAccess)
    return access


def test_mqtt_section_is_taken_as_it_is() -> None:
    access = read({"mqtt": MQTT, "firmware": {}})
    assert access == MqttAccess(
        "192.168.1.2", 1883, "c", "u", "p", "mimi/devices/x/up", "mimi/devices/x/down", 120
    )
    assert not access.tls


def test_endpoint_without_a_port_is_tls() -> None:
    access = read({"mqtt": {**MQTT, "endpoint": "mqtt.example.org"}})
    assert (access.port, access.tls) == (8883, True)


def test_keepalive_that_is_none_is_the_profiles() -> None:
    for wrong in (None, "90", 0, 100_000, True):
        assert read({"mqtt": {**MQTT, "keepalive": wrong}}).keepalive_s is None


@pytest.mark.parametrize("endpoint", ["", ":1883", "host:0", "host:mqtt", "host:70000", "host:1:2", 7])
def test_endpoints_that_are_none_are_refused(endpoint: object) -> None:
    with pytest.raises(DeviceFailure, match="endpoint"):
        read({"mqtt": {**MQTT, "endpoint": endpoint}})


def test_activation_is_read_with_its_code_and_challenge() -> None:
    answer = json.dumps({"activation": {"code": "123456", "message": "x", "challenge": "y"}}).encode()
    assert read_answer(answer) == Activation("123456", "y")


def test_polls_are_empty_or_signed_and_nested_as_py_xiaozhi_sends_them() -> None:
    assert activation_body(MAC, PROFILES["stock-2.5"], "y") == {}
    (inner,) = activation_body(MAC, PROFILES["py-xiaozhi"], "y").values()
    assert ActivationRequest.from_body(json.dumps(inner).encode()).challenge == "y"
    assert len(inner["serial_number"]) == 32


def test_espressif_reports_its_heap_as_a_number() -> None:
    assert isinstance(report(MAC, "en", PROFILES["espressif"])["minimum_free_heap_size"], int)
    assert isinstance(report(MAC, "en", PROFILES["stock-2.5"])["minimum_free_heap_size"], str)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"mqtt":7}'])
def test_answers_without_an_mqtt_section_are_refused(body: bytes) -> None:
    with pytest.raises(DeviceFailure):
        read_answer(body)
