"""One file from a vendor's own address: resumed after a cut, never longer than expected, checked by its hash.

Retries and Range requests are here because no package that is kept does both with a bound on the length.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from mimi_mqtt.errors import ModelError
from mimi_mqtt.models.progress import Progress

ATTEMPTS: Final = 6
"""Attempts in a row that bring nothing new before a download is given up."""
MAX_ATTEMPTS: Final = 100
"""Attempts altogether."""
MAX_REDIRECTS: Final = 5
TIMEOUT_S: Final = 30.0
"""Longest wait for a connection, and for the next bytes."""
SLOWEST_BYTES_PER_S: Final = 1024
"""Rate below which, over `RATE_WINDOW_S`, a connection is given up for a new one."""
RATE_WINDOW_S: Final = 60.0
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch: its address, its length in bytes, and its SHA-256."""

    name: str
    url: str
    bytes: int
    sha256: str


class Fetcher:
    """Downloads into files next to which it keeps what it needs to go on later.

    `wait` sleeps between attempts; `https_only` is false in tests, whose servers are on this machine.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
        https_only: bool = True,
    ) -> None:
        self._progress = progress
        self._wait = wait
        self._clock = clock
        self._timeout_s = timeout_s
        self._https_only = https_only

    def fetch(self, wanted: Wanted, into: Path) -> None:
        """Completes `into`; what of it is there already is not asked for again. Raises ModelError."""
        if into.is_file() and sha256_of(into) == wanted.sha256:
            return
        with httpx.Client(timeout=self._timeout_s, headers={"Accept-Encoding": "identity"}) as client:
            part = _Part(into.with_name(into.name + ".part"))
            barren = 0
            for attempt in range(MAX_ATTEMPTS):
                before = part.size
                try:
                    self._attempt(client, wanted, part)
                    self._verify(wanted, part)
                    part.becomes(into)
                    return
                except _Cut as cut:
                    barren = 0 if part.size > before else barren + 1
                    if barren >= ATTEMPTS or attempt == MAX_ATTEMPTS - 1:
                        raise ModelError(
                            f"{wanted.name} can't be downloaded from {_place(wanted.url)}: {cut}. "
                            "What came is kept: run the same command again to go on"
                        ) from cut
                    self._wait(min(30.0, 0.5 * 2**barren))

    def _attempt(self, client: httpx.Client, wanted: Wanted, part: "_Part") -> None:
        if part.size == wanted.bytes:
            return
        url = wanted.url
        for _ in range(MAX_REDIRECTS + 1):
            try:
                self._check_address(url)
                with client.stream("GET", url, headers=part.headers()) as response:
                    target = response.headers.get("Location")
                    if response.is_redirect and target is not None:
                        url = urljoin(url, target)
                        continue
                    self._receive(response, wanted, part)
                    return
            except httpx.TransportError as error:
                raise _Cut(str(error) or type(error).__name__) from error
            except (httpx.InvalidURL, ValueError) as error:
                raise ModelError(f"{wanted.name}: a redirect leads to no address: {error}") from error
        raise ModelError(f"{wanted.name}: more than {MAX_REDIRECTS} redirects from {_place(wanted.url)}")

    def _check_address(self, url: str) -> None:
        if self._https_only and urlsplit(url).scheme != "https":
            raise ModelError(f"the download is led to {_place(url)}, which is not encrypted: it was stopped")

    def _receive(self, response: httpx.Response, wanted: Wanted, part: "_Part") -> None:
        status = response.status_code
        if status == 416:
            part.forget()
            raise _Cut("the server has no such part of it")
        if status in _RETRIED:
            raise _Cut(f"the server answered {status}")
        if status not in (200, 206):
            raise ModelError(f"{wanted.name}: {_place(str(response.url))} answered {status}")
        if status == 200:
            part.forget()
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {part.size}-"):
            part.forget()
            raise _Cut("the server sent another part than was asked for")
        part.remember(response.headers)
        told = response.headers.get("Content-Length", "")
        expected = part.size + int(told) if told.isdecimal() else None
        since, at = self._clock(), part.size
        with part.path.open("ab") as file:
            # As it comes: what waits for a full piece would be lost with the connection.
            for chunk in response.iter_raw():
                if file.tell() + len(chunk) > wanted.bytes:
                    file.close()
                    part.forget()
                    raise ModelError(
                        f"{wanted.name}: {_place(str(response.url))} sends more than its {wanted.bytes} bytes"
                    )
                file.write(chunk)
                self._progress.downloaded(wanted.name, file.tell(), wanted.bytes)
                if (now := self._clock()) - since > RATE_WINDOW_S:
                    if file.tell() - at < SLOWEST_BYTES_PER_S * RATE_WINDOW_S:
                        raise _Cut(f"fewer than {SLOWEST_BYTES_PER_S} bytes come in a second")
                    since, at = now, file.tell()
        if expected is not None and part.size < expected:
            raise _Cut("the connection ended too early")

    def _verify(self, wanted: Wanted, part: "_Part") -> None:
        if part.size < wanted.bytes:
            raise _Cut(f"{part.size} of {wanted.bytes} bytes came")
        found = sha256_of(part.path)
        if found != wanted.sha256:
            part.forget()
            raise ModelError(
                f"{wanted.name} from {_place(wanted.url)} is not the file of the catalogue: its SHA-256 is "
                f"{found}, expected is {wanted.sha256}. It was deleted; if a second try brings the same, the "
                "vendor has replaced it"
            )


class _Cut(Exception):
    """An attempt that ended early and may be repeated."""


class _Part:
    """A file that is not complete yet, and the server's mark of its version (ETag) beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._about = path.with_name(path.name + ".json")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def headers(self) -> dict[str, str]:
        """The request headers that ask for the rest, if its version is still the same."""
        if not self.size:
            return {}
        asked = {"Range": f"bytes={self.size}-"}
        try:
            about: object = json.loads(self._about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return asked
        version = about.get("etag") if isinstance(about, dict) else None
        return {**asked, "If-Range": version} if isinstance(version, str) and _is_etag(version) else asked

    def remember(self, headers: Mapping[str, str]) -> None:
        """Keeps the version, if the server tells a strong one."""
        etag = headers.get("ETag", "")
        self._about.write_text(json.dumps({"etag": etag if _is_etag(etag) else ""}), encoding="utf-8")

    def forget(self) -> None:
        """Deletes what came."""
        self.path.unlink(missing_ok=True)

    def becomes(self, path: Path) -> None:
        """Gives the complete file its name."""
        self.path.replace(path)
        self._about.unlink(missing_ok=True)


def _is_etag(text: str) -> bool:
    """True for a strong mark of a version that can be sent back (RFC 9110, section 8.8.3)."""
    return text.startswith('"') and text.isascii() and text.isprintable()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(url: str) -> str:
    """The host of an address; the rest may hold a key."""
    return urlsplit(url).hostname or "an address without a host"
