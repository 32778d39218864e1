"""Downloads from servers that cut, lie, corrupt and crawl."""

import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from mimi_mqtt.errors import ModelError
from mimi_mqtt.models import fetching
from mimi_mqtt.models.fetching import ATTEMPTS, Fetcher, Wanted
from mimi_mqtt.models.progress import Silence
from tests.integration.models.evil_server import (
    Conversation,
    EvilServer,
    Request,
    corrupt,
    cut_after,
    endless,
    says,
    whole,
    without_length,
)

CONTENT = bytes(range(256)) * 2_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[EvilServer]:
    with EvilServer(CONTENT).serving() as made:
        yield made


def fetch(server: EvilServer, into: Path, *, sha256: str = SHA256, length: int = len(CONTENT)) -> list[float]:
    """Fetches the file; the waits in between."""
    waits: list[float] = []
    fetcher = Fetcher(Silence(), wait=waits.append, timeout_s=5.0, https_only=False)
    fetcher.fetch(Wanted("model.bin", server.url, length, sha256), into)
    assert into.read_bytes() == server.content
    assert [path.name for path in into.parent.iterdir()] == [into.name]
    return waits


def test_a_good_server_is_asked_once(server: EvilServer, tmp_path: Path) -> None:
    assert fetch(server, tmp_path / "model.bin") == []
    assert server.begins == [0]


@pytest.mark.parametrize("cuts", [1, 2, 20])
def test_a_cut_download_goes_on_where_it_was(server: EvilServer, tmp_path: Path, cuts: int) -> None:
    server.script = [*[cut_after(10_000)] * cuts, whole]
    fetch(server, tmp_path / "model.bin")
    assert server.begins == [10_000 * number for number in range(cuts + 1)]


@pytest.mark.parametrize(
    "answer",
    [says("503 Service Unavailable"), says("500 Oops"), says("429 Too Many Requests"), cut_after(0)],
)
def test_a_server_that_fails_is_asked_again_after_growing_waits(
    server: EvilServer, tmp_path: Path, answer: Conversation
) -> None:
    server.script = [answer, answer, answer, whole]
    waits = fetch(server, tmp_path / "model.bin")
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]


def test_one_that_brings_nothing_is_given_up_and_what_came_is_kept(
    server: EvilServer, tmp_path: Path
) -> None:
    into = tmp_path / "model.bin"
    server.script = [cut_after(10_000), cut_after(0)]
    with pytest.raises(ModelError, match="run the same command again"):
        fetch(server, into)
    assert len(server.begins) == 1 + ATTEMPTS
    server.script, server.begins = [whole], []
    fetch(server, into)
    assert server.begins == [10_000]


def test_a_server_that_ignores_the_part_asked_for_sends_all_again(server: EvilServer, tmp_path: Path) -> None:
    server.script = [cut_after(10_000), without_length()]
    fetch(server, tmp_path / "model.bin")


def test_another_part_than_was_asked_for_is_thrown_away(server: EvilServer, tmp_path: Path) -> None:
    wrong = says("206 Partial Content", "Content-Range: bytes 5-9/512000", body=b"wrong")
    server.script = [cut_after(10_000), wrong, whole]
    fetch(server, tmp_path / "model.bin")
    assert server.begins == [0, 10_000, 0]


def test_a_part_that_is_not_there_begins_anew(server: EvilServer, tmp_path: Path) -> None:
    server.script = [cut_after(10_000), says("416 Range Not Satisfiable"), whole]
    fetch(server, tmp_path / "model.bin")
    assert server.begins == [0, 10_000, 0]


def test_a_length_that_is_told_too_short_is_noticed(server: EvilServer, tmp_path: Path) -> None:
    server.script = [says("200 OK", body=CONTENT[:5_000]), whole]
    fetch(server, tmp_path / "model.bin")
    assert server.begins == [0, 5_000]


@pytest.mark.parametrize("answer", [without_length(b"more"), endless])
def test_more_than_the_file_has_is_not_taken(
    server: EvilServer, tmp_path: Path, answer: Conversation
) -> None:
    server.script = [answer]
    with pytest.raises(ModelError, match="sends more than its"):
        fetch(server, tmp_path / "model.bin")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_000


def test_a_corrupted_file_is_told_with_both_hashes_and_deleted(server: EvilServer, tmp_path: Path) -> None:
    server.script = [corrupt]
    with pytest.raises(ModelError, match=rf"is not the file of the catalogue.*{SHA256}"):
        fetch(server, tmp_path / "model.bin")
    assert not (tmp_path / "model.bin").exists()
    server.script, server.begins = [whole], []
    fetch(server, tmp_path / "model.bin")
    assert server.begins == [0]


def test_what_does_not_exist_is_not_asked_for_twice(server: EvilServer, tmp_path: Path) -> None:
    server.script = [says("404 Not Found")]
    with pytest.raises(ModelError, match="answered 404"):
        fetch(server, tmp_path / "model.bin")
    assert len(server.begins) == 1


def test_a_redirect_is_followed_and_a_circle_is_not(server: EvilServer, tmp_path: Path) -> None:
    server.script = [says("302 Found", "Location: /elsewhere"), whole]
    fetch(server, tmp_path / "model.bin")
    server.script = [says("302 Found", "Location: /elsewhere")]
    with pytest.raises(ModelError, match="redirects"):
        fetch(server, tmp_path / "again.bin")


@pytest.mark.parametrize("address", ["https://[x/", "http://a]b/"])
def test_a_redirect_to_no_address_is_told(server: EvilServer, tmp_path: Path, address: str) -> None:
    server.script = [says("302 Found", f"Location: {address}")]
    with pytest.raises(ModelError, match="leads to no address"):
        fetch(server, tmp_path / "model.bin")


@pytest.mark.parametrize("etag", ['"v\u00e9"', 'W/"1"', "unquoted", '"1'])
def test_a_strange_mark_of_a_version_is_not_sent_back(server: EvilServer, tmp_path: Path, etag: str) -> None:
    def cut(request: Request) -> None:
        length = f"Content-Length: {len(CONTENT)}"
        request.send("200 OK", (length, f"ETag: {etag}"), CONTENT[:10_000])

    server.script = [cut, whole]
    fetch(server, tmp_path / "model.bin")
    assert server.begins == [0, 10_000]


def test_nothing_is_fetched_without_encryption(server: EvilServer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not encrypted"):
        Fetcher(Silence()).fetch(Wanted("model.bin", server.url, 1, SHA256), tmp_path / "model.bin")
    assert server.begins == []


def test_without_internet_it_is_said_what_to_do(tmp_path: Path) -> None:
    fetcher = Fetcher(Silence(), wait=lambda _: None, https_only=False)
    with pytest.raises(ModelError, match="can't be downloaded from 127"):
        fetcher.fetch(Wanted("model.bin", "http://127.0.0.1:9/x", 1, SHA256), tmp_path / "model.bin")


def test_a_server_that_crawls_is_left_for_a_new_connection(
    server: EvilServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()
    monkeypatch.setattr(fetching, "RATE_WINDOW_S", 0.5)
    monkeypatch.setattr(fetching, "SLOWEST_BYTES_PER_S", 10**9)
    fetcher = Fetcher(Silence(), wait=lambda _: None, clock=lambda: float(next(ticks)), https_only=False)
    fetcher.fetch(Wanted("model.bin", server.url, len(CONTENT), SHA256), tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert len(server.begins) > 1
    assert server.begins == sorted(server.begins)
