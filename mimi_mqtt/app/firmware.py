"""Firmware and assets of devices, as one part of the server."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.commands.updates import Updates
from mimi_mqtt.config import Settings
from mimi_mqtt.events import utc_now
from mimi_mqtt.files.blobs import BlobStore
from mimi_mqtt.files.links import SignedLinks
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.firmware.assets import Assets
from mimi_mqtt.fleet.firmware.downloads import Downloads
from mimi_mqtt.fleet.firmware.images import FirmwareImages
from mimi_mqtt.fleet.firmware.links import DownloadLinks
from mimi_mqtt.fleet.firmware.offers import Offers
from mimi_mqtt.fleet.firmware.rollout import MAX_ATTEMPTS
from mimi_mqtt.fleet.firmware.rollouts import RollOuts
from mimi_mqtt.fleet.firmware.watching import RollOutWatch
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.problems import Problem, Severity
from mimi_mqtt.store import firmware
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device

_LINKS = "links of firmware"
STUCK_AFTER: Final = timedelta(minutes=30)
"""Time from which on a download that is not done counts as stuck."""
MAX_STUCK_TOLD: Final = 20
"""Devices that don't get on which are told one by one; of more, their roll-outs are told."""


class Firmware:
    """Images, assets, roll-outs, offers and downloads of a server."""

    def __init__(
        self, settings: Settings, foundation: Foundation, blobs: BlobStore, directory: DeviceDirectory
    ) -> None:
        store, credentials, events = foundation.store, foundation.credentials, foundation.events

        def keys() -> tuple[bytes, ...]:
            old = credentials.old_key(_LINKS)
            return (credentials.key(_LINKS),) if old is None else (credentials.key(_LINKS), old)

        def connects(device: Device) -> bool:
            # Over a WebSocket, stock firmware connects for a conversation alone (device contract, section 5).
            return (device.transport or settings.ota.transport) == "mqtt" and not device.espressif

        self._store = store
        self.links = DownloadLinks(SignedLinks(keys))
        self.assets = Assets(store, blobs, events.publish)
        self.downloads = Downloads(store, blobs, publish=events.publish)
        self.offers = Offers(store, self.links, directory.get, self.downloads, publish=events.publish)
        self.watch = RollOutWatch(store, self.offers, events, connects)
        self.images = FirmwareImages(store, blobs, self.offers.refresh)
        self.rollouts = RollOuts(store, self.offers.refresh, events.publish)

    async def start(self, stack: AsyncExitStack) -> None:
        """Starts the watch over roll-outs and the writer of progress, which `stack` ends. Raises
        StoreError."""
        stack.push_async_callback(self.aclose)
        await self.downloads.start()
        await self.watch.start()

    async def aclose(self) -> None:
        """Ends both; safe to call twice."""
        await self.watch.aclose()
        await self.downloads.aclose()

    def updates(self, commands: Commands, origin: Callable[[str], str | None]) -> Updates:
        """Updates on request; `origin` begins the addresses by which a device reaches this server."""
        return Updates(commands, self.rollouts, self.assets, self.links, origin)

    def health(self) -> PartHealth:
        """The health of roll-outs: if they are watched and progress is recorded, and how many run."""
        told = f"{self.offers.open} roll-outs open, {self.downloads.running} downloads"
        if self.watch.halted:
            told += f"; halted: {', '.join(str(each) for each in sorted(self.watch.halted)[:8])}"
        return PartHealth(self.watch.healthy and self.downloads.healthy, told)

    async def problems(self) -> Iterable[Problem]:
        """Roll-outs that halted by themselves. A check of `app.diagnosis`."""
        return [
            Problem(
                id=f"rollout:{rollout_id}", severity=Severity.ERROR, kind="rollout_halted",
                values={"rollout": rollout_id, "reason": reason},
                cause=f"roll-out {rollout_id} of firmware halted: {reason}",
                cure=f"look at its devices (`mimi-mqtt firmware show {rollout_id}`); then take it back with "
                f"`mimi-mqtt firmware roll-back {rollout_id}`, or let it go on with resume",
            )
            for rollout_id, reason in self.watch.halted.items()
        ]  # fmt: skip

    async def stuck(self) -> Iterable[Problem]:
        """Devices in running roll-outs that do not get on. A check of `app.diagnosis`."""
        return await stuck_devices(self._store)


async def stuck_devices(store: Store) -> Iterable[Problem]:
    """Devices that did not come back with their new firmware, do not take it, or do not end its download."""
    async with store.read() as session:
        found = await firmware.stuck_devices(
            session, began_before=utc_now() - STUCK_AFTER, attempts=MAX_ATTEMPTS, limit=1_000
        )
    if len(found) > MAX_STUCK_TOLD:
        numbers = Counter(rollout.id for rollout, _ in found)
        return [
            Problem(
                id=f"firmware.stuck:{rollout_id}", severity=Severity.WARNING, kind="rollout_stuck",
                values={"rollout": rollout_id, "count": number},
                cause=f"{number} devices of roll-out {rollout_id} do not get on with their new firmware",
                cure=f"look at them (`mimi-mqtt firmware show {rollout_id}`), or take it back with "
                f"`mimi-mqtt firmware roll-back {rollout_id}`",
            )
            for rollout_id, number in numbers.items()
        ]  # fmt: skip
    return [
        Problem(
            id=f"firmware.stuck:{rollout.id}:{device.device_id}", severity=Severity.WARNING,
            kind="firmware_stuck", device_id=device.device_id,
            values={"rollout": rollout.id, "progress": device.progress, "attempts": device.attempts},
            cause=f"the device does not get on with the firmware of roll-out {rollout.id}: {told}",
            cure="look whether it has power and network, and restart it; it may need to be flashed by cable",
        )
        for rollout, device in found
        for told in [_STUCK.get(device.progress, device.progress)]
    ]  # fmt: skip


_STUCK: Final = {
    "gone": "it did not come back after the download",
    "failed": "it came back with its old version again and again",
    "downloading": "its download does not end",
}
