"""The built files of the web app: found in the package, and sent in the best encoding that a client takes."""

from pathlib import Path

import pytest

from mimi_mqtt.http.web.built import BuiltFile, built_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    for name in (
        "index.html",
        "assets/a-1.js",
        "assets/a-1.js.br",
        "assets/a-1.js.gz",
        "secret.key",
        ".mimi-built",
    ):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_only_files_of_known_types_are_served(folder: Path) -> None:
    assert sorted(built_files(folder)) == ["assets/a-1.js", "index.html"]


def test_without_a_start_page_there_is_no_app(folder: Path) -> None:
    (folder / "index.html").unlink()
    assert built_files(folder) == {}


@pytest.mark.parametrize(
    ("accepts", "encoding"),
    [
        ("br, gzip", "br"),
        ("gzip", "gzip"),
        ("gzip;q=1, br;q=0", "gzip"),
        ("", ""),
        ("identity", ""),
        ("BR", "br"),
    ],
)
def test_encoding_is_one_that_the_client_takes(folder: Path, accepts: str, encoding: str) -> None:
    found: BuiltFile = built_files(folder)["assets/a-1.js"]
    path, chosen = found.accepted(accepts)
    assert chosen == encoding
    assert path.suffix == {"br": ".br", "gzip": ".gz", "": ".js"}[encoding]


def test_etag_changes_with_the_content(folder: Path) -> None:
    before = built_files(folder)["index.html"].etag
    (folder / "index.html").write_text("another")
    assert built_files(folder)["index.html"].etag != before
