import hmac

import pytest

from mimi_mqtt.fleet import administration, proof
from mimi_mqtt.fleet.activation import ActivationState, Asker
from mimi_mqtt.fleet.administration import KeyNotProven
from mimi_mqtt.fleet.device_keys import DeviceKeys, ImportedKey
from mimi_mqtt.fleet.provisioning import Provisioner
from mimi_mqtt.store import devices
from mimi_mqtt.wire.ota import ActivationRequest, ActivationSection, OtaRequest
from tests.unit.fleet.conftest import DEVICE, MAC, Fleet, asking, password_of

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SERIAL = "SN-0001"


def chip(client_id: str = "uuid-1", mac: str = MAC, serial: str = SERIAL) -> OtaRequest:
    return asking(client_id, mac, Activation_Version="2", Serial_Number=serial)


async def registered(fleet: Fleet, *keys: ImportedKey) -> None:
    await DeviceKeys(fleet.store, fleet.credentials).register(
        keys or [ImportedKey(SERIAL, KEY)], fleet.clock()
    )


async def shown(provisioner: Provisioner, request: OtaRequest) -> ActivationSection:
    answer = await provisioner.provision(request, "10.0.0.1", address="10.0.0.9")
    assert answer.mqtt is None
    assert answer.activation is not None
    return answer.activation


def poll(activation: ActivationSection, key: bytes = KEY, serial: str = SERIAL) -> ActivationRequest:
    assert activation.challenge is not None
    made = hmac.digest(key, activation.challenge.encode(), "sha256")
    return ActivationRequest(version=2, serial_number=serial, challenge=activation.challenge, hmac=made)


ASKER = Asker(DEVICE, "uuid-1", address="10.0.0.9")


@pytest.mark.parametrize("new_devices", ["allow", "activate", "locked"])
async def test_a_chip_with_its_key_is_activated_without_a_code(fleet: Fleet, new_devices: str) -> None:
    await registered(fleet)
    provisioner = fleet.provisioner(new_devices=new_devices)  # type: ignore[arg-type]
    asked = await shown(provisioner, chip())
    assert await provisioner.activate(ASKER, poll(asked)) is ActivationState.DONE
    password = password_of(await provisioner.provision(chip(), "10.0.0.1"))
    assert fleet.directory.authenticate(DEVICE, DEVICE, password) is not None
    async with fleet.store.read() as session:
        device = await devices.get(session, DEVICE)
    assert device is not None
    assert device.serial_number == SERIAL


async def test_a_code_is_needed_too_where_the_setting_says_so(fleet: Fleet) -> None:
    await registered(fleet)
    provisioner = fleet.provisioner(new_devices="activate", activate_by_hmac=False)
    asked = await shown(provisioner, chip())
    assert await provisioner.activate(ASKER, poll(asked)) is ActivationState.WAITING
    await administration.allow(fleet.store, asked.code, fleet.clock())
    assert await provisioner.activate(ASKER, poll(asked)) is ActivationState.DONE


async def test_a_wrong_key_is_refused(fleet: Fleet) -> None:
    await registered(fleet)
    provisioner = fleet.provisioner(new_devices="activate")
    asked = await shown(provisioner, chip())
    assert await provisioner.activate(ASKER, poll(asked, OTHER_KEY)) is ActivationState.REFUSED
    with pytest.raises(KeyNotProven):
        await administration.allow(fleet.store, asked.code, fleet.clock())
    assert "wrong proofs of chips: 1 refused" in fleet.ledger.summary()


async def test_wrong_proofs_are_limited_by_address(fleet: Fleet) -> None:
    await registered(fleet)
    provisioner = fleet.provisioner(new_devices="activate")
    asked = await shown(provisioner, chip())
    for _ in range(proof.WRONG_PROOFS):
        await provisioner.activate(ASKER, poll(asked, OTHER_KEY))
    assert await provisioner.activate(ASKER, poll(asked)) is ActivationState.REFUSED
    elsewhere = Asker(DEVICE, "uuid-1", address="10.0.0.10")
    assert await provisioner.activate(elsewhere, poll(asked)) is ActivationState.DONE


async def test_a_proof_that_was_overheard_is_of_no_use(fleet: Fleet) -> None:
    await registered(fleet)
    provisioner = fleet.provisioner(new_devices="activate")
    genuine = poll(await shown(provisioner, chip()))
    thief = chip("thiefs-uuid", "aa:bb:cc:00:11:66")
    await shown(provisioner, thief)
    for asker in (Asker(thief.device_id, "thiefs-uuid"), Asker(DEVICE, "thiefs-uuid")):
        assert await provisioner.activate(asker, genuine) is ActivationState.REFUSED
    assert await provisioner.activate(ASKER, genuine) is ActivationState.DONE
    # Nor once more, after the device was forgotten.
    await administration.forget(fleet.store, DEVICE, fleet.clock())
    await fleet.directory.refresh()
    await shown(provisioner, chip())
    assert await provisioner.activate(ASKER, genuine) is ActivationState.REFUSED


async def test_the_key_of_another_serial_number_proves_nothing(fleet: Fleet) -> None:
    await registered(fleet, ImportedKey(SERIAL, KEY), ImportedKey("SN-0002", OTHER_KEY))
    provisioner = fleet.provisioner(new_devices="activate")
    asked = await shown(provisioner, chip())
    assert await provisioner.activate(ASKER, poll(asked, OTHER_KEY, "SN-0002")) is ActivationState.REFUSED
    assert await provisioner.activate(ASKER, poll(asked, KEY, "SN-unknown")) is ActivationState.REFUSED


async def test_a_key_is_good_for_the_chip_that_it_was_registered_for(fleet: Fleet) -> None:
    await registered(fleet, ImportedKey(SERIAL, KEY, "aa-bb-cc-00-11-99"))
    provisioner = fleet.provisioner(new_devices="activate")
    asked = await shown(provisioner, chip())
    assert await provisioner.activate(ASKER, poll(asked)) is ActivationState.REFUSED


async def test_a_key_is_bound_to_the_device_that_it_activated(fleet: Fleet) -> None:
    await registered(fleet)
    provisioner = fleet.provisioner(new_devices="activate")
    assert await provisioner.activate(ASKER, poll(await shown(provisioner, chip()))) is ActivationState.DONE
    twin = chip("uuid-2", "aa:bb:cc:00:11:66")
    asked = await shown(provisioner, twin)
    assert await provisioner.activate(Asker(twin.device_id, "uuid-2"), poll(asked)) is ActivationState.REFUSED


async def test_a_chip_that_was_reset_gets_its_device_back_by_its_key(fleet: Fleet) -> None:
    await registered(fleet)
    provisioner = fleet.provisioner(new_devices="activate")
    await provisioner.activate(ASKER, poll(await shown(provisioner, chip())))
    old = password_of(await provisioner.provision(chip(), "10.0.0.1"))
    asked = await shown(provisioner, chip("uuid-2"))
    assert await provisioner.activate(Asker(DEVICE, "uuid-2"), poll(asked)) is ActivationState.DONE
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is None


async def test_a_key_does_not_take_a_device_over_that_never_proved_it(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    right = password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))
    await registered(fleet)
    asked = await shown(provisioner, chip("thiefs-uuid"))
    state = await provisioner.activate(Asker(DEVICE, "thiefs-uuid"), poll(asked))
    assert state is ActivationState.WAITING
    assert fleet.directory.authenticate(DEVICE, DEVICE, right) is not None


async def test_a_key_does_not_bring_a_revoked_device_back(fleet: Fleet) -> None:
    await registered(fleet)
    provisioner = fleet.provisioner(new_devices="activate")
    await provisioner.activate(ASKER, poll(await shown(provisioner, chip())))
    await administration.revoke(fleet.store, DEVICE, fleet.clock())
    await fleet.directory.refresh()
    asked = await shown(provisioner, chip())
    assert await provisioner.activate(ASKER, poll(asked)) is ActivationState.WAITING


async def test_without_a_registered_key_a_proof_changes_nothing(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    asked = await shown(provisioner, chip())
    assert await provisioner.activate(ASKER, poll(asked, OTHER_KEY)) is ActivationState.WAITING
