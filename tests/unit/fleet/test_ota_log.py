from datetime import timedelta

import pytest
from sqlmodel import select

from mimi_mqtt.fleet import listing
from mimi_mqtt.fleet import ota_log as log_module
from mimi_mqtt.fleet.activation import TooManyAskers
from mimi_mqtt.fleet.ota_log import Answer, OtaLog, Request, sentence
from mimi_mqtt.store import device_keys, ota_log
from mimi_mqtt.store.ota_log import KEPT
from mimi_mqtt.store.tables import OtaExchange, SeenDevice
from mimi_mqtt.wire.ota import OtaRequest
from tests.unit.fleet.conftest import DEVICE, MAC, Fleet, asking


async def entries(fleet: Fleet, device_id: str = DEVICE) -> list[OtaExchange]:
    async with fleet.store.read() as session:
        return list(await ota_log.of_device(session, device_id, 1_000))


async def seen(fleet: Fleet) -> list[SeenDevice]:
    async with fleet.store.read() as session:
        return list(await session.scalars(select(SeenDevice)))


def mac(number: int) -> str:
    return f"aa:bb:cc:01:{number >> 8:02x}:{number & 255:02x}"


def request(fleet: Fleet, device_id: str = DEVICE, answer: Answer = Answer.MQTT, reason: str = "") -> Request:
    now = fleet.clock()
    return Request(device_id, now, "10.0.0.9", "bread-compact-wifi", "2.2.1", answer, reason=reason)


async def test_each_request_is_told_with_its_answer_and_the_reason(fleet: Fleet) -> None:
    log = OtaLog(fleet.store)
    await log.start()
    provisioner = fleet.provisioner(log=log)
    await provisioner.provision(asking("uuid-1"), "10.0.0.1", address="10.0.0.9")
    await provisioner.provision(asking("uuid-2"), "10.0.0.1", address="10.0.0.66")
    await log.aclose()
    forged, right = await entries(fleet)
    assert (right.board, right.firmware_version, right.address) == ("bread-compact-wifi", "2.0.4", "10.0.0.9")
    assert sentence(right) == "got its credentials for MQTT; no firmware: no image for this board"
    assert sentence(forged).startswith("shows a code")
    assert forged.address == "10.0.0.66"


async def test_a_device_keeps_its_last_requests_whoever_asks_under_its_address(fleet: Fleet) -> None:
    await fleet.provisioner().provision(asking("uuid-1"), "10.0.0.1")
    log = OtaLog(fleet.store)
    await log.start()
    for _ in range(3):
        log.add(request(fleet))
    for _ in range(5 * KEPT):
        log.add(request(fleet, answer=Answer.CODE))
    await log.aclose()
    kept = [entry.answer for entry in await entries(fleet)]
    assert (kept.count("mqtt"), kept.count("code")) == (3, KEPT)


async def test_old_requests_are_deleted_and_those_of_devices_that_are_gone(fleet: Fleet) -> None:
    await fleet.provisioner().provision(asking("uuid-1"), "10.0.0.1")
    log = OtaLog(fleet.store)
    await log.start()
    log.add(request(fleet))
    log.add(request(fleet, "aa-bb-cc-00-11-99"))  # never registered
    await log.aclose()
    assert len(await entries(fleet)) == 1
    assert await entries(fleet, "aa-bb-cc-00-11-99") == []
    fleet.clock.advance(days=31)
    log = OtaLog(fleet.store)
    await log.start()
    log.add(request(fleet))
    await log.aclose()
    (only,) = await entries(fleet)
    assert only.at == fleet.clock()


# ── ota.new_devices: locked ──────────────────────────────────────────────────────────────────────────────


async def test_a_device_that_may_not_come_in_gets_neither_credentials_nor_a_code(fleet: Fleet) -> None:
    log = OtaLog(fleet.store)
    await log.start()
    provisioner = fleet.provisioner(new_devices="locked", log=log)
    answer = await provisioner.provision(asking("uuid-1"), "10.0.0.1", address="10.0.0.9")
    assert answer.model_dump(exclude_none=True).keys() == {"server_time", "firmware"}
    assert answer.firmware is not None
    assert (answer.firmware.version, answer.firmware.url) == ("2.0.4", "")
    await log.aclose()
    (found,) = await seen(fleet)
    assert (found.id, found.address) == (DEVICE, "10.0.0.9")
    assert fleet.directory.get(DEVICE) is None


async def test_a_listed_device_comes_in_for_its_owner(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="locked")
    for identity in ("AA-BB-CC-00-11-22", "SN-0001"):
        await listing.add(fleet.store, listing.entry(identity, fleet.clock(), owner_id="u-bob"))
    by_serial = asking("uuid-1", "aa:bb:cc:00:11:33", Activation_Version="2", Serial_Number="SN-0001")
    for asked in (asking("uuid-1"), by_serial):
        assert (await provisioner.provision(asked, "10.0.0.1")).mqtt is not None
        known = fleet.directory.get(asked.device_id)
        assert known is not None
        assert known.owner_id == "u-bob"


async def test_a_device_that_came_in_is_not_told_as_seen_alone(fleet: Fleet) -> None:
    log = OtaLog(fleet.store)
    await log.start()
    provisioner = fleet.provisioner(new_devices="locked", log=log)
    for mac_ in (MAC, mac(1)):
        assert (await provisioner.provision(asking("uuid-1", mac_), "10.0.0.1")).mqtt is None
    await log.aclose()
    await listing.add(fleet.store, listing.entry(DEVICE, fleet.clock(), owner_id=""))
    assert (await provisioner.provision(asking("uuid-1"), "10.0.0.1")).mqtt is not None
    async with fleet.store.read() as session:
        left = [each.id for each in await ota_log.seen_page(session, "", 10)]
    assert left == [mac(1).replace(":", "-")]


async def test_a_listed_serial_number_registers_one_device_alone(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="locked")
    entry = listing.entry("SN-0001", fleet.clock(), owner_id="u-bob", note="kitchen")
    await listing.add(fleet.store, entry)
    serial = {"Activation_Version": "2", "Serial_Number": "SN-0001"}
    first = asking("uuid-1", "aa:bb:cc:00:11:33", **serial)
    assert (await provisioner.provision(first, "10.0.0.1")).mqtt is not None
    other = asking("uuid-2", "aa:bb:cc:00:11:44", **serial)
    assert (await provisioner.provision(other, "10.0.0.1")).mqtt is None
    assert fleet.directory.get(other.device_id) is None
    async with fleet.store.read() as session:
        (listed,) = await device_keys.list_page(session, ("", ""), 10)
    assert (listed.kind, listed.value, listed.owner_id) == ("mac", first.device_id, "u-bob")
    assert listed.note == "kitchen (serial number SN-0001)"


async def test_registered_devices_go_on_when_the_fleet_is_locked(fleet: Fleet) -> None:
    await fleet.provisioner().provision(asking("uuid-1"), "10.0.0.1")
    locked = fleet.provisioner(new_devices="locked")
    assert (await locked.provision(asking("uuid-1"), "10.0.0.1")).mqtt is not None


async def test_a_flood_of_unknown_devices_fills_no_table(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "MAX_SEEN", 12)
    log = OtaLog(fleet.store, share=5)
    await log.start()
    provisioner = fleet.provisioner(new_devices="locked", log=log)
    first: OtaRequest = asking("uuid", mac(0))
    await provisioner.provision(first, "10.0.0.1", address="10.0.0.2")
    for number in range(1, 60):
        fleet.clock.now += timedelta(seconds=1)
        await provisioner.provision(asking("uuid", mac(number)), "10.0.0.1", address=f"10.0.1.{number % 6}")
    await log.aclose()
    found = await seen(fleet)
    assert len(found) == 12
    assert "10.0.0.2" in {each.address for each in found}  # a flood displaces its own
    assert await fleet_size(fleet) == 0


async def fleet_size(fleet: Fleet) -> int:
    return len(fleet.directory)


async def test_one_address_names_no_more_unknown_devices_than_it_may_bring(fleet: Fleet) -> None:
    log = OtaLog(fleet.store)
    await log.start()
    provisioner = fleet.provisioner(new_devices="locked", log=log)
    left = iter([True, True])
    for number in range(10):
        await provisioner.provision(
            asking("uuid", mac(number)), "10.0.0.1", lambda: next(left, False), address="10.0.1.1"
        )
    # Those known already are answered and noted on.
    await provisioner.provision(asking("uuid", mac(0)), "10.0.0.1", lambda: False, address="10.0.1.1")
    await log.aclose()
    assert len(await seen(fleet)) == 2
    assert "unlisted devices: 8 refused" in fleet.ledger.summary()


async def test_a_refused_request_is_told_with_its_reason(fleet: Fleet) -> None:
    log = OtaLog(fleet.store)
    await log.start()
    provisioner = fleet.provisioner(log=log, new_devices="activate")
    with pytest.raises(TooManyAskers):
        await provisioner.provision(asking("uuid-1"), "10.0.0.1", lambda: False, address="10.0.0.9")
    provisioner.unreadable("10.0.0.9", "Device-Id is missing")
    await log.aclose()
    (refused,), (unreadable,) = await entries(fleet), await entries(fleet, "")
    assert refused.answer == "refused"
    assert refused.reason
    assert refused.reason in sentence(refused)
    assert unreadable.address == "10.0.0.9"
    assert sentence(unreadable).endswith("it is not the request of a device: Device-Id is missing")


async def test_refused_requests_are_recorded_at_a_bounded_rate(fleet: Fleet) -> None:
    log = OtaLog(fleet.store)
    await log.start()
    for number in range(100):
        log.add(request(fleet, mac(number), Answer.REFUSED, reason="too many"))
    await log.aclose()
    found = [len(await entries(fleet, mac(number))) for number in range(100)]
    assert sum(found) == log_module.REFUSED_AT_ONCE / 4


async def test_pruning_keeps_the_last_refused_requests_of_unknown_devices(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ota_log, "KEPT_REFUSED", 2)
    async with fleet.store.write() as session:
        for number in range(4):
            session.add(OtaExchange(device_id=mac(number), at=fleet.clock(), answer="refused"))
        session.add(OtaExchange(device_id=mac(9), at=fleet.clock(), answer="code"))
    async with fleet.store.write() as session:
        await ota_log.prune(session, fleet.clock() - log_module.KEPT_FOR)
    assert [len(await entries(fleet, mac(number))) for number in (0, 1, 2, 3, 9)] == [0, 0, 1, 1, 0]


async def test_observers_are_told_of_requests_that_can_be_read(fleet: Fleet) -> None:
    told: list[Request] = []
    log = OtaLog(fleet.store, on_saved=told.extend)
    await log.start()
    log.add(request(fleet))
    await log.aclose()
    assert [each.device_id for each in told] == [DEVICE]
