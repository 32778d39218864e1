import pytest

from mimi_mqtt.errors import OtaError
from mimi_mqtt.fleet import activation, administration
from mimi_mqtt.fleet.activation import ActivationState, Asker, TooManyAskers
from mimi_mqtt.fleet.administration import UnknownCode
from mimi_mqtt.wire.ota import ActivationRequest
from tests.unit.fleet.conftest import DEVICE, Fleet, asking, code_for, password_of

POLL = ActivationRequest()


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
    await administration.allow(fleet.store, shown.code, fleet.clock())
    assert await provisioner.activate(Asker(DEVICE, "uuid-1"), POLL) is ActivationState.DONE
    password = password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))
    assert fleet.directory.authenticate(DEVICE, DEVICE, password) is not None


async def test_allowing_another_client_id_puts_the_old_holder_out(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    old = password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))
    shown = await code_for(provisioner, "uuid-2")
    await administration.allow(fleet.store, shown.code, fleet.clock())
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
    with pytest.raises(UnknownCode):
        await administration.allow(fleet.store, shown.code, fleet.clock())


async def test_polling_under_another_name_tells_nothing(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await administration.allow(fleet.store, shown.code, fleet.clock())
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
    await administration.allow(fleet.store, shown.code, fleet.clock())
    assert await provisioner.activate(asker, proof("somebody else's")) is ActivationState.REFUSED
    assert await provisioner.activate(asker, proof(shown.challenge)) is ActivationState.DONE


async def test_a_revoked_device_shows_a_code_until_it_is_allowed(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    old = password_of(await provisioner.provision(asking(), "10.0.0.1"))
    await administration.revoke(fleet.store, "AA:BB:CC:00:11:22", fleet.clock())
    await fleet.directory.refresh()
    shown = await code_for(provisioner, "uuid-1")
    assert await provisioner.activate(Asker(DEVICE, "uuid-1"), POLL) is ActivationState.WAITING
    await administration.allow(fleet.store, shown.code, fleet.clock())
    new = password_of(await provisioner.provision(asking(), "10.0.0.1"))
    assert new != old
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is None


async def test_a_flood_of_askers_does_not_put_out_who_waits_for_a_device(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    genuine = await code_for(provisioner, "genuine")
    for number in range(1, activation.MAX_WAITING_FOR_ONE_DEVICE):
        fleet.clock.advance(seconds=1)
        await code_for(provisioner, f"uuid-{number}")
    for number in range(20):
        with pytest.raises(TooManyAskers, match="forget the device"):
            await provisioner.provision(asking(f"late-{number}"), "10.0.0.1")
    assert await code_for(provisioner, "genuine") == genuine
    fleet.clock.advance(minutes=29)
    assert await code_for(provisioner, "genuine") == genuine
    fleet.clock.advance(minutes=2)  # the others stopped asking
    await code_for(provisioner, "late-0")
    await administration.allow(fleet.store, genuine.code, fleet.clock())
    assert (await provisioner.provision(asking("genuine"), "10.0.0.1")).mqtt is not None


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
