"""Conditional and partial requests, as RFC 9110 has them."""

import pytest

from mimi_mqtt.http.ranges import Wanted, wanted

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, Wanted(200, 0, 100)),
        ({"range": "bytes=0-9"}, Wanted(206, 0, 10)),
        ({"range": "bytes=90-"}, Wanted(206, 90, 100)),
        ({"range": "bytes=90-500"}, Wanted(206, 90, 100)),
        ({"range": "bytes=-10"}, Wanted(206, 90, 100)),
        ({"range": "bytes=-500"}, Wanted(206, 0, 100)),
        ({"range": "bytes=100-"}, Wanted(416)),
        ({"range": "bytes=-0"}, Wanted(416)),
        ({"range": "bytes=9-1"}, Wanted(200, 0, 100)),
        ({"range": "bytes=0-1,5-6"}, Wanted(200, 0, 100)),
        ({"range": "bytes=a-b"}, Wanted(200, 0, 100)),
        ({"range": "lines=1-2"}, Wanted(200, 0, 100)),
        ({"range": f"bytes={'9' * 30}-"}, Wanted(200, 0, 100)),
        ({"range": "bytes=5-", "if-range": ETAG}, Wanted(206, 5, 100)),
        ({"range": "bytes=5-", "if-range": '"other"'}, Wanted(200, 0, 100)),
        ({"range": "bytes=5-", "if-range": "Sat, 01 Aug 2026 12:00:00 GMT"}, Wanted(200, 0, 100)),
        ({"range": "bytes=5-", "if-range": 'W/"abc"'}, Wanted(200, 0, 100)),
        ({"if-none-match": ETAG}, Wanted(304)),
        ({"if-none-match": '"x", W/"abc"', "range": "bytes=5-"}, Wanted(304)),
        ({"if-none-match": "*"}, Wanted(304)),
        ({"if-none-match": '"x"'}, Wanted(200, 0, 100)),
    ],
)
def test_a_request_gets_what_it_wants(headers: dict[str, str], found: Wanted) -> None:
    assert wanted(headers, ETAG, 100) == found


def test_a_range_is_told_with_the_size_of_the_whole() -> None:
    assert Wanted(206, 5, 10).content_range(100) == "bytes 5-9/100"
    assert Wanted(416).content_range(100) == "bytes */100"
    assert Wanted(200, 0, 100).content_range(100) is None


def test_an_empty_file_has_no_range() -> None:
    assert wanted({"range": "bytes=0-"}, ETAG, 0) == Wanted(416)
