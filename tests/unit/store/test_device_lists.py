"""Lists of devices: what is counted for whom."""

from pathlib import Path

from mimi_mqtt.store import device_lists, devices
from mimi_mqtt.store.device_lists import DeviceQuery
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from tests.unit.http.api.isolation.house import BOBS, NOW, opened


async def test_devices_are_counted_by_agent_for_who_may_see_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        async with store.write() as session:
            bobs = await devices.get(session, BOBS)
            assert bobs is not None
            bobs.agent = "teacher"
            await devices.save_changed(session, bobs, NOW)
        async with store.read() as session:
            every = await device_lists.agent_counts(session, DeviceQuery())
            own = await device_lists.agent_counts(session, DeviceQuery(person="u-bob"))
            nobodys = await device_lists.agent_counts(session, DeviceQuery(person="u-none"))
    assert (every, own, nobodys) == ({"teacher": 1, "": 1}, {"teacher": 1}, {})


async def test_a_tag_is_filtered_by_as_it_is_written(store: Store) -> None:
    tags = {"kitchen": 1, "Kitchen": 2, 'my "kitchen"': 3, "kitchen_": 4, "Küche": 5}
    ids = {tag: f"aa-bb-cc-00-00-0{number}" for tag, number in tags.items()}
    async with store.write() as session:
        for tag, device_id in ids.items():
            device = Device(
                id=device_id, client_id="one", tags=["other", tag], revision=0,
                created_at=NOW, updated_at=NOW, last_seen_at=NOW,
            )  # fmt: skip
            await devices.save_changed(session, device, NOW)
    async with store.read() as session:
        for tag, device_id in ids.items():
            found = await device_lists.page(session, DeviceQuery(tag=tag), None, 10)
            assert [device.id for device in found] == [device_id]
        assert not await device_lists.page(session, DeviceQuery(tag="küche"), None, 10)
