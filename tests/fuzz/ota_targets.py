"""Fuzz targets of OTA: a booting device's request, the poll of activation, and the masking of both."""

import json
import re

from mimi_mqtt.errors import OtaError
from mimi_mqtt.wire import accept_language, strict_json, topics
from mimi_mqtt.wire.ota import ActivationRequest, OtaRequest, is_comparable_version
from mimi_mqtt.wire.subscriber import SubscriberMask, is_cellular
from tests.fuzz.target import Target, told_briefly

_LONG_NUMBER = re.compile(r"(?<![0-9A-Za-z])[0-9]{14,22}(?![0-9A-Za-z])")


def _texts(value: object) -> list[str]:
    """All names and strings in `value`."""
    if isinstance(value, dict):
        return [text for name, part in value.items() for text in (name, *_texts(part))]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def check_request(data: bytes) -> bool:
    """Headers, an empty line and a body: only OtaError; texts are bounded and hold no SIM card's number."""
    head, _, body = data.partition(b"\n\n")
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\n"):
        name, _, value = line.partition(":")
        headers[name.strip()] = value.strip()
    try:
        request = OtaRequest.from_http(headers, body)
    except OtaError as error:
        told_briefly(error)
        return False
    assert topics.is_device_id(request.device_id)
    assert len(request.client_id) <= 128
    for text in (
        request.board,
        request.board_name,
        request.firmware_version,
        request.language,
        request.serial_number,
    ):
        assert len(text) <= 64
        assert text.isprintable()
        assert not _LONG_NUMBER.search(text), "a modem's or SIM card's number is kept"
    is_comparable_version(request.firmware_version)
    assert not any(map(_LONG_NUMBER.search, _texts(request.report)))
    strict_json.dumps(request.report)
    return True


def check_activation(data: bytes) -> bool:
    """The poll of a device that shows a code: only OtaError; with version 2 all of its proof is there."""
    try:
        poll = ActivationRequest.from_body(data)
    except OtaError as error:
        told_briefly(error)
        return False
    if poll.version == 1:
        assert (poll.serial_number, poll.challenge, poll.hmac) == ("", "", b"")
    else:
        assert len(poll.hmac) == 32
        assert 0 < len(poll.serial_number) <= 256
        assert 0 < len(poll.challenge) <= 256
    return True


def check_language(data: bytes) -> bool:
    """Accept-Language: never an error; the wish is one of the header's languages."""
    header = data.decode("latin-1")
    wish = accept_language.preferred(header)
    if not wish:
        return False
    assert re.fullmatch(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*", wish)
    assert wish in header.replace("_", "-")
    assert accept_language.preferred(wish) == wish
    return True


def check_mask(data: bytes) -> bool:
    """A report without its personal fields: no value of theirs is left anywhere in it."""
    try:
        report = strict_json.loads(data)
    except ValueError:
        return False
    if not isinstance(report, dict):
        return False
    is_cellular(report)
    masked = SubscriberMask(report).of_object(report)
    personal = {"imei", "iccid", "imsi", "msisdn", "eid", "imeisv", "cereg"}
    shown = _texts(masked)
    assert not any(text.strip().lower() in personal for text in masked)
    assert not any(map(_LONG_NUMBER.search, shown))
    imei = report.get("imei")
    if isinstance(imei, str) and len(imei.strip()) >= 8 and imei.strip() not in "(masked)":
        assert not any(imei.strip() in text for text in shown)
    assert len(json.dumps(masked)) <= 16 * len(data) + 64
    return True


_REPORT = (
    b'{"version":2,"language":"zh-CN","mac_address":"aa:bb:cc:00:11:22","uuid":"u","chip_model_name":"esp32s3",'
    b'"application":{"name":"xiaozhi","version":"2.0.4"},"board":{"type":"bread-compact-wifi","name":"b","ssid":"s"}}'
)
_MODEM = (
    b'{"board":{"type":"ml307","revision":"r","imei":"860000000000017","iccid":"89860000000000000017","csq":"1"},'
    b'"imei":"860000000000017","x":["860000000000017",860000000000017]}'
)

TARGETS = (
    Target(
        "ota-request",
        check_request,
        (
            b"Device-Id: aa:bb:cc:00:11:22\nClient-Id: u-1\nUser-Agent: board/2.0\nAccept-Language: de-DE\n\n"
            + _REPORT,
            b"Device-Id: AABBCC001122\nActivation-Version: 2\nSerial-Number: SN1\n\n" + _MODEM,
            b"\n\n" + _REPORT,
        ),
        (b"Device-Id:", b"Client-Id:", b"\n\n", b'"imei":', b'"board":', b"860000000000017", b'"version":'),
        4_096,
    ),
    Target(
        "ota-activation",
        check_activation,
        (
            b"{}",
            b"",
            b'{"algorithm":"hmac-sha256","serial_number":"s","challenge":"c","hmac":"' + b"0a" * 32 + b'"}',
            b'{"Payload":{"algorithm":"hmac-sha256","serial_number":"s","challenge":"c","hmac":"'
            + b"ff" * 32
            + b'"}}',
        ),
        (b'"algorithm":', b'"hmac-sha256"', b'"Payload":', b'"hmac":'),
    ),
    Target(
        "ota-language",
        check_language,
        (b"de-DE,de;q=0.9,en;q=0.5", b"zh_CN", b"*;q=0.1, vi ; q = 1.000"),
        (b";q=", b",", b"*", b"0.", b"-"),
        512,
    ),
    Target(
        "ota-mask",
        check_mask,
        (_MODEM, _REPORT),
        (b'"imei":', b'"iccid":', b'"IMSI ":', b"89860000000000000017"),
    ),
)
