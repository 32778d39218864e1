"""Devices on a WebSocket because of their UDP: who is, since when, and whom it did not help."""

from datetime import UTC, datetime, timedelta

from mimi_mqtt.fleet.device_settings import DeviceChange, change
from mimi_mqtt.fleet.fallback import Fallback, fall_back, fallbacks
from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device, OtaReport
from tests.unit.fleet.conftest import Fleet

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KNOWN = "aa-bb-cc-00-11-22"


async def registered(store: Store, transport: str | None = None) -> None:
    async with store.write() as session:
        device = Device(
            id=KNOWN, client_id="one", transport=transport, revision=0, created_at=NOW, updated_at=NOW,
            last_seen_at=NOW,
        )  # fmt: skip
        await devices.save_changed(session, device, NOW)
        session.add(OtaReport(device_id=KNOWN, received_at=NOW, report={}))


async def booted(store: Store, at: datetime) -> None:
    async with store.write() as session:
        report = await session.get(OtaReport, KNOWN)
        assert report is not None
        report.received_at = at


async def connected(store: Store, at: datetime) -> None:
    async with store.write() as session:
        await devices.touch(session, {KNOWN: at})


async def test_a_device_is_on_fallback_since_it_was_given_the_websocket(fleet: Fleet) -> None:
    store = fleet.store
    await registered(store)
    assert await fallbacks(store) == []
    device = await fall_back(store, KNOWN, NOW + HOUR)
    assert device is not None
    assert device.transport == "websocket"
    await connected(store, NOW + 2 * HOUR)  # over MQTT, as it has not booted yet
    assert await fallbacks(store) == [Fallback(KNOWN, NOW + HOUR, None)]


async def test_one_that_never_connects_after_its_boot_is_told(fleet: Fleet) -> None:
    store = fleet.store
    await registered(store)
    await fall_back(store, KNOWN, NOW + HOUR)
    await connected(store, NOW + 2 * HOUR)
    await booted(store, NOW + 3 * HOUR)
    assert await fallbacks(store) == [Fallback(KNOWN, NOW + HOUR, NOW + 3 * HOUR)]
    await connected(store, NOW + 4 * HOUR)
    assert await fallbacks(store) == [Fallback(KNOWN, NOW + HOUR, None)]


async def test_what_a_person_sets_is_no_fallback(fleet: Fleet) -> None:
    store = fleet.store
    await registered(store, "websocket")
    assert await fall_back(store, KNOWN, NOW) is None
    assert await fallbacks(store) == []


async def test_an_operator_ends_it(fleet: Fleet) -> None:
    store = fleet.store
    await registered(store)
    await fall_back(store, KNOWN, NOW)
    await change(store, KNOWN, DeviceChange(name="kitchen"), NOW)
    assert len(await fallbacks(store)) == 1
    for transport in ("", "mqtt", "websocket"):
        await change(store, KNOWN, DeviceChange(transport=transport), NOW)
        assert await fallbacks(store) == []


async def test_an_unknown_device_has_none(fleet: Fleet) -> None:
    store = fleet.store
    assert await fall_back(store, KNOWN, NOW) is None
