import asyncio
import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimi_mqtt.errors import OtaError, StoreError
from mimi_mqtt.fleet import administration, device_settings, registration
from mimi_mqtt.fleet.activation import TooManyAskers
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.fleet.provisioning import Endpoints
from mimi_mqtt.store import devices
from mimi_mqtt.wire.ota import MqttSection, OtaRequest, UdpSection
from tests.unit.fleet.conftest import DEVICE, MAC, Fleet, asking, password_of


async def test_a_new_device_gets_everything_it_needs(fleet: Fleet) -> None:
    response = await fleet.provisioner().provision(asking(), "192.168.1.5")
    registration = await fleet.directory.registration(DEVICE)
    assert registration is not None
    epoch = registration.epoch
    assert response.mqtt == MqttSection(
        endpoint="192.168.1.5:1883",
        client_id=DEVICE,
        username=DEVICE,
        password=fleet.credentials.mqtt_password(DEVICE, epoch),
        publish_topic=f"mimi/devices/{DEVICE}/up",
        subscribe_topic=f"mimi/devices/{DEVICE}/down",
        keepalive=240,
    )
    assert response.udp == UdpSection(
        server="192.168.1.5", port=8884, key=fleet.credentials.udp_key(DEVICE, epoch).hex()
    )
    assert response.websocket is None
    assert response.activation is None
    assert json.loads(response.to_json())["firmware"] == {"version": "2.0.4", "url": "", "force": 0}


async def test_the_same_device_gets_the_same_credentials_again(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    first = await provisioner.provision(asking(), "10.0.0.1")
    fleet.clock.advance(days=400)
    again = await provisioner.provision(asking(), "10.0.0.1")
    assert (first.mqtt, first.udp) == (again.mqtt, again.udp)


@pytest.mark.parametrize("thief", ["uuid-2", "", "UUID-1", "uuid-1x"])
async def test_another_client_id_gets_no_credentials_and_changes_nothing(fleet: Fleet, thief: str) -> None:
    provisioner = fleet.provisioner()
    password = password_of(await provisioner.provision(asking(), "10.0.0.1"))
    response = await provisioner.provision(asking(thief), "10.6.6.6")
    assert response.mqtt is None
    assert response.udp is None
    assert response.websocket is None
    assert response.activation is not None
    assert response.server_time is not None
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert known.host == "10.0.0.1"
    assert fleet.directory.authenticate(DEVICE, DEVICE, password) is not None
    assert fleet.revoked == []


async def test_a_missing_client_id_matches_only_a_missing_one(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    assert (await provisioner.provision(asking(""), "10.0.0.1")).mqtt is not None
    assert (await provisioner.provision(asking(""), "10.0.0.1")).mqtt is not None
    assert (await provisioner.provision(asking("uuid-1"), "10.0.0.1")).mqtt is None


async def test_two_first_requests_at_once_bind_one(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    answers = await asyncio.gather(
        *(provisioner.provision(asking(f"uuid-{number}"), "10.0.0.1") for number in range(5))
    )
    assert sum(answer.mqtt is not None for answer in answers) == 1
    assert sum(answer.activation is not None for answer in answers) == 4


async def test_one_device_that_asks_twice_at_once_gets_the_same_twice(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    first, second = await asyncio.gather(*(provisioner.provision(asking(), "10.0.0.1") for _ in range(2)))
    assert first.mqtt == second.mqtt
    assert first.mqtt is not None


async def test_the_public_host_wins_over_the_address_that_was_used(fleet: Fleet) -> None:
    endpoints = Endpoints(mqtt_port=2883, udp_port=9884, public_host="voice.example")
    response = await fleet.provisioner(endpoints=endpoints).provision(asking(), "10.0.0.1")
    assert response.mqtt is not None
    assert response.udp is not None
    assert response.mqtt.endpoint == "voice.example:2883"
    assert (response.udp.server, response.udp.port) == ("voice.example", 9884)


async def test_the_last_host_and_language_are_known_to_sessions(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    for host, language in (("10.0.0.1", "en-US"), ("10.0.0.2", "de-DE")):
        await provisioner.provision(asking(Accept_Language=language), host)
        known = fleet.directory.get(DEVICE)
        assert known is not None
        assert (known.host, known.language) == (host, language)


@pytest.mark.parametrize(
    ("version", "echoed"),
    [
        ("1.2.3", "1.2.3"),
        ("2", "2"),
        ("1.2.3-beta", "0.0.0"),
        ("v1.2", "0.0.0"),
        ("1..2", "0.0.0"),
        ("", "0.0.0"),
        ("99999999999.1", "0.0.0"),
        ("1.2.３", "0.0.0"),
    ],
)
async def test_a_version_that_would_abort_the_device_is_not_echoed(
    fleet: Fleet, version: str, echoed: str
) -> None:
    request = OtaRequest(device_id=DEVICE, firmware_version=version)
    response = await fleet.provisioner().provision(request, "10.0.0.1")
    assert response.firmware is not None
    assert (response.firmware.version, response.firmware.url) == (echoed, "")


@pytest.mark.parametrize(
    ("moment", "minutes"),
    [(datetime(2026, 1, 15, 12, tzinfo=UTC), 60), (datetime(2026, 7, 15, 12, tzinfo=UTC), 120)],
)
async def test_the_clock_knows_daylight_saving_time(fleet: Fleet, moment: datetime, minutes: int) -> None:
    fleet.clock.now = moment
    response = await fleet.provisioner(timezone="Europe/Berlin").provision(asking(), "10.0.0.1")
    assert response.server_time is not None
    assert response.server_time.timestamp == int(moment.timestamp() * 1000)
    assert response.server_time.timezone_offset == minutes


async def test_time_zones_west_and_between_hours_are_right(fleet: Fleet) -> None:
    found = {}
    for name in ("America/St_Johns", "Asia/Kathmandu"):
        response = await fleet.provisioner(timezone=name).provision(asking(), "10.0.0.1")
        assert response.server_time is not None
        found[name] = response.server_time.timezone_offset
    assert found == {"America/St_Johns": -150, "Asia/Kathmandu": 345}


async def test_without_a_websocket_a_device_is_told_to_use_mqtt(fleet: Fleet) -> None:
    response = await fleet.provisioner(transport="websocket").provision(asking(), "10.0.0.1")
    assert response.mqtt is not None
    assert response.websocket is None


async def test_a_device_is_moved_to_websocket_by_its_own_setting(fleet: Fleet) -> None:
    endpoints = Endpoints(mqtt_port=1883, udp_port=8884, http_port=8003, websocket_path="/xiaozhi/v1/")
    provisioner = fleet.provisioner(endpoints=endpoints)
    assert (await provisioner.provision(asking(), "10.0.0.1")).websocket is None
    await device_settings.change(fleet.store, DEVICE, DeviceChange(transport="websocket"), fleet.clock())
    await fleet.directory.refresh()
    response = await provisioner.provision(asking(), "10.0.0.1")
    assert response.mqtt is None
    assert response.websocket is not None
    assert response.websocket.url == "ws://10.0.0.1:8003/xiaozhi/v1/"
    await device_settings.change(fleet.store, DEVICE, DeviceChange(transport=""), fleet.clock())
    await fleet.directory.refresh()
    assert (await provisioner.provision(asking(), "10.0.0.1")).mqtt is not None


async def test_no_more_devices_than_allowed_are_taken_in(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(max_devices=2)
    for number in (1, 2):
        await provisioner.provision(asking(mac=f"aa:bb:cc:00:11:0{number}"), "10.0.0.1")
    with pytest.raises(OtaError, match=r"ota\.max_devices"):
        await provisioner.provision(asking(mac="aa:bb:cc:00:11:03"), "10.0.0.1")
    assert (await provisioner.provision(asking(mac="aa:bb:cc:00:11:01"), "10.0.0.1")).mqtt is not None


async def test_devices_that_never_connected_make_room_for_new_ones(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(max_devices=6)
    macs = [f"aa:bb:cc:00:11:0{number}" for number in range(9)]
    ids = [mac.replace(":", "-") for mac in macs]
    # The first is used, the second has a name, the third was allowed by a person; three are of a stranger.
    for number, address in enumerate(["10.0.0.2"] * 3 + ["10.0.1.1"] * 3):
        response = await provisioner.provision(asking(mac=macs[number]), "10.0.0.1", address=address)
        if number == 0:
            assert fleet.directory.authenticate(ids[0], ids[0], password_of(response)) is not None
    await device_settings.change(fleet.store, ids[1], DeviceChange(name="Kitchen"), fleet.clock())
    await administration.revoke(fleet.store, ids[2], fleet.clock())
    await administration.allow(fleet.store, ids[2], fleet.clock())
    await fleet.directory.aclose()  # writes that the first one connected
    await fleet.directory.start()
    fleet.clock.advance(hours=23)
    with pytest.raises(OtaError, match=r"ota\.max_devices"):
        await provisioner.provision(asking(mac=macs[6]), "10.0.0.1", address="10.0.0.3")
    fleet.clock.advance(hours=2)
    for number in (6, 7, 8):
        response = await provisioner.provision(asking(mac=macs[number]), "10.0.0.1", address="10.0.0.3")
        assert response.mqtt is not None
    with pytest.raises(OtaError, match=r"ota\.max_devices"):
        await provisioner.provision(asking(mac="aa:bb:cc:00:11:99"), "10.0.0.1", address="10.0.0.3")
    async with fleet.store.read() as session:
        kept = [device.id for device in await devices.list_all(session)]
    assert kept == [*ids[:3], *ids[6:]]
    await fleet.directory.refresh()
    assert fleet.directory.get(ids[3]) is None
    assert "registered devices: 5 refused, 3 of 10.0.1.1" in fleet.ledger.summary()


async def test_an_address_that_may_bring_no_more_devices_keeps_those_it_has(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking(), "10.0.0.1")
    with pytest.raises(TooManyAskers, match=r"ota\.new_devices_per_hour"):
        await provisioner.provision(asking(mac="aa:bb:cc:00:11:03"), "10.0.0.1", lambda: False)
    assert len(fleet.directory) == 1
    assert (await provisioner.provision(asking(), "10.0.0.2", lambda: False)).mqtt is not None


async def test_the_last_report_is_kept(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    for body in (b'{"flash_size": 1}', b'{"flash_size": 16777216, "new": {"in": [1, null]}}'):
        fleet.clock.advance(minutes=1)
        await provisioner.provision(OtaRequest.from_http({"Device-Id": MAC}, body), "10.0.0.1")
    await fleet.directory.aclose()
    async with fleet.store.read() as session:
        report = await devices.last_report(session, DEVICE)
        device = await devices.get(session, DEVICE)
    assert report is not None
    assert report.report == {"flash_size": 16777216, "new": {"in": [1, None]}}
    assert device is not None
    assert device.last_seen_at == fleet.clock()


async def test_known_devices_are_answered_while_the_database_is_busy(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    first = await provisioner.provision(asking(), "10.0.0.1")
    async with fleet.store.write():
        again = await provisioner.provision(asking(User_Agent="bread-compact-wifi/2.0.5"), "10.0.0.1")
    assert (again.mqtt, again.udp) == (first.mqtt, first.udp)
    await fleet.directory.aclose()
    async with fleet.store.read() as session:
        device = await devices.get(session, DEVICE)
    assert device is not None
    assert device.firmware_version == "2.0.5"


async def test_a_fleet_that_finds_the_server_at_another_address_does_not_wait_for_the_database(
    fleet: Fleet,
) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking(), "10.0.0.1")
    async with fleet.store.write():
        moved = await provisioner.provision(
            asking(Accept_Language="de-DE"), "voice.example", origin="wss://voice.example"
        )
        assert moved.mqtt is not None
        assert moved.mqtt.endpoint == "voice.example:1883"
        known = fleet.directory.get(DEVICE)
        assert known is not None
        assert (known.host, known.origin) == ("voice.example", "https://voice.example")
        assert known.language == "de-DE"
    await fleet.directory.aclose()
    async with fleet.store.read() as session:
        device = await devices.get(session, DEVICE)
    assert device is not None
    assert (device.host, device.origin) == ("voice.example", "https://voice.example")
    assert device.reported_language == "de-DE"


async def test_a_language_that_a_person_chose_stays_when_the_device_reports_another(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking(Accept_Language="en-US"), "10.0.0.1")
    chosen = await device_settings.change(fleet.store, DEVICE, DeviceChange(language="en-US"), fleet.clock())
    fleet.directory.apply(chosen)
    await provisioner.provision(asking(Accept_Language="de-DE"), "10.0.0.1")
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert known.language == "en-US"


async def test_whoever_has_another_client_id_than_before_waits_for_the_database(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking(), "10.0.0.1")
    async with fleet.store.write():
        answer = asyncio.create_task(provisioner.provision(asking("uuid-2"), "10.0.0.1"))
        known = await provisioner.provision(asking(), "10.0.0.1")
        assert known.mqtt is not None
        assert not answer.done()
    told = await answer
    assert told.activation is not None


@pytest.mark.databases("sqlite")
async def test_a_new_device_waits_for_a_locked_database_for_a_bounded_time(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "WRITE_WITHIN_S", 0.05)
    provisioner = fleet.provisioner()
    async with fleet.store.write():
        with pytest.raises(StoreError, match="is locked"):
            await provisioner.provision(asking(), "10.0.0.1")
    assert (await provisioner.provision(asking(), "10.0.0.1")).mqtt is not None


async def test_a_revoked_device_is_not_answered_from_memory(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking(), "10.0.0.1")
    await administration.revoke(fleet.store, DEVICE, fleet.clock())
    await fleet.directory.refresh()
    assert (await provisioner.provision(asking(), "10.0.0.1")).mqtt is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["Client-Id", "User-Agent", "Accept-Language", "Serial-Number", "Activation-Version"]
        ),
        st.text(max_size=200),
    ),
    body=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=10), inner),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    new_devices=st.sampled_from(["allow", "activate"]),
)
async def test_any_request_gets_an_answer_or_its_documented_error(
    fleet: Fleet, headers: dict[str, str], body: bytes, new_devices: str
) -> None:
    provisioner = fleet.provisioner(new_devices="allow" if new_devices == "allow" else "activate")
    try:
        response = await provisioner.provision(
            OtaRequest.from_http(headers | {"Device-Id": MAC}, body), "10.0.0.1"
        )
    except OtaError:
        return
    told = json.loads(response.to_json())
    assert ("mqtt" in told) != ("activation" in told)
    assert "server_time" in told


async def test_the_way_to_http_is_known_as_the_device_reached_ota(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(endpoints=Endpoints(mqtt_port=1883, udp_port=8884, http_port=8003))

    def origin() -> str:
        known = fleet.directory.get(DEVICE)
        assert known is not None
        return known.origin

    await provisioner.provision(asking(), "192.168.1.5")
    assert origin() == "http://192.168.1.5:8003"
    await provisioner.provision(asking(), "voice.example.org", origin="wss://voice.example.org")
    assert origin() == "https://voice.example.org"
    await provisioner.provision(asking("thief"), "10.6.6.6", origin="ws://10.6.6.6:80")
    assert origin() == "https://voice.example.org"


async def test_espressifs_client_is_known_as_such_over_a_restart(fleet: Fleet) -> None:
    headers = {"Device-Id": MAC, "Client-Id": "uuid-1", "User-Agent": "esp32s3"}
    asked = OtaRequest.from_http(headers, b'{"application": {"version": "2.6.0"}}')
    provisioner = fleet.provisioner()
    await provisioner.provision(asked, "192.168.1.5")
    known = fleet.directory.get(DEVICE)
    assert known is not None
    assert known.espressif
    await fleet.directory.aclose()
    async with fleet.store.read() as session:
        (row,) = await devices.list_all(session)
    assert row.espressif
    stock = OtaRequest.from_http(headers | {"User-Agent": "box/2.5.0"}, b"")
    await provisioner.provision(stock, "192.168.1.5")
    again = fleet.directory.get(DEVICE)
    assert again is not None
    assert not again.espressif


@pytest.mark.parametrize("is_public", [True, False])
async def test_espressifs_client_gets_mqtt_where_it_can_use_it(fleet: Fleet, is_public: bool) -> None:
    """It connects to port 8883 whatever it is told, knows public certificates alone, and takes the whole text
    for the host's name."""
    headers = {"Device-Id": MAC, "Client-Id": "uuid-1", "User-Agent": "esp32s3"}
    endpoints = Endpoints(mqtt_port=1883, mqtt_tls_port=8883, udp_port=8884, websocket_path="/xiaozhi/v1/")
    provisioner = fleet.provisioner(endpoints=endpoints, is_public=is_public)
    told = await provisioner.provision(OtaRequest.from_http(headers, b""), "voice.example.org")
    assert (told.mqtt is not None) == is_public
    assert (told.websocket is None) == is_public
    assert told.mqtt is None or told.mqtt.endpoint == "voice.example.org"
    stock = OtaRequest.from_http(headers | {"User-Agent": "box/2.5.0"}, b"")
    told = await provisioner.provision(stock, "voice.example.org")
    assert told.mqtt is not None
    assert told.mqtt.endpoint == "voice.example.org:1883"
