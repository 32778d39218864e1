import pytest

from mimi_mqtt.errors import FleetError
from mimi_mqtt.fleet import administration, device_settings
from mimi_mqtt.fleet.administration import (
    NeverAsked,
    NotADevice,
    SeveralAskers,
    UnknownCode,
    UnknownDevice,
)
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.store import activations
from tests.unit.fleet.conftest import DEVICE, Fleet, asking, code_for


async def test_allowing_by_id_needs_to_be_unambiguous(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking("uuid-1"), "10.0.0.1")
    first = await code_for(provisioner, "uuid-2", address="10.0.1.1")
    second = await code_for(provisioner, "uuid-3", address="10.0.1.2")
    with pytest.raises(SeveralAskers) as caught:
        await administration.allow(fleet.store, DEVICE, fleet.clock())
    assert set(caught.value.codes) == {first.code, second.code}
    assert first.code in str(caught.value)
    assert second.code in str(caught.value)
    allowed = await administration.allow(fleet.store, second.code, fleet.clock())
    assert allowed.client_id == "uuid-3"


@pytest.mark.parametrize("spelling", [DEVICE, "AA:BB:CC:00:11:22", " aabbcc001122 "])
async def test_the_only_asker_is_allowed_by_the_devices_address(fleet: Fleet, spelling: str) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    await code_for(provisioner, "uuid-1")
    allowed = await administration.allow(fleet.store, spelling, fleet.clock())
    assert (allowed.id, allowed.allowed, allowed.board) == (DEVICE, True, "bread-compact-wifi")


async def test_allowing_twice_does_not_end_the_credentials_just_given(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    first = await administration.allow(fleet.store, shown.code, fleet.clock())
    again = await administration.allow(fleet.store, DEVICE, fleet.clock())
    assert first.epoch == again.epoch


async def test_a_code_is_good_once(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await administration.allow(fleet.store, shown.code, fleet.clock())
    with pytest.raises(UnknownCode):
        await administration.allow(fleet.store, shown.code, fleet.clock())


@pytest.mark.parametrize("nonsense", ["", "12345", "1234567", "device", "aa-bb-cc", "١٢٣٤٥٦x"])
async def test_what_is_neither_device_nor_code_is_explained(fleet: Fleet, nonsense: str) -> None:
    with pytest.raises(NotADevice, match="nor a code of six digits"):
        await administration.allow(fleet.store, nonsense, fleet.clock())


async def test_unknown_devices_are_explained(fleet: Fleet) -> None:
    with pytest.raises(NeverAsked):
        await administration.allow(fleet.store, DEVICE, fleet.clock())
    with pytest.raises(UnknownDevice):
        await administration.revoke(fleet.store, DEVICE, fleet.clock())
    with pytest.raises(UnknownDevice):
        await device_settings.change(fleet.store, DEVICE, DeviceChange(name="x"), fleet.clock())
    with pytest.raises(UnknownDevice):
        await administration.forget(fleet.store, DEVICE, fleet.clock())


async def test_forgetting_clears_those_who_wait_under_a_devices_name(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    for number in range(9):
        await code_for(provisioner, f"uuid-{number}", address=f"10.0.1.{number}")
    with pytest.raises(SeveralAskers, match=r"^9 different devices .* and others\)$"):
        await administration.allow(fleet.store, DEVICE, fleet.clock())
    await administration.forget(fleet.store, "AA:BB:CC:00:11:22", fleet.clock())
    await code_for(provisioner, "genuine")
    async with fleet.store.read() as session:
        waiting = await activations.of_device(session, DEVICE)
    assert [asker.client_id for asker in waiting] == ["genuine"]


@pytest.mark.parametrize(
    "error",
    [
        NeverAsked(DEVICE),
        SeveralAskers(DEVICE, ("123456", "234567")),
        UnknownCode("123456"),
        UnknownDevice(DEVICE),
    ],
)
def test_errors_are_of_use_wherever_a_person_decides(error: FleetError) -> None:
    assert "mimi-mqtt" not in str(error)
    assert "`" not in str(error)
