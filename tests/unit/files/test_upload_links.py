"""A link takes one upload, within its time."""

import pytest

from mimi_mqtt.files import upload_links
from mimi_mqtt.files.upload_links import LINK_S, UploadLink, UploadLinks

pytestmark = pytest.mark.virtual_time


async def link(device_id: str = "aa-bb-cc-00-11-22", until: float = LINK_S) -> UploadLink:
    return UploadLink(device_id, "u-bob", "", "screenshot", until)


async def test_a_link_is_taken_once() -> None:
    links = UploadLinks()
    opened = await link()
    secret = links.open(opened, 0.0)
    assert secret is not None
    assert len(secret) == 22
    assert links.take("x" + secret[1:], 1.0) is None
    assert links.take(secret, 1.0) is opened
    assert links.take(secret, 1.0) is None
    assert len(links) == 0


async def test_a_link_ends_with_its_time() -> None:
    links = UploadLinks()
    secret = links.open(await link(), 0.0)
    assert secret is not None
    assert links.take(secret, LINK_S) is None


async def test_a_link_that_was_closed_takes_nothing() -> None:
    links = UploadLinks()
    opened = await link()
    secret = links.open(opened, 0.0)
    links.close(opened)
    links.close(opened)
    assert secret is not None
    assert links.take(secret, 1.0) is None


async def test_links_are_bounded_for_each_device_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_links, "MAX_LINKS", 6)
    links = UploadLinks()
    for _ in range(upload_links.LINKS_PER_DEVICE):
        assert links.open(await link(), 0.0) is not None
    assert links.open(await link(), 0.0) is None
    assert links.open(await link("aa-bb-cc-00-11-23"), 0.0) is not None
    assert links.open(await link("aa-bb-cc-00-11-24"), 0.0) is not None
    assert links.open(await link("aa-bb-cc-00-11-25"), 0.0) is None
    # Those that are over make room.
    assert links.open(await link(until=2 * LINK_S), LINK_S) is not None


@pytest.mark.parametrize("secret", ["", "é", "../..", "a" * 10_000, "AAAAAAAAAAAAAAAAAAAAAA"])
async def test_a_guess_finds_nothing(secret: str) -> None:
    links = UploadLinks()
    links.open(await link(), 0.0)
    assert links.take(secret, 1.0) is None
    assert len(links) == 1
