import pytest

from mimi_mqtt.errors import FleetError, OtaError
from mimi_mqtt.fleet import activation
from mimi_mqtt.fleet.activation import ActivationState, Asker, TooManyAskers
from mimi_mqtt.fleet.provisioning import Provisioner
from mimi_mqtt.store import activations
from mimi_mqtt.wire.ota import ActivationRequest, ActivationSection
from tests.unit.fleet.conftest import DEVICE, Fleet, asking, password_of

POLL = ActivationRequest()


async def code_for(provisioner: Provisioner, client_id: str) -> ActivationSection:
    response = await provisioner.provision(asking(client_id), "10.0.0.1")
    assert response.mqtt is None
    assert response.activation is not None
    return response.activation


def proof(challenge: str) -> ActivationRequest:
    return ActivationRequest(version=2, serial_number="1", challenge=challenge, hmac=bytes(32))


async def test_a_first_use_waits_for_a_person_when_so_configured(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    assert len(shown.code) == 6
    assert shown.code.isdecimal()
    assert shown.code in shown.message
    assert shown.challenge
    assert await provisioner.activate(Asker(DEVICE, "uuid-1"), POLL) is ActivationState.WAITING
    await activation.allow(fleet.store, shown.code, fleet.clock())
    assert await provisioner.activate(Asker(DEVICE, "uuid-1"), POLL) is ActivationState.DONE
    password = password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))
    assert fleet.directory.authenticate(DEVICE, DEVICE, password) is not None


async def test_allowing_another_client_id_puts_the_old_holder_out(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    old = password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))
    shown = await code_for(provisioner, "uuid-2")
    await activation.allow(fleet.store, shown.code, fleet.clock())
    await fleet.directory.refresh()
    assert fleet.revoked == [DEVICE]
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is None
    new = password_of(await provisioner.provision(asking("uuid-2"), "10.0.0.1"))
    assert fleet.directory.authenticate(DEVICE, DEVICE, new) is not None
    await code_for(provisioner, "uuid-1")


async def test_a_device_that_keeps_asking_keeps_its_code(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    for _ in range(5):
        fleet.clock.advance(minutes=20)
        assert await code_for(provisioner, "uuid-1") == shown


async def test_a_code_nobody_shows_any_more_is_worthless(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    fleet.clock.advance(minutes=31)
    assert await provisioner.activate(Asker(DEVICE, "uuid-1"), POLL) is ActivationState.REFUSED
    with pytest.raises(FleetError, match="no device shows the code"):
        await activation.allow(fleet.store, shown.code, fleet.clock())


async def test_polling_under_another_name_tells_nothing(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await activation.allow(fleet.store, shown.code, fleet.clock())
    for client_id in ("uuid-2", ""):
        assert await provisioner.activate(Asker(DEVICE, client_id), POLL) is ActivationState.REFUSED
    other = Asker("aa-bb-cc-00-11-33", "uuid-1")
    assert await provisioner.activate(other, POLL) is ActivationState.REFUSED


async def test_version_two_must_bring_its_own_challenge(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    asker = Asker(DEVICE, "uuid-1")
    assert shown.challenge is not None
    assert await provisioner.activate(asker, proof(shown.challenge)) is ActivationState.WAITING
    assert await provisioner.activate(asker, proof("somebody else's")) is ActivationState.REFUSED
    await activation.allow(fleet.store, shown.code, fleet.clock())
    assert await provisioner.activate(asker, proof("somebody else's")) is ActivationState.REFUSED
    assert await provisioner.activate(asker, proof(shown.challenge)) is ActivationState.DONE


async def test_allowing_by_id_needs_to_be_unambiguous(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking("uuid-1"), "10.0.0.1")
    first, second = await code_for(provisioner, "uuid-2"), await code_for(provisioner, "uuid-3")
    with pytest.raises(FleetError, match="whose code you see") as caught:
        await activation.allow(fleet.store, DEVICE, fleet.clock())
    assert first.code in str(caught.value)
    assert second.code in str(caught.value)
    allowed = await activation.allow(fleet.store, second.code, fleet.clock())
    assert allowed.client_id == "uuid-3"


@pytest.mark.parametrize("spelling", [DEVICE, "AA:BB:CC:00:11:22", " aabbcc001122 "])
async def test_the_only_asker_is_allowed_by_the_devices_address(fleet: Fleet, spelling: str) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    await code_for(provisioner, "uuid-1")
    allowed = await activation.allow(fleet.store, spelling, fleet.clock())
    assert (allowed.id, allowed.allowed, allowed.board) == (DEVICE, True, "bread-compact-wifi")


async def test_allowing_twice_does_not_end_the_credentials_just_given(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    first = await activation.allow(fleet.store, shown.code, fleet.clock())
    again = await activation.allow(fleet.store, shown.code, fleet.clock())
    assert first.epoch == again.epoch


async def test_a_revoked_device_shows_a_code_until_it_is_allowed(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    old = password_of(await provisioner.provision(asking(), "10.0.0.1"))
    await activation.revoke(fleet.store, "AA:BB:CC:00:11:22", fleet.clock())
    await fleet.directory.refresh()
    shown = await code_for(provisioner, "uuid-1")
    assert await provisioner.activate(Asker(DEVICE, "uuid-1"), POLL) is ActivationState.WAITING
    await activation.allow(fleet.store, shown.code, fleet.clock())
    new = password_of(await provisioner.provision(asking(), "10.0.0.1"))
    assert new != old
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is None


@pytest.mark.parametrize("nonsense", ["", "12345", "1234567", "device", "aa-bb-cc", "١٢٣٤٥٦x"])
async def test_what_is_neither_device_nor_code_is_explained(fleet: Fleet, nonsense: str) -> None:
    with pytest.raises(FleetError, match="nor a code of six digits"):
        await activation.allow(fleet.store, nonsense, fleet.clock())


async def test_unknown_devices_are_explained(fleet: Fleet) -> None:
    with pytest.raises(FleetError, match="never asked"):
        await activation.allow(fleet.store, DEVICE, fleet.clock())
    with pytest.raises(FleetError, match="there is no device"):
        await activation.revoke(fleet.store, DEVICE, fleet.clock())
    with pytest.raises(FleetError, match="there is no device"):
        await activation.change(fleet.store, DEVICE, activation.DeviceChange(name="x"), fleet.clock())
    with pytest.raises(FleetError, match="there is no device"):
        await activation.forget(fleet.store, DEVICE, fleet.clock())


async def test_a_flood_of_askers_does_not_put_out_who_waits_for_a_device(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    genuine = await code_for(provisioner, "genuine")
    for number in range(1, activation.MAX_WAITING_FOR_ONE_DEVICE):
        fleet.clock.advance(seconds=1)
        await code_for(provisioner, f"uuid-{number}")
    for number in range(20):
        with pytest.raises(TooManyAskers, match="mimi-mqtt devices forget"):
            await provisioner.provision(asking(f"late-{number}"), "10.0.0.1")
    assert await code_for(provisioner, "genuine") == genuine
    fleet.clock.advance(minutes=29)
    assert await code_for(provisioner, "genuine") == genuine
    fleet.clock.advance(minutes=2)  # the others stopped asking
    await code_for(provisioner, "late-0")
    await activation.allow(fleet.store, genuine.code, fleet.clock())
    assert (await provisioner.provision(asking("genuine"), "10.0.0.1")).mqtt is not None


async def test_forgetting_clears_those_who_wait_under_a_devices_name(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    for number in range(activation.MAX_WAITING_FOR_ONE_DEVICE):
        await code_for(provisioner, f"uuid-{number}")
    await activation.forget(fleet.store, "AA:BB:CC:00:11:22", fleet.clock())
    await code_for(provisioner, "genuine")
    async with fleet.store.read() as session:
        waiting = await activations.of_device(session, DEVICE)
    assert [asker.client_id for asker in waiting] == ["genuine"]


async def test_an_address_that_may_bring_no_more_devices_gets_no_code_either(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    with pytest.raises(TooManyAskers, match=r"ota\.new_devices_per_hour"):
        await provisioner.provision(asking("uuid-2"), "10.0.0.1", lambda: False)
    again = await provisioner.provision(asking("uuid-1"), "10.0.0.1", lambda: False)
    assert again.activation == shown


async def test_many_waiting_devices_take_bounded_room_until_their_codes_expire(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "MAX_WAITING", 3)
    provisioner = fleet.provisioner(new_devices="activate", max_devices=1)
    for number in range(3):
        await provisioner.provision(asking(mac=f"aa:bb:cc:00:11:0{number}"), "10.0.0.1")
    with pytest.raises(OtaError, match="wait to be allowed already"):
        await provisioner.provision(asking(mac="aa:bb:cc:00:11:03"), "10.0.0.1")
    fleet.clock.advance(minutes=31)
    response = await provisioner.provision(asking(mac="aa:bb:cc:00:11:03"), "10.0.0.1")
    assert response.activation is not None
