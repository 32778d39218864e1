"""The web app's files over HTTP: which addresses show it, how long its files are kept, and its policy."""

import gzip
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.http.web.app import WebApp
from mimi_mqtt.http.web.built import built_files
from tests.integration.http.conftest import Server, Start

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
PAGE = "<!doctype html><title>mimi</title>"


@pytest.fixture
async def app(start: Start, tmp_path: Path) -> Server:
    folder = tmp_path / "built"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "sw.js").write_text("// a worker")
    (folder / "assets/index-1a2b.js").write_text("console.log(1)")
    (folder / "assets/index-1a2b.js.gz").write_bytes(gzip.compress(b"console.log(1)"))
    return await start(web=WebApp(built_files(folder)))


@pytest.mark.parametrize("path", ["/", "/setup", "/devices", "/devices/aa-bb-cc-00-11-22", "/nothing/here"])
async def test_browser_gets_the_start_page_at_every_address_of_the_app(app: Server, path: str) -> None:
    reply = await app.client.get(path, headers=BROWSER)
    assert (reply.status_code, reply.text) == (200, PAGE)
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy.replace("wasm-unsafe-eval", "")
    assert "frame-ancestors 'none'" in policy
    assert reply.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/devices",
        "/assets/gone.js",
        "/nothing.js",
        "/docs/gone",
        "/xiaozhi/nothing",
        "/mcp/nothing",
        "/mqtt/x",
    ],
)
async def test_other_addresses_stay_unknown(app: Server, path: str) -> None:
    reply = await app.client.get(path, headers=BROWSER)
    assert reply.status_code == 404, path
    assert reply.headers["content-type"].startswith("application/")


async def test_program_is_told_that_there_is_nothing(app: Server) -> None:
    reply = await app.client.get("/devices")
    assert reply.status_code == 404
    assert "there is nothing at /devices" in reply.json()["error"]
    assert (await app.client.post("/devices", headers=BROWSER)).status_code == 404


async def test_device_never_gets_the_page(app: Server) -> None:
    headers = BROWSER | {"Device-Id": "02:00:00:00:00:01"}
    assert (await app.client.get("/devices", headers=headers)).status_code == 404


async def test_files_are_compressed_and_kept_by_the_hash_in_their_names(app: Server) -> None:
    reply = await app.client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "gzip"})
    assert reply.text == "console.log(1)"
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.headers["vary"] == "Accept-Encoding"
    assert "immutable" in reply.headers["cache-control"]
    assert reply.headers["content-type"].startswith("text/javascript")
    plain = await app.client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    worker = await app.client.get("/sw.js")
    assert worker.headers["cache-control"] == "no-cache"


async def test_file_that_did_not_change_is_not_sent_again(app: Server) -> None:
    for path in ("/", "/assets/index-1a2b.js"):
        first = await app.client.get(path, headers=BROWSER)
        again = await app.client.get(path, headers=BROWSER | {"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/assets/../index.html", "/assets/%2e%2e%2findex.html", "/assets/..%2f..%2fapp.py"]
)
async def test_no_path_leads_out_of_the_folder(app: Server, path: str) -> None:
    async with httpx.AsyncClient(timeout=60.0, base_url=f"http://127.0.0.1:{app.port}") as client:
        reply = await client.get(path)
    assert "import" not in reply.text
    assert reply.status_code in (200, 404)
    assert reply.text == PAGE or reply.status_code == 404


async def test_server_without_the_app_says_how_to_get_it(server: Server) -> None:
    for path in ("/", "/setup"):
        page = await server.client.get(path, headers=BROWSER)
        assert page.status_code == 200
        assert "./scripts/web" in page.text
    assert (await server.client.get("/devices", headers=BROWSER)).status_code == 404
