"""A real browser that opens a stranger's page, which tries to reach in."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from mimi_mqtt.config import HttpSettings
from tests.integration.http.conftest import Start
from tests.integration.http.test_server import echo
from tests.integration.test_app import running

BROWSER_S = 60.0

# What each attempt got to know is written into the page.
PAGE = """<!doctype html><title>running</title><pre id=out></pre><script>
const server = "SERVER" || location.origin, mac = "aa:bb:cc:00:11:22", found = {};
const settle = (name, promise) => promise.then(v => found[name] = v, e => found[name] = "failed");
const socket = () => new Promise((done, fail) => {
  const ws = new WebSocket(server.replace("http", "ws") + "/mqtt", "mqtt");
  ws.onopen = () => done("open"); ws.onerror = () => fail();
});
const body = JSON.stringify({mac_address: mac, uuid: "u", version: 2});
Promise.all([
  settle("post", fetch(server + "/xiaozhi/ota/", {method: "POST", mode: "no-cors", body,
    headers: {"Content-Type": "text/plain"}}).then(() => "sent")),
  settle("get", fetch(server + "/xiaozhi/ota/", {headers: {"Device-Id": mac}}).then(r => r.text())),
  settle("page", fetch(server + "/").then(r => r.text())),
  settle("socket", socket()),
]).then(() => {
  document.getElementById("out").textContent = JSON.stringify(found); document.title = "done";
});
</script>"""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; with CI=true it has to be there."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("CI") == "true":
        pytest.fail("Chromium is not installed: scripts/setup test installs it")
    pytest.skip("Chromium is not installed")


Visit = Callable[..., Awaitable[dict[str, Any]]]
Dump = Callable[..., Awaitable[str]]


@pytest.fixture
def dump(chromium: str, tmp_path: Path) -> Dump:
    """Opens a page and returns its elements as they are when it is done."""

    async def opened(url: str, *flags: str) -> str:
        browser = await asyncio.create_subprocess_exec(
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            f"--user-data-dir={tmp_path}/browser", "--virtual-time-budget=20000", "--dump-dom", *flags, url,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(BROWSER_S):
                output, _ = await browser.communicate()
        finally:
            if browser.returncode is None:
                browser.kill()
                await browser.wait()
        return output.decode()

    return opened


@pytest.fixture
def visit(dump: Dump) -> Visit:
    """Opens a page and returns what it found."""

    async def opened(url: str, *flags: str) -> dict[str, Any]:
        output = await dump(url, *flags)
        found = re.search(r"<pre id=\"out\">(.+?)</pre>", output, re.DOTALL)
        assert found is not None, output
        result: dict[str, Any] = json.loads(unescape(found[1]))
        return result

    return opened


class Site:
    """A stranger's web site on 127.0.0.2, whose page attacks the server at `target`, else its own origin.

    With `rebinds_to` it serves its page once; from then on what connects to its name reaches that port of
    this machine, as after DNS rebinding: to the browser the server is of the page's own origin.
    """

    def __init__(self, target: str = "", rebinds_to: int = 0) -> None:
        self._page = PAGE.replace("SERVER", target).encode()
        self._rebinds_to = rebinds_to
        self._served = False
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> int:
        self._listener = await asyncio.start_server(self._answer, "127.0.0.2", 0)
        return int(self._listener.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if self._rebinds_to and self._served:
                await self._pass_on(head, reader, writer)
                return
            self._served = True
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(self._page), self._page)
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._rebinds_to)
        server_writer.write(head)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65_536):
                    target.write(data)
            finally:
                target.close()

        await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer), return_exceptions=True)


async def test_a_strangers_page_registers_nothing_reads_nothing_and_opens_no_websocket(
    start: Start, visit: Visit
) -> None:
    server = await start(mqtt_websocket=echo)
    async with Site(f"http://127.0.0.1:{server.port}") as port:
        found = await visit(f"http://127.0.0.2:{port}/")
    assert {found[what] for what in ("get", "page", "socket")} == {"failed"}
    assert len(server.directory) == 0
    assert "requests of foreign web pages" in server.ledger.summary()


async def test_a_rebound_page_reads_nothing(start: Start, visit: Visit) -> None:
    server = await start(mqtt_websocket=echo)
    async with Site(rebinds_to=server.port) as port:
        found = await visit(
            f"http://evil.example:{port}/", "--host-resolver-rules=MAP evil.example 127.0.0.2"
        )
    assert found["socket"] == "failed"
    for read in ("get", "page"):
        assert "http.allowed_hosts" in json.loads(found[read])["error"]
    assert len(server.directory) == 0
    assert "requests to foreign host names" in server.ledger.summary()


async def test_a_page_of_a_listed_host_opens_a_websocket(start: Start, visit: Visit) -> None:
    server = await start(http=HttpSettings(allowed_hosts=("mqttx.example",)), mqtt_websocket=echo)
    async with Site(f"http://127.0.0.1:{server.port}") as port:
        found = await visit(
            f"http://mqttx.example:{port}/", "--host-resolver-rules=MAP mqttx.example 127.0.0.2"
        )
    assert found["socket"] == "open"


async def test_the_page_of_the_api_is_drawn_under_its_policy_without_the_internet(
    tmp_path: Path, dump: Dump
) -> None:
    async with running(tmp_path / "server") as app:
        # Whatever is asked from elsewhere fails, and would leave the page empty.
        drawn = await dump(
            f"http://127.0.0.1:{app.http_port}/docs",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        )
    assert 'class="opblock-tag' in drawn
    assert 'id="operations-tag-commands"' in drawn
    assert "Authorize" in drawn
