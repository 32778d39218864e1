import pytest

from mimi_mqtt.errors import OtaError
from mimi_mqtt.fleet import activation, administration
from mimi_mqtt.fleet.activation import ActivationState, Asker, TooManyAskers
from mimi_mqtt.fleet.administration import UnknownCode
from mimi_mqtt.store import activations
from mimi_mqtt.wire.ota import ActivationRequest
from tests.unit.fleet.conftest import DEVICE, Fleet, asking, code_for, password_of

POLL = ActivationRequest()


def mac(number: int) -> str:
    return f"aa:bb:cc:00:11:{number:02x}"


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


async def test_an_owner_gets_a_code_however_many_claim_its_device(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    for number in range(20):
        await code_for(provisioner, f"uuid-{number}", address=f"10.0.1.{number}")
    genuine = await code_for(provisioner, "genuine", address="10.0.0.2")
    for number in range(20, 40):
        await code_for(provisioner, f"uuid-{number}", address=f"10.0.1.{number}")
    assert await code_for(provisioner, "genuine", address="10.0.0.2") == genuine
    await administration.allow(fleet.store, genuine.code, fleet.clock())
    assert (await provisioner.provision(asking("genuine"), "10.0.0.1")).mqtt is not None


async def test_the_newest_asker_of_an_address_replaces_its_own_for_the_same_device_only(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    genuine = await code_for(provisioner, "genuine", address="10.0.0.2")
    for number in range(30):
        await code_for(provisioner, f"uuid-{number}", address="10.0.1.1")
    await code_for(provisioner, "another device", "aa:bb:cc:00:11:33", address="10.0.1.1")
    async with fleet.store.read() as session:
        waiting = [asker.client_id for asker in await activations.list_all(session)]
    assert waiting == ["genuine", "uuid-29", "another device"]
    assert await code_for(provisioner, "genuine", address="10.0.0.2") == genuine


async def test_an_address_has_its_share_of_waiting_devices(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate", waiting_share=3)
    first = await code_for(provisioner, "first", mac(0), "10.0.0.2")
    for number in range(1, 6):
        fleet.clock.advance(seconds=1)
        await code_for(provisioner, "one", mac(number), "10.0.1.1")
    async with fleet.store.read() as session:
        waiting = [asker.device_id[-2:] for asker in await activations.list_all(session)]
    assert waiting == ["00", "03", "04", "05"]
    assert await code_for(provisioner, "first", mac(0), "10.0.0.2") == first
    assert "waiting devices: 2 refused, 2 of 10.0.1.1" in fleet.ledger.summary()


async def test_a_full_table_gives_a_place_of_the_address_with_the_most(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "MAX_WAITING", 8)
    provisioner = fleet.provisioner(new_devices="activate")
    honest = await code_for(provisioner, "honest", mac(0), "10.0.0.2")
    for number in range(1, 8):  # two strangers fill the table
        fleet.clock.advance(seconds=1)
        await code_for(provisioner, "one", mac(number), f"10.0.1.{number % 2}")
    owner = await code_for(provisioner, "owner", mac(8), "10.0.0.3")
    for number in range(10, 30):  # and go on
        fleet.clock.advance(seconds=1)
        await code_for(provisioner, "one", mac(number), f"10.0.1.{number % 2}")
    assert await code_for(provisioner, "honest", mac(0), "10.0.0.2") == honest
    assert await code_for(provisioner, "owner", mac(8), "10.0.0.3") == owner


async def test_askers_from_an_ipv6_network_count_as_one(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate", waiting_share=2)
    for number in range(5):
        await code_for(provisioner, "one", mac(number), f"2001:db8::{number + 1}")
    async with fleet.store.read() as session:
        assert len(await activations.list_all(session)) == 2


async def test_an_address_that_may_bring_no_more_devices_gets_no_code_either(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    with pytest.raises(TooManyAskers, match=r"ota\.new_devices_per_hour"):
        await provisioner.provision(asking("uuid-2"), "10.0.0.1", lambda: False)
    again = await provisioner.provision(asking("uuid-1"), "10.0.0.1", lambda: False)
    assert again.activation == shown


async def test_many_addresses_displace_no_code_that_is_still_shown(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "MAX_WAITING", 3)
    provisioner = fleet.provisioner(new_devices="activate", max_devices=1)
    shown = [await code_for(provisioner, "one", mac(number), f"10.0.0.{number}") for number in range(3)]
    with pytest.raises(OtaError, match="wait to be allowed already"):
        await code_for(provisioner, "one", mac(3), "10.0.0.3")
    for _ in range(4):
        fleet.clock.advance(minutes=1)
        for number in (0, 2):
            assert await code_for(provisioner, "one", mac(number), f"10.0.0.{number}") == shown[number]
    await code_for(provisioner, "one", mac(3), "10.0.0.3")  # in place of the one that asks no more
    assert await code_for(provisioner, "one", mac(0), "10.0.0.0") == shown[0]
    assert await code_for(provisioner, "one", mac(2), "10.0.0.2") == shown[2]
    fleet.clock.advance(minutes=31)
    await code_for(provisioner, "one", mac(4), "10.0.0.4")
    async with fleet.store.read() as session:
        assert len(await activations.list_all(session)) == 1
