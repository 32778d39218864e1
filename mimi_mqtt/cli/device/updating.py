"""Updates of the simulated device's firmware: offered by OTA or ordered by a tool, downloaded and verified as
firmware does (device contract, section 1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from mimi_mqtt.errors import Invalid
from mimi_mqtt.fleet.firmware.image import ImageParser
from mimi_mqtt.fleet.firmware.versions import is_newer
from mimi_mqtt.wire import strict_json

TIMEOUT_S: Final = 30.0
"""Longest wait for the next bytes of a download, in seconds."""


@dataclass(frozen=True, slots=True)
class FirmwareSeen:
    """The `firmware` section of OTA's answer, where it offers something."""

    version: str
    url: str
    force: bool


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """One update that was tried; `error` is empty when the device took it. `size` in bytes, as far as they
    came."""

    version: str
    size: int
    error: str = ""

    def to_json(self) -> dict[str, object]:
        """Its part of the last line that `--json` prints."""
        fields: dict[str, object] = {"version": self.version, "bytes": self.size}
        return fields | ({"error": self.error} if self.error else {})


class Lost(Exception):
    """The device took an update and does not come back, as it was told to."""


def read_firmware(body: bytes) -> FirmwareSeen | None:
    """The firmware that OTA's answer offers; None for none."""
    try:
        answer = strict_json.loads(body)
    except ValueError:
        return None
    section = answer.get("firmware") if isinstance(answer, Mapping) else None
    if not isinstance(section, Mapping):
        return None
    version, url = section.get("version"), section.get("url")
    if not isinstance(version, str) or not isinstance(url, str) or not url:
        return None
    return FirmwareSeen(version, url, section.get("force") == 1)


class Updates:
    """Takes updates, each version once. `lost`: the device does not come back from the first one."""

    def __init__(self, *, lost: bool = False) -> None:
        self._lost = lost
        self.reports: list[UpdateReport] = []

    async def take(self, http: httpx.AsyncClient, seen: FirmwareSeen, running: str) -> str | None:
        """Downloads what is offered to a device that runs a version, if it is newer or forced. Returns the
        version that the device starts with; None: it stays as it is. Raises Lost."""
        tried = any(report.version == seen.version for report in self.reports)
        if tried or not (seen.force or is_newer(seen.version, running)):
            return None
        return await self.fetch(http, seen.url, seen.version)

    async def fetch(self, http: httpx.AsyncClient, url: str, version: str = "") -> str | None:
        """Downloads and verifies an image, which has to be of `version` unless that is "". Returns its
        version; None when it was refused, which `reports` tells. Raises Lost."""
        parser, size = ImageParser(), 0
        try:
            async with http.stream("GET", url, timeout=TIMEOUT_S) as answer:
                length = answer.headers.get("content-length", "")
                if answer.status_code != httpx.codes.OK:
                    raise Invalid(f"the download was answered {answer.status_code}, not 200")
                if not length.isdecimal() or int(length) == 0:
                    raise Invalid("the download has no Content-Length")
                async for part in answer.aiter_raw():
                    size += len(part)
                    parser.feed(part)
            image = parser.finish()
            if version and image.version != version:
                raise Invalid(f"the image is {image.version}, but {version} was announced")
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            self.reports.append(UpdateReport(version, size, f"the download failed: {type(failure).__name__}"))
            return None
        except Invalid as refused:
            self.reports.append(UpdateReport(version, size, str(refused)))
            return None
        self.reports.append(UpdateReport(image.version, size))
        if self._lost:
            raise Lost
        return image.version
