"""One-time addresses: one fetch, one minute, no two alike, no hint for who guesses."""

import pytest

from mimi_mqtt.commands import notice_urls
from mimi_mqtt.commands.notice_urls import FETCH_WITHIN_S, FetchState, NoticeUrls
from mimi_mqtt.voice.notices.recording import Recording

pytestmark = pytest.mark.virtual_time


async def test_an_address_is_found_until_it_is_fetched() -> None:
    urls = NoticeUrls()
    opened = urls.open(Recording(), 100.0)
    assert opened is not None
    secret, fetch = opened
    assert urls.find(secret, 100.0) is fetch
    fetch.begin(101.0)
    assert urls.find(secret, 101.0) is None
    fetch.end(whole=True)
    assert fetch.state is FetchState.WHOLE
    assert urls.find(secret, 102.0) is None
    urls.close(fetch)
    assert len(urls) == 0
    assert fetch.state is FetchState.WHOLE


async def test_an_address_is_good_for_a_minute() -> None:
    urls = NoticeUrls()
    opened = urls.open(Recording(), 100.0)
    assert opened is not None
    secret, fetch = opened
    assert urls.find(secret, 100.0 + FETCH_WITHIN_S - 0.1) is fetch
    assert urls.find(secret, 100.0 + FETCH_WITHIN_S) is None


async def test_what_is_withdrawn_can_not_be_fetched_and_ends_where_it_is() -> None:
    urls = NoticeUrls()
    first, second = urls.open(Recording(), 0.0), urls.open(Recording(), 0.0)
    assert first is not None
    assert second is not None
    first[1].withdraw()
    assert first[1].state is FetchState.NEVER
    assert urls.find(first[0], 0.0) is None
    second[1].begin(0.0)
    second[1].withdraw()
    assert second[1].state is FetchState.PARTLY
    second[1].end(whole=True)
    assert second[1].state is FetchState.PARTLY


@pytest.mark.parametrize("guess", ["", "x", "A" * 22, "é" * 22, "../../etc", "A" * 10_000, "%00", "=" * 4])
async def test_guesses_find_nothing(guess: str) -> None:
    urls = NoticeUrls()
    opened = urls.open(Recording(), 0.0)
    assert opened is not None
    assert urls.find(guess, 0.0) is None
    assert urls.find(opened[0][:-1], 0.0) is None
    assert urls.find(opened[0].swapcase(), 0.0) is None


async def test_addresses_have_128_random_bits_and_the_table_holds_none_of_them() -> None:
    urls = NoticeUrls()
    secrets = set()
    for _ in range(100):
        opened = urls.open(Recording(), 0.0)
        assert opened is not None
        secrets.add(opened[0])
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {22}
    assert not any(secret.encode() in key for secret in secrets for key in urls._open)


async def test_open_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice_urls, "MAX_OPEN", 2)
    urls = NoticeUrls()
    first = urls.open(Recording(), 0.0)
    assert urls.open(Recording(), 0.0) is not None
    assert urls.open(Recording(), 0.0) is None
    assert first is not None
    urls.close(first[1])
    assert urls.open(Recording(), 0.0) is not None
