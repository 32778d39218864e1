import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mimi_mqtt.errors import OtaError
from mimi_mqtt.wire import ota
from mimi_mqtt.wire.ota import ActivationRequest, OtaRequest, OtaResponse, signal_dbm

HEADERS = {
    "Device-Id": "aa:bb:cc:00:11:22",
    "Client-Id": "0c0f7b2e-9f2e-4f6c-8a54-1d2b3c4d5e6f",
    "User-Agent": "bread-compact-wifi/1.8.2",
    "Accept-Language": "zh-CN",
    "Activation-Version": "2",
    "Serial-Number": "S" * 32,
}
BODY: dict[str, Any] = {
    "version": 2,
    "language": "en-US",
    "minimum_free_heap_size": "123456",
    "mac_address": "aa:bb:cc:00:11:22",
    "uuid": "0c0f7b2e-9f2e-4f6c-8a54-1d2b3c4d5e6f",
    "application": {"name": "xiaozhi", "version": "1.8.2"},
    "board": {"type": "bread-compact-wifi", "name": "bread", "ip": "192.168.1.7"},
}

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


def test_whole_request() -> None:
    assert OtaRequest.from_http(HEADERS, json.dumps(BODY).encode()) == OtaRequest(
        device_id="aa-bb-cc-00-11-22",
        client_id="0c0f7b2e-9f2e-4f6c-8a54-1d2b3c4d5e6f",
        board="bread-compact-wifi",
        board_name="bread",
        cellular=False,
        firmware_version="1.8.2",
        language="zh-CN",
        activation_version=2,
        serial_number="S" * 32,
        report=BODY,
    )


def test_nothing_but_the_mac_is_required() -> None:
    assert OtaRequest.from_http({"device-id": "AABBCC001122"}, b"") == OtaRequest(
        device_id="aa-bb-cc-00-11-22"
    )
    assert OtaRequest.from_http({}, b'{"mac_address":"aa:bb:cc:00:11:22"}').device_id == "aa-bb-cc-00-11-22"


def test_headers_say_what_the_body_leaves_out_and_the_other_way_round() -> None:
    from_headers = OtaRequest.from_http(HEADERS, b"")
    assert (from_headers.board, from_headers.firmware_version) == ("bread-compact-wifi", "1.8.2")
    from_body = OtaRequest.from_http({"Device-Id": "aa:bb:cc:00:11:22"}, json.dumps(BODY).encode())
    assert (from_body.client_id, from_body.language) == (BODY["uuid"], "en-US")


def test_first_of_several_languages_counts() -> None:
    headers = {**HEADERS, "Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
    assert OtaRequest.from_http(headers, b"").language == "de-AT"


def test_version_two_needs_a_serial_number() -> None:
    assert OtaRequest.from_http({**HEADERS, "Serial-Number": ""}, b"").activation_version == 1
    assert OtaRequest.from_http({**HEADERS, "Activation-Version": "9"}, b"").activation_version == 1


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({}, b"{}"),
        ({}, b'{"mac_address":7}'),
        ({"Device-Id": "phone"}, b""),
        ({}, b"nonsense"),
        ({**HEADERS, "Client-Id": "x" * 129}, b""),
    ],
)
def test_requests_without_what_is_required_are_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(OtaError):
        OtaRequest.from_http(headers, body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"version":2,"board":{"type":"bread-compact-wifi","ssid":"the "best" one","rssi":-50}}',
        b'{"version":2,"board":{"ssid":"a\\c"}}',
        '{"version":2,"board":{"ssid":"咖啡"}}'.encode("gbk"),
        b"nonsense",
        b"[]",
        b'{"version":NaN}',
        b"[" * 60_000,
    ],
)
def test_a_body_that_firmware_broke_is_left_out(body: bytes) -> None:
    """Stock firmware writes the name of its network into JSON as it is (main/boards/common/wifi_board.cc)."""
    request = OtaRequest.from_http(HEADERS, body)
    assert (request.device_id, request.board, request.report) == (
        "aa-bb-cc-00-11-22",
        "bread-compact-wifi",
        {},
    )
    assert "JSON" in request.body_fault


def test_texts_are_bounded_and_printable() -> None:
    request = OtaRequest.from_http(
        {**HEADERS, "User-Agent": "b" * 500}, b'{"application":{"version":"1.0\\n\\u001b[31m"}}'
    )
    assert request.board == "b" * 64
    assert request.firmware_version == "1.0[31m"


@given(
    st.dictionaries(
        st.sampled_from(["uuid", "language", "application", "board", "mac_address", "ota"]), json_values
    )
)
def test_fields_of_any_type_are_tolerated(body: dict[str, Any]) -> None:
    try:
        request = OtaRequest.from_http({"Device-Id": "aa:bb:cc:00:11:22"}, json.dumps(body).encode())
    except OtaError:
        return
    assert request.device_id == "aa-bb-cc-00-11-22"


@given(st.dictionaries(st.sampled_from([*HEADERS, "X"]), st.text()), st.binary())
def test_any_request_is_read_or_refused(headers: dict[str, str], body: bytes) -> None:
    try:
        OtaRequest.from_http(headers, body)
    except OtaError:
        return


# ── responses ────────────────────────────────────────────────────────────────────────────────────────────


def test_response_leaves_out_what_is_not_said() -> None:
    assert OtaResponse().to_json() == b"{}"
    response = OtaResponse(
        mqtt=ota.MqttSection(
            endpoint="192.168.1.2:1883",
            client_id="aa-bb-cc-00-11-22",
            username="aa-bb-cc-00-11-22",
            password="p",
            publish_topic="mimi/devices/aa-bb-cc-00-11-22/up",
            subscribe_topic="mimi/devices/aa-bb-cc-00-11-22/down",
            keepalive=240,
        ),
        udp=ota.UdpSection(server="192.168.1.2", port=8884, key="00" * 16),
        server_time=ota.ServerTimeSection(timestamp=1_700_000_000_000, timezone_offset=60),
        firmware=ota.FirmwareSection(version="1.8.2"),
    )
    assert json.loads(response.to_json()) == {
        "mqtt": {
            "endpoint": "192.168.1.2:1883",
            "client_id": "aa-bb-cc-00-11-22",
            "username": "aa-bb-cc-00-11-22",
            "password": "p",
            "publish_topic": "mimi/devices/aa-bb-cc-00-11-22/up",
            "subscribe_topic": "mimi/devices/aa-bb-cc-00-11-22/down",
            "keepalive": 240,
        },
        "udp": {"server": "192.168.1.2", "port": 8884, "encryption": "aes-128-ctr", "key": "00" * 16},
        "server_time": {"timestamp": 1_700_000_000_000, "timezone_offset": 60},
        "firmware": {"version": "1.8.2", "url": "", "force": 0},
    }


def test_activation_without_challenge_is_not_polled() -> None:
    response = OtaResponse(
        activation=ota.ActivationSection(code="123456", message="Ask"),
        websocket=ota.WebsocketSection(url="ws://h/", token="t"),
    )
    assert json.loads(response.to_json()) == {
        "activation": {"code": "123456", "message": "Ask"},
        "websocket": {"url": "ws://h/", "token": "t", "version": 1},
    }


@pytest.mark.parametrize("version", ["1", "1.8.2", "2.0.0-beta", "1.2.3-beta.4", "10.20.30.40"])
def test_versions_a_device_can_compare(version: str) -> None:
    assert ota.is_comparable_version(version)


@pytest.mark.parametrize("version", ["", "v1", "1.", "1..2", "1.x", ".1", "1.99999999999", "1.2.beta"])
def test_versions_that_would_abort_a_device_are_never_sent(version: str) -> None:
    assert not ota.is_comparable_version(version)
    with pytest.raises(ValidationError):
        ota.FirmwareSection(version=version)


@pytest.mark.parametrize("name", ["client_id", "username", "password"])
@pytest.mark.parametrize("character", ['"', ",", "\r", "\n"])
def test_credentials_that_break_a_cellular_modems_command_are_never_sent(name: str, character: str) -> None:
    fields = {
        "endpoint": "10.0.0.1:1883", "client_id": "device", "username": "device", "password": "secret",
        "publish_topic": "up", "subscribe_topic": "down",
    }  # fmt: skip
    assert ota.MqttSection.model_validate(fields).username == "device"
    with pytest.raises(ValidationError):
        ota.MqttSection.model_validate(fields | {name: f"a{character}b"})


def test_espressifs_client_is_known_by_its_chip() -> None:
    headers = {"Device-Id": "aa:bb:cc:00:11:22", "Client-Id": "uuid", "User-Agent": "esp32p4"}
    body = {"minimum_free_heap_size": 8_123_456, "application": {"version": "0.1.1"}}
    request = OtaRequest.from_http(headers, json.dumps(body).encode())
    assert (request.board, request.firmware_version, request.cellular) == ("esp32p4", "0.1.1", None)
    assert request.report == body
    assert request.needs_port_8883
    for other in ({"User-Agent": "esp32p4/1.0"}, {"User-Agent": ""}, {"Activation-Version": "1"}):
        assert not OtaRequest.from_http(headers | other, b"").needs_port_8883


def test_no_secret_is_shown() -> None:
    request = OtaRequest.from_http(HEADERS, json.dumps(BODY).encode())
    response = OtaResponse(
        mqtt=ota.MqttSection(
            endpoint="10.0.0.1:1883", client_id="device", username="device", password="secret-1",
            publish_topic="up", subscribe_topic="down",
        ),
        websocket=ota.WebsocketSection(url="ws://10.0.0.1/", token="secret-2"),
        udp=ota.UdpSection(server="10.0.0.1", port=8884, key="secret-3"),
        activation=ota.ActivationSection(code="secret-4", message="say secret-5", challenge="secret-6"),
    )  # fmt: skip
    proof = ActivationRequest.from_body(json.dumps({**PROOF, "challenge": "secret-7"}).encode())
    shown = f"{request!r} {request} {response!r} {response} {proof!r} {proof}"
    for hidden in ("secret", HEADERS["Client-Id"], HEADERS["Serial-Number"], repr(proof.hmac)):
        assert hidden not in shown
    assert b"secret-1" in response.to_json()


# ── activation ───────────────────────────────────────────────────────────────────────────────────────────

PROOF = {"algorithm": "hmac-sha256", "serial_number": "S" * 32, "challenge": "c", "hmac": "0F" * 32}


def test_polls_of_both_versions() -> None:
    assert ActivationRequest.from_body(b"{}") == ActivationRequest.from_body(b"") == ActivationRequest()
    assert ActivationRequest.from_body(json.dumps(PROOF).encode()) == ActivationRequest(
        version=2, serial_number="S" * 32, challenge="c", hmac=b"\x0f" * 32
    )


def test_py_xiaozhis_nested_poll_is_the_same_as_the_flat_one() -> None:
    nested = ActivationRequest.from_body(json.dumps({"Payload": PROOF}).encode())
    assert nested == ActivationRequest.from_body(json.dumps(PROOF).encode())
    assert ActivationRequest.from_body(b'{"Payload": {}}') == ActivationRequest()


@pytest.mark.parametrize("nested", [None, 1, "", [], [PROOF], {"Payload": PROOF}, {**PROOF, "hmac": "0F"}])
def test_malformed_nested_polls_are_refused(nested: object) -> None:
    with pytest.raises(OtaError):
        ActivationRequest.from_body(json.dumps({"Payload": nested}).encode())


@pytest.mark.parametrize("name", list(PROOF))
@pytest.mark.parametrize("value", [None, 1, "", [], {}, "x" * 300])
def test_malformed_proofs_are_refused(name: str, value: object) -> None:
    with pytest.raises(OtaError):
        ActivationRequest.from_body(json.dumps({**PROOF, name: value}).encode())


@given(st.binary())
def test_any_poll_is_read_or_refused(body: bytes) -> None:
    try:
        ActivationRequest.from_body(body)
    except OtaError:
        return


def test_without_a_wish_in_the_header_the_body_counts() -> None:
    headers = {**HEADERS, "Accept-Language": "*"}
    assert OtaRequest.from_http(headers, b'{"language": "vi-VN"}').language == "vi-VN"


@pytest.mark.parametrize(
    ("board", "dbm"),
    [
        ({"rssi": -61}, -61), ({"csq": "20"}, -73), ({"csq": "20,99"}, -73), ({"csq": 31}, -51),
        ({"csq": "99"}, None), ({"rssi": 0}, None), ({"rssi": "-61"}, None), ({"rssi": -1000}, None),
        ({"csq": "x"}, None), ({"rssi": True}, None), ({}, None), ("nothing", None),
    ],
)  # fmt: skip
def test_signal_is_that_of_wifi_or_modem(board: object, dbm: int | None) -> None:
    assert signal_dbm({"board": board}) == dbm
