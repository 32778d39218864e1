import asyncio
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from sqlmodel import select

from mimi_mqtt.errors import Forbidden, LimitReached
from mimi_mqtt.fleet import administration, claiming
from mimi_mqtt.fleet.activation import ActivationState, Asker
from mimi_mqtt.fleet.administration import KeyNotProven, UnknownDevice
from mimi_mqtt.fleet.claiming import CannotClaim, Claims
from mimi_mqtt.fleet.device_keys import DeviceKeys, ImportedKey
from mimi_mqtt.fleet.rights import Rights
from mimi_mqtt.store import devices
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.tables import AuditEntry, Device
from mimi_mqtt.wire.ota import ActivationRequest
from tests.unit.fleet.conftest import DEVICE, Fleet, asking, code_for, password_of


def person(name: str, address: str = "192.0.2.7", *groups: str) -> Rights:
    return Rights(Author(name, f"u-{name}", address), f"u-{name}", is_admin=False, groups=frozenset(groups))


ADMIN = Rights(Author("ada", "u-ada", "192.0.2.1"), "u-ada", is_admin=True)
BOB, EVE = person("bob"), person("eve", "198.51.100.9")


@dataclass
class Nearby:
    """Connected devices by address, and the texts on their screens. A `NearbyDevices`."""

    at: dict[str, list[str]] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)

    def connected_from(self, address: str) -> Sequence[str]:
        return self.at.get(address, [])

    def show(self, device_id: str, title: str, text: str) -> bool:
        self.shown[device_id] = text.replace(" ", "")
        return True


@dataclass
class Moment:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def claims(fleet: Fleet, nearby: Nearby | None = None, moment: Moment | None = None) -> Claims:
    return Claims(
        fleet.store, fleet.directory, nearby or Nearby(), fleet.ledger,
        clock=fleet.clock, monotonic=moment or Moment(),
    )  # fmt: skip


async def device(fleet: Fleet, device_id: str = DEVICE) -> Device:
    async with fleet.store.read() as session:
        found = await devices.get(session, device_id)
    assert found is not None
    return found


async def test_a_code_gives_a_device_to_the_person_who_enters_it(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    claimed = await claims(fleet).claim(f" {shown.code} ", BOB)
    assert (claimed.id, claimed.owner_id, claimed.allowed) == (DEVICE, "u-bob", True)
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert known.owner_id == "u-bob"
    async with fleet.store.read() as session:
        (entry,) = (await session.scalars(select(AuditEntry))).all()
    assert (entry.action, entry.author, entry.user_id, entry.target) == (
        "device.claim", "bob", "u-bob", f"device:{DEVICE}",
    )  # fmt: skip
    assert entry.after["owner_id"] == "u-bob"


async def test_an_entered_code_is_enough_for_a_client_that_never_polls(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await claims(fleet).claim(shown.code, BOB)
    assert password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))


async def test_a_device_that_polls_learns_that_it_was_claimed(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await claims(fleet).claim(shown.code, BOB)
    state = await provisioner.activate(Asker(DEVICE, "uuid-1"), ActivationRequest.from_body(b"{}"))
    assert state is ActivationState.DONE


async def test_a_code_is_good_once_for_claims(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await claims(fleet).claim(shown.code, BOB)
    with pytest.raises(CannotClaim):
        await claims(fleet).claim(shown.code, EVE)
    assert (await device(fleet)).owner_id == "u-bob"


async def test_a_code_expires(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    fleet.clock.advance(minutes=31)
    with pytest.raises(CannotClaim):
        await claims(fleet).claim(shown.code, BOB)


async def test_of_two_who_enter_a_code_at_once_one_gets_the_device(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    both = claims(fleet)
    outcomes = await asyncio.gather(
        both.claim(shown.code, BOB), both.claim(shown.code, EVE), return_exceptions=True
    )
    won = [each for each in outcomes if isinstance(each, Device)]
    assert len(won) == 1
    assert (await device(fleet)).owner_id == won[0].owner_id
    assert isinstance(next(each for each in outcomes if each is not won[0]), CannotClaim)


async def test_a_person_can_not_go_through_the_codes(fleet: Fleet) -> None:
    moment = Moment()
    guessing = claims(fleet, moment=moment)
    for number in range(claiming.WRONG_CODES_PER_PERSON):
        with pytest.raises(CannotClaim):
            await guessing.claim(f"{number:06d}", EVE)
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    with pytest.raises(LimitReached) as caught:
        await guessing.claim(shown.code, EVE)  # the right one, too: it is not looked at
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 0
    moment.now += caught.value.retry_after_s + 1
    assert (await guessing.claim(shown.code, EVE)).owner_id == "u-eve"


async def test_attempts_at_once_are_bounded_like_those_in_a_row(fleet: Fleet) -> None:
    guessing = claims(fleet)
    outcomes = await asyncio.gather(
        *(guessing.claim(f"{number:06d}", EVE) for number in range(40)), return_exceptions=True
    )
    assert sum(isinstance(each, CannotClaim) for each in outcomes) == claiming.WRONG_CODES_PER_PERSON
    assert sum(isinstance(each, LimitReached) for each in outcomes) == 40 - claiming.WRONG_CODES_PER_PERSON


async def test_an_address_can_not_go_through_the_codes_with_many_accounts(fleet: Fleet) -> None:
    guessing = claims(fleet)
    wrong = 0
    for number in range(50):
        with pytest.raises((CannotClaim, LimitReached)) as caught:
            await guessing.claim("000000", person(f"eve{number}", "198.51.100.9"))
        wrong += caught.type is CannotClaim
    assert wrong == claiming.WRONG_CODES_PER_ADDRESS


async def test_all_together_can_not_go_through_the_codes_and_leave_others_one_attempt(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "WRONG_CODES_OF_ALL", 10)
    guessing = claims(fleet)
    wrong = 0
    for number in range(10):
        for _ in range(5):
            with pytest.raises((CannotClaim, LimitReached)) as caught:
                await guessing.claim("000000", person(f"eve{number}", f"198.51.100.{number}"))
            wrong += caught.type is CannotClaim
    assert wrong <= 10 + 10  # the bound, and one attempt of each
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    assert (await guessing.claim(shown.code, BOB)).owner_id == "u-bob"


async def test_right_codes_use_nothing_up(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    owning = claims(fleet)
    for number in range(20):
        mac = f"aa:bb:cc:00:11:{number:02x}"
        shown = await code_for(provisioner, "uuid", mac)
        assert (await owning.claim(shown.code, BOB)).owner_id == "u-bob"


async def test_a_code_under_the_address_of_anothers_device_gives_it_to_nobody(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await claims(fleet).claim(shown.code, BOB)
    right = password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))
    forged = await code_for(provisioner, "eves-uuid", address="198.51.100.9")
    with pytest.raises(CannotClaim):
        await claims(fleet).claim(forged.code, EVE)
    with pytest.raises(CannotClaim):  # nor to an administrator, by mistake
        await claims(fleet).claim(forged.code, ADMIN)
    assert (await device(fleet)).owner_id == "u-bob"
    await fleet.directory.refresh()
    assert fleet.directory.authenticate(DEVICE, DEVICE, right) is not None
    assert fleet.revoked == []


async def test_a_code_under_the_address_of_an_active_device_of_nobody_is_no_claim_to_it(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    right = password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))
    forged = await code_for(provisioner, "eves-uuid", address="198.51.100.9")
    with pytest.raises(CannotClaim):
        await claims(fleet).claim(forged.code, EVE)
    assert fleet.directory.authenticate(DEVICE, DEVICE, right) is not None
    assert (await device(fleet)).owner_id == ""


async def test_the_owner_claims_a_device_again_that_was_reset(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await claims(fleet).claim(shown.code, BOB)
    old = password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))
    reset = await code_for(provisioner, "uuid-2")
    await claims(fleet).claim(reset.code, BOB)
    new = password_of(await provisioner.provision(asking("uuid-2"), "10.0.0.1"))
    assert fleet.directory.authenticate(DEVICE, DEVICE, new) is not None
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is None
    assert fleet.revoked == [DEVICE]


async def test_nobody_claims_what_an_administrator_revoked(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await claims(fleet).claim(shown.code, BOB)
    await administration.revoke(fleet.store, DEVICE, fleet.clock(), ADMIN)
    await fleet.directory.refresh()
    again = await code_for(provisioner, "uuid-1")
    with pytest.raises(CannotClaim):
        await claims(fleet).claim(again.code, BOB)
    with pytest.raises(Forbidden):
        await administration.enable(fleet.store, DEVICE, fleet.clock(), BOB)
    with pytest.raises(Forbidden):  # forgotten, it could come back
        await administration.forget(fleet.store, DEVICE, fleet.clock(), BOB)
    assert (await administration.enable(fleet.store, DEVICE, fleet.clock(), ADMIN)).allowed


async def test_an_owner_takes_his_own_revocation_back(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await claims(fleet).claim(shown.code, BOB)
    await administration.revoke(fleet.store, DEVICE, fleet.clock(), BOB)
    with pytest.raises(UnknownDevice):
        await administration.enable(fleet.store, DEVICE, fleet.clock(), EVE)
    assert (await administration.enable(fleet.store, DEVICE, fleet.clock(), BOB)).allowed


async def test_a_code_alone_does_not_let_in_a_chip_whose_key_is_registered(fleet: Fleet) -> None:
    key = bytes(range(32))
    await DeviceKeys(fleet.store, fleet.credentials).register(
        [ImportedKey("SN-1", key, DEVICE)], fleet.clock()
    )
    provisioner = fleet.provisioner(new_devices="activate", activate_by_hmac=False)
    # Whoever leaves the serial number out is known by the MAC address.
    shown = await code_for(provisioner, "uuid-1")
    with pytest.raises(KeyNotProven):
        await claims(fleet).claim(shown.code, BOB)
    with pytest.raises(KeyNotProven):
        await administration.allow(fleet.store, shown.code, fleet.clock())
    asked = replace_serial(asking("uuid-1"), "SN-1")
    answer = await provisioner.provision(asked, "10.0.0.1", address="10.0.0.9")
    assert answer.activation is not None
    assert answer.activation.challenge is not None
    proof = hmac.digest(key, answer.activation.challenge.encode(), "sha256")
    poll = ActivationRequest(
        version=2, serial_number="SN-1", challenge=answer.activation.challenge, hmac=proof
    )
    assert await provisioner.activate(Asker(DEVICE, "uuid-1"), poll) is ActivationState.WAITING
    claimed = await claims(fleet).claim(answer.activation.code, BOB)
    assert (claimed.owner_id, claimed.serial_number) == ("u-bob", "SN-1")


def replace_serial(request, serial: str):  # type: ignore[no-untyped-def]
    return request.model_copy(update={"serial_number": serial, "activation_version": 2})


# ── active devices of nobody ─────────────────────────────────────────────────────────────────────────────


async def test_an_active_device_shows_a_code_to_who_asks_from_its_own_address(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking("uuid-1"), "10.0.0.1")
    nearby = Nearby({"192.0.2.7": [DEVICE]})
    owning = claims(fleet, nearby)
    told = await owning.ask_for_codes(BOB)
    assert told.devices == 1
    assert told.expires_at == fleet.clock() + timedelta(minutes=30)
    claimed = await owning.claim(nearby.shown[DEVICE], BOB)
    assert (claimed.owner_id, claimed.epoch) == ("u-bob", (await device(fleet)).epoch)
    assert fleet.revoked == []  # a talking device goes on


async def test_an_active_device_whose_key_was_imported_later_is_claimed_by_the_code_on_its_screen(
    fleet: Fleet,
) -> None:
    await fleet.provisioner().provision(asking("uuid-1"), "10.0.0.1")
    keys = DeviceKeys(fleet.store, fleet.credentials)
    await keys.register([ImportedKey("SN-1", bytes(32), DEVICE)], fleet.clock())
    nearby = Nearby({"192.0.2.7": [DEVICE]})
    owning = claims(fleet, nearby)
    await owning.ask_for_codes(BOB)
    epoch = (await device(fleet)).epoch
    claimed = await owning.claim(nearby.shown[DEVICE], BOB)
    assert (claimed.owner_id, claimed.epoch, claimed.serial_number) == ("u-bob", epoch, "")


async def test_a_device_elsewhere_or_of_somebody_shows_no_code(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking("uuid-1"), "10.0.0.1")
    nearby = Nearby({"192.0.2.7": [DEVICE]})
    owning = claims(fleet, nearby)
    assert (await owning.ask_for_codes(EVE)).devices == 0
    await owning.ask_for_codes(BOB)
    await owning.claim(nearby.shown.pop(DEVICE), BOB)
    assert (await owning.ask_for_codes(replace(EVE, author=BOB.author))).devices == 0
    assert nearby.shown == {}


async def test_codes_are_not_asked_for_again_and_again(fleet: Fleet) -> None:
    owning = claims(fleet)
    for _ in range(claiming.CODE_REQUESTS):
        await owning.ask_for_codes(BOB)
    with pytest.raises(LimitReached, match="try again in"):
        await owning.ask_for_codes(BOB)
