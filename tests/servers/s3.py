"""A real S3 server, moto's, in a process of its own. Its environment is one that `scripts/setup test` makes,
as its packages and the project's don't go together."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.files.places import Bucket

_ROOT = Path(__file__).resolve().parents[2]
_PLACES = (Path(sys.prefix) / "s3", _ROOT / ".venv" / "s3")


@dataclass(frozen=True)
class S3Server:
    """The server at `url`, with the bucket `voice`."""

    url: str

    def bucket(self, prefix: str = "") -> Bucket:
        """The bucket as the server uses it."""
        return Bucket("voice", prefix, endpoint=self.url, access_key="key", secret_key="secret")


def _program() -> Path:
    found = next((place / "bin" / "moto_server" for place in _PLACES if place.is_dir()), None)
    if found is None:
        told = "the S3 server is not installed: ./scripts/setup test"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return found


@asynccontextmanager
async def s3_server() -> AsyncIterator[S3Server]:
    """The server with an empty bucket. Skips the test where it is not installed, but never in CI."""
    program = _program()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        program, "-H", "127.0.0.1", "-p", str(port),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(60), httpx.AsyncClient(timeout=60.0, trust_env=False) as client:
            while True:
                assert process.returncode is None, "the S3 server ended"
                try:
                    made = await client.put(f"{url}/voice")
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                    continue
                assert made.status_code == 200, made.text
                break
        yield S3Server(url)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
