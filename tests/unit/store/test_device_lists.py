"""Lists of devices: what is counted for whom."""

from pathlib import Path

from mimi_mqtt.store import device_lists, devices
from mimi_mqtt.store.device_lists import DeviceQuery
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
