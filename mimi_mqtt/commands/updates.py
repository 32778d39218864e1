"""Updates on request: a connected device is told to fetch an image at once, or assets at its next start.

Both are tools that devices keep for people (device contract, section 6).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.commands.model import CallTool, CommandResult, Principal, Refusal, refused
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.errors import RequestError
from mimi_mqtt.fleet.firmware.assets import Assets
from mimi_mqtt.fleet.firmware.links import DownloadLinks
from mimi_mqtt.fleet.firmware.rollouts import RollOuts
from mimi_mqtt.store.audit import Author

UPGRADE_TOOL: Final = "self.upgrade_firmware"
ASSETS_TOOL: Final = "self.assets.set_download_url"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A device was asked to update itself: the roll-out that follows it, and what the device answered."""

    rollout_id: int
    result: CommandResult


class Updates:
    """Tells devices to fetch something. `origin` is the start of the HTTP address by which a device reaches
    this server."""

    def __init__(
        self,
        commands: Commands,
        rollouts: RollOuts,
        assets: Assets,
        links: DownloadLinks,
        origin: Callable[[str], str | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._commands = commands
        self._rollouts = rollouts
        self._assets = assets
        self._links = links
        self._origin = origin
        self._clock = clock

    async def upgrade(self, device_id: str, image_id: int, by: Author) -> Upgrade:
        """Has a connected device update itself to an image, whatever its version is.

        A device that refuses is not offered the image later. Raises NotFound, Conflict (the image is none for
        this device), LimitReached, StoreError.
        """
        rollout = await self._rollouts.upgrade(device_id, image_id, by)
        origin = self._origin(device_id)
        if origin is None:
            result = _unreachable(device_id)
        else:
            url = self._links.firmware(origin, rollout.id, device_id, self._clock())
            result = await self._call(device_id, UPGRADE_TOOL, url, by)
        if result.status in ("refused", "failed"):
            await self._rollouts.end(rollout.id, by)
        return Upgrade(rollout.id, result)

    async def hand_over(self, assets_id: int, device_id: str, by: Author) -> CommandResult:
        """Tells a connected device to fetch assets at its next start. One that refuses gets nothing. Raises
        StoreError."""
        try:
            await self._assets.hand_over(assets_id, device_id, by)
        except RequestError as error:
            return refused(Refusal.BAD_ARGUMENTS, str(error))
        origin = self._origin(device_id)
        if origin is None:
            await self._assets.withdraw(assets_id, device_id, by)
            return _unreachable(device_id)
        url = self._links.assets(origin, assets_id, device_id, self._clock())
        result = await self._call(device_id, ASSETS_TOOL, url, by)
        if result.status in ("refused", "failed"):
            await self._assets.withdraw(assets_id, device_id, by)
        return result

    async def _call(self, device_id: str, tool: str, url: str, by: Author) -> CommandResult:
        command = CallTool(device_id=device_id, tool=tool, arguments={"url": url})
        return await self._commands.run(command, by=Principal(by.name, user_tools=True))


def _unreachable(device_id: str) -> CommandResult:
    message = f"it is not known how {device_id} reaches this server: it has not asked OTA yet"
    return refused(Refusal.NOT_CONNECTED, message)
