"""Updates of the simulated device: it takes what stock firmware takes, and refuses what that refuses."""

import httpx
import pytest

from mimi_mqtt.cli.device.checks import check
from mimi_mqtt.cli.device.options import DeviceOptions, Summary
from mimi_mqtt.cli.device.profiles import PROFILES
from mimi_mqtt.cli.device.updating import FirmwareSeen, Lost, Updates, read_firmware
from mimi_mqtt.errors import ConfigError
from tests.firmware import images

SEEN = FirmwareSeen("2.3.1", "http://mimi.test/f", force=False)


def serving(data: bytes, status: int = 200, *, length: bool = True) -> httpx.AsyncClient:
    """A client whose every request is answered so; without `length` as if it were chunked."""

    def answer(_: httpx.Request) -> httpx.Response:
        headers = {"content-length": str(len(data))} if length else {}
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(data))

    return httpx.AsyncClient(timeout=60.0, transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"firmware":{"version":"2.3.1","url":"http://mimi.test/f"}}', SEEN),
        (b'{"firmware":{"version":"2.3.1","url":"http://mimi.test/f","force":0}}', SEEN),
        (b'{"firmware":{"version":"2.3.1","url":""}}', None),
        (b'{"firmware":{"version":1,"url":"x"}}', None),
        (b'{"firmware":[]}', None),
        (b"{}", None),
        (b"[]", None),
        (b"{", None),
    ],
)
def test_the_offer_is_read_from_the_answer(body: bytes, seen: FirmwareSeen | None) -> None:
    assert read_firmware(body) == seen


async def test_a_newer_version_is_taken_once() -> None:
    updates = Updates()
    async with serving(images.image()) as http:
        assert await updates.take(http, SEEN, "2.2.1") == "2.3.1"
        assert await updates.take(http, SEEN, "2.2.1") is None
    assert [(report.version, report.error) for report in updates.reports] == [("2.3.1", "")]
    assert Summary.of((), "", 0, 0, (), tuple(updates.reports)).ok


async def test_an_older_version_is_taken_with_force_alone() -> None:
    updates = Updates()
    async with serving(images.image(version="2.0.0")) as http:
        assert (
            await updates.take(http, FirmwareSeen("2.0.0", "http://mimi.test/f", force=False), "2.2.1")
            is None
        )
        assert (
            await updates.take(http, FirmwareSeen("2.0.0", "http://mimi.test/f", force=True), "2.2.1")
            == "2.0.0"
        )


@pytest.mark.parametrize(
    ("data", "status", "length", "word"),
    [
        (images.image(), 302, True, "302, not 200"),
        (images.image(), 206, True, "206, not 200"),
        (images.image(), 200, False, "no Content-Length"),
        (b"", 200, True, "no Content-Length"),
        (images.image()[:-1], 200, True, "truncated"),
        (images.image(version="2.3.2"), 200, True, "2.3.1 was announced"),
    ],
)
async def test_what_firmware_refuses_is_refused(data: bytes, status: int, length: bool, word: str) -> None:
    updates = Updates()
    async with serving(data, status, length=length) as http:
        assert await updates.take(http, SEEN, "2.2.1") is None
    assert word in updates.reports[0].error
    assert not Summary.of((), "", 0, 0, (), tuple(updates.reports)).ok


async def test_a_device_can_be_lost_after_its_update() -> None:
    updates = Updates(lost=True)
    async with serving(images.image()) as http:
        with pytest.raises(Lost):
            await updates.take(http, SEEN, "2.2.1")
    assert updates.reports[0].error == ""


def test_a_profile_tells_the_version_that_it_runs() -> None:
    running = PROFILES["stock-2.5"].running("2.9.0")
    assert (running.version, running.user_agent) == ("2.9.0", "mimi-simulated/2.9.0")
    assert PROFILES["espressif"].running("2.9.0").user_agent == "esp32s3"


@pytest.mark.parametrize(
    "options", [{"update": True, "firmware": "abc"}, {"lost": True, "text": "hi"}, {"update": False}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        check(DeviceOptions(ota="http://mimi.test/ota", **options))  # type: ignore[arg-type]


def test_an_update_alone_is_enough_to_do() -> None:
    check(DeviceOptions(ota="http://mimi.test/ota", update=True))
