"""Firmware in a test: the parts on a database and a folder of their own, devices that ask and download, and a
clock that the test moves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mimi_mqtt.events import Event, EventBus
from mimi_mqtt.files.blobs import BlobStore
from mimi_mqtt.files.links import SignedLinks
from mimi_mqtt.fleet.boards import BoardWatch
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.fleet.firmware.assets import Assets
from mimi_mqtt.fleet.firmware.downloads import Downloads, Key
from mimi_mqtt.fleet.firmware.images import FirmwareImages, NewImage
from mimi_mqtt.fleet.firmware.links import DownloadLinks
from mimi_mqtt.fleet.firmware.offers import Offers
from mimi_mqtt.fleet.firmware.rollouts import RollOuts
from mimi_mqtt.fleet.firmware.watching import RollOutWatch
from mimi_mqtt.fleet.firmware_offers import FirmwareOffer, NoFirmware
from mimi_mqtt.store import boards, devices, firmware
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.devices import Boot
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device, FirmwareImage, RollOutDevice
from mimi_mqtt.wire.ota import OtaRequest
from tests.databases import sqlite_store
from tests.fakes.blobs import blobs_in, parts
from tests.firmware import images

BOARD = "bread-compact-wifi"
ADA = Author("ada", "u-ada", "192.0.2.1")
ORIGIN = "http://192.0.2.7:8003"
SLOT_BYTES = 3_932_160


def device_id(number: int) -> str:
    return f"aa-bb-cc-00-11-{number:02x}"


def report(chip: str = "esp32s3", slot_bytes: int = SLOT_BYTES) -> dict[str, object]:
    """The part of an OTA report that firmware depends on."""
    table = [
        {"label": label, "type": kind, "subtype": subtype, "address": 0, "size": size}
        for label, kind, subtype, size in (
            ("ota_0", 0, 16, slot_bytes), ("ota_1", 0, 17, slot_bytes), ("assets", 1, 130, 8_000_000),
        )
    ]  # fmt: skip
    return {"chip_model_name": chip, "partition_table": table, "ota": {"label": "ota_0"}}


@dataclass
class Moment:
    """Wall clock and monotonic clock. `forward` moves both, `set` the wall clock alone."""

    now: datetime = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
    passed_s: float = 1_000.0

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)
        self.passed_s += timedelta(**delta).total_seconds()

    def set(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@dataclass
class Workshop:
    """All parts of firmware, without the network."""

    store: Store
    blobs: BlobStore
    moment: Moment
    images: FirmwareImages
    rollouts: RollOuts
    assets: Assets
    links: DownloadLinks
    downloads: Downloads
    offers: Offers
    watch: RollOutWatch
    events: list[Event] = field(default_factory=list)
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)

    async def image(self, version: str = "2.3.1", **told: str) -> FirmwareImage:
        """A registered image."""
        new = NewImage(**({"board": BOARD} | told))
        return await self.images.add(parts(images.image(version=version)), new, ADA, self.moment.now)

    async def device(self, number: int, version: str = "2.2.1", **fields: object) -> str:
        """A registered device, which has not asked OTA."""
        now, found = self.moment.now, device_id(number)
        async with self.store.write() as session:
            row = {"board": BOARD, "firmware_version": version, "client_id": "c"} | fields
            device = Device(
                id=found,
                revision=0,
                created_at=now,
                updated_at=now,
                last_seen_at=now,
                **row,  # type: ignore[arg-type]
            )
            await devices.save_changed(session, device, now)
        self.owners[found] = (device.owner_id, device.group_id)
        return found

    async def boot(
        self,
        number: int,
        version: str = "2.2.1",
        *,
        connect: bool = True,
        board: str = BOARD,
        told: dict[str, object] | None = None,
    ) -> FirmwareOffer | NoFirmware:
        """A device asks OTA, which keeps its report, and connects. The clock goes on by a second before."""
        self.moment.forward(seconds=1)
        found, now = device_id(number), self.moment.now
        request = OtaRequest(
            device_id=found, client_id="c", board=board, firmware_version=version,
            report=report() if told is None else told,
        )  # fmt: skip
        await self.offers.refresh()
        answer = await self.offers.offer(request, ORIGIN)
        async with self.store.write() as session:
            boot = Boot(found, "c", now, board=board, firmware_version=version, report=request.report)
            await devices.save_boots(session, [boot])
            await boards.see(session, BoardWatch().due([boot]), now)
            if connect:
                await devices.touch(session, {found: now})
        return answer

    async def download(self, rollout_id: int, number: int, size: int | None = None) -> bytes:
        """A device fetches the image, or the first `size` bytes of it before it is cut off."""
        self.moment.forward(seconds=1)
        download = await self.downloads.open(Key("firmware", rollout_id, device_id(number)))
        content = await download.content(0, download.size)
        fetched = b""
        async for part in content.parts:
            part = part if size is None else part[: size - len(fetched)]
            fetched += part
            download.sent(len(part))
        download.close(complete=size is None)
        await self.written()
        return fetched

    async def written(self) -> None:
        """All progress is in the database."""
        await self.downloads.aclose()
        await self.downloads.start()

    async def states(self, rollout_id: int) -> dict[str, str]:
        """The state of each device in a roll-out, by the last two digits of its id."""
        return {row.device_id[-2:]: row.progress for row in await self.takers(rollout_id)}

    async def takers(self, rollout_id: int) -> Sequence[RollOutDevice]:
        async with self.store.read() as session:
            return await firmware.devices_in(session, rollout_id)

    async def state(self, rollout_id: int) -> str:
        return (await self.rollouts.get(rollout_id)).row.state


@asynccontextmanager
async def workshop_in(folder: Path, url: str | None = None) -> AsyncIterator[Workshop]:
    """The parts, on SQLite unless another database is given."""
    store = sqlite_store(folder) if url is None else Store(url)
    await store.open()
    moment, events = Moment(), EventBus()
    blobs = await blobs_in(store, folder / "files")
    links = DownloadLinks(SignedLinks(lambda: (b"k" * 32,)))
    downloads = Downloads(
        store, blobs, clock=lambda: moment.now, monotonic=lambda: moment.passed_s, publish=events.publish
    )
    owners: dict[str, tuple[str, str]] = {}

    def info(found: str) -> DeviceInfo | None:
        owner, group = owners.get(found, ("", ""))
        return DeviceInfo(found, owner_id=owner, group_id=group)

    offers = Offers(store, links, info, downloads, clock=lambda: moment.now, publish=events.publish)
    watch = RollOutWatch(
        store, offers, events, lambda device: device.transport != "websocket",
        clock=lambda: moment.now, monotonic=lambda: moment.passed_s,
    )  # fmt: skip
    made = Workshop(
        store, blobs, moment, FirmwareImages(store, blobs), RollOuts(store, publish=events.publish),
        Assets(store, blobs, events.publish), links,
        downloads,
        offers, watch, owners=owners,
    )  # fmt: skip
    events.subscribe(made.events.append, name="test")
    await downloads.start()
    try:
        yield made
    finally:
        await downloads.aclose()
        await store.aclose()
