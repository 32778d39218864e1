"""Links that carry their own permission."""

from urllib.parse import parse_qs

import pytest

from mimi_mqtt.files.links import SIGNATURE_CHARS, SignedLinks

PATH, NOW = "/files/firmware/7/image.bin", 1_790_000_000.0


def parts(query: str) -> tuple[str, str]:
    found = parse_qs(query)
    return found["until"][0], found["sig"][0]


def test_a_link_is_good_for_its_path_until_its_time() -> None:
    links = SignedLinks(lambda: (b"k" * 32,))
    until, signature = parts(links.query(PATH, NOW + 60))
    assert len(signature) == SIGNATURE_CHARS
    assert links.is_good(PATH, until, signature, NOW)
    assert not links.is_good(PATH + "x", until, signature, NOW)
    assert not links.is_good(PATH, until, signature, NOW + 60)
    assert not links.is_good(PATH, str(int(until) + 1), signature, NOW)
    assert not SignedLinks(lambda: (b"j" * 32,)).is_good(PATH, until, signature, NOW)


def test_a_link_of_the_key_before_is_good_while_that_is_believed() -> None:
    until, signature = parts(SignedLinks(lambda: (b"old",)).query(PATH, NOW + 60))
    assert SignedLinks(lambda: (b"new", b"old")).is_good(PATH, until, signature, NOW)


@pytest.mark.parametrize("until", ["", "-1", "1e9", "１７９００００１００", "9" * 13, "0x7f"])
def test_a_time_that_is_none_is_refused(until: str) -> None:
    links = SignedLinks(lambda: (b"k",))
    assert not links.is_good(PATH, until, parts(links.query(PATH, NOW + 60))[1], NOW)
