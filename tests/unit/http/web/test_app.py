"""Addresses that the web app answers."""

from pathlib import Path

import pytest
from starlette.requests import Request

from mimi_mqtt.http.web.app import WebApp
from mimi_mqtt.http.web.built import built_files


@pytest.mark.parametrize(
    ("path", "has"),
    [
        ("/", True), ("/devices/aa-bb-cc-00-11-22", True), ("/assets", True), ("/rollouts/1", True),
        ("/assets/gone-1.js", False), ("/api/v1/nothing", False), ("/api", False), ("/xiaozhi/ota/", False),
        ("/robots.txt", False),
    ],
)  # fmt: skip
def test_pages_are_those_of_the_app_alone(tmp_path: Path, path: str, has: bool) -> None:
    (tmp_path / "index.html").write_text("<!doctype html>")
    app = WebApp(built_files(tmp_path))
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    assert app.has_page(Request(scope)) is has
