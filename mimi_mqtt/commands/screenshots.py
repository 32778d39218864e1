"""Screenshots on request: the device is asked by its user-only tool, and posts the picture at a one-time
link (device contract, section 6)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.commands.model import CallTool, CommandResult, Principal, Refusal
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.errors import Conflict, LimitReached, NotFound, ToolError
from mimi_mqtt.files.upload_links import LINK_S, UploadLink, UploadLinks
from mimi_mqtt.files.uploads import SCREENSHOT
from mimi_mqtt.store.audit import Author

TOOL: Final = "self.screen.snapshot"
TIMEOUT_S: Final = 45.0
"""Longest wait for a screenshot, in seconds: the device may take 30 for the upload."""
DEFAULT_QUALITY: Final = 80


@dataclass(frozen=True, slots=True)
class Belonging:
    """The owner of a device, and the group that it is shared with; "" for none."""

    owner_id: str = ""
    group_id: str = ""


class Screenshots:
    """Takes screenshots. `belonging` tells whose a device is, `address` the start of the HTTP address by
    which a device reaches this server, `path` that of the links."""

    def __init__(
        self,
        commands: Commands,
        links: UploadLinks,
        belonging: Callable[[str], Belonging],
        *,
        address: Callable[[str], str | None],
        path: str,
    ) -> None:
        self._commands = commands
        self._links = links
        self._belonging = belonging
        self._address = address
        self._path = path

    async def take(
        self, device_id: str, *, by: Principal, author: Author, quality: int = DEFAULT_QUALITY
    ) -> str:
        """Has the device send a screenshot, a JPEG of `quality` 1 to 100, for `author`; the id of the
        upload.

        Raises NotFound (no such device), Conflict (it is away, or has no screen), LimitReached, ToolError
        (it did not send one).
        """
        origin = self._address(device_id)
        if origin is None:
            raise NotFound(f"there is no device {device_id} whose way to this server is known")
        now, of = asyncio.get_running_loop().time(), self._belonging(device_id)
        link = UploadLink(device_id, of.owner_id, of.group_id, SCREENSHOT, now + LINK_S, author)
        secret = self._links.open(link, now)
        if secret is None:
            raise LimitReached("other screenshots are being taken: try again in a moment", 5)
        command = CallTool(
            device_id=device_id,
            timeout_s=TIMEOUT_S,
            tool=TOOL,
            arguments={"url": f"{origin}{self._path}{secret}", "quality": quality},
        )
        try:
            result = await self._commands.run(command, by=by)
        finally:
            self._links.close(link)
        if result.status != "done":
            raise _failure(device_id, result)
        if not link.upload_id:
            raise ToolError(f"{device_id} says that it sent a screenshot, but none arrived: see the log")
        return link.upload_id


def _failure(device_id: str, result: CommandResult) -> Exception:
    match result.refusal:
        case Refusal.UNKNOWN_DEVICE:
            return NotFound(result.message)
        case Refusal.BUSY:
            return LimitReached(result.message, 5)
        case None:
            return ToolError(f"{device_id} sent no screenshot: {result.message}")
        case _:
            return Conflict(result.message)
