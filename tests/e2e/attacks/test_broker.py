"""Attacks on the broker, while devices talk: connections, guesses, filters and what is kept for clients."""

import pytest

from mimi_mqtt.wire.mqtt import parse_publish
from tests.e2e.attacks.scene import PASSWORD, Scene
from tests.integration.mqtt.raw import RawClient

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

ADMINISTRATORS = "127.0.0.20"
HOUSE = "127.0.0.21"


async def administrator(scene: Scene, source: str = ADMINISTRATORS, client_id: str = "keeper") -> RawClient:
    """The administrator's persistent session."""
    client = await RawClient.open(scene.server.mqtt, source=source)
    assert await client.connack(client_id, "admin", PASSWORD, clean_session=False) == 0
    return client


async def test_silent_connections_of_one_address_keep_no_new_device_out(scene: Scene) -> None:
    async def let_in() -> None:
        assert await scene.newcomers(16) == 16

    done = await scene.withstands("silent_mqtt", meanwhile=let_in)
    assert done.did["silent_mqtt"].opened + done.did["silent_mqtt"].refused >= 1_100


async def test_silent_connections_from_everywhere_keep_no_known_device_out(scene: Scene) -> None:
    done = await scene.withstands("silent_mqtt_everywhere")
    assert done.did["silent_mqtt_everywhere"].opened >= 300


async def test_clients_from_everywhere_keep_no_known_device_out_and_add_no_memory(scene: Scene) -> None:
    done = await scene.withstands("slots_everywhere")
    assert done.did["slots_everywhere"].opened + done.did["slots_everywhere"].refused >= 300


async def test_an_account_that_takes_all_connections_keeps_no_new_device_out(scene: Scene) -> None:
    async def let_in() -> None:
        assert await scene.newcomers(16) == 16

    done = await scene.withstands("slots", meanwhile=let_in)
    assert done.did["slots"].opened + done.did["slots"].refused >= 50


async def test_guesses_of_the_password_are_few_and_keep_the_administrator_in(scene: Scene) -> None:
    async def let_in() -> None:
        await (await administrator(scene)).close()

    done = await scene.withstands("guesses", "guesses_over_websocket", meanwhile=let_in)
    assert all(did.refused >= 20 for did in done.did.values()), done.did
    for network in done.networks:
        guesser = await RawClient.open(scene.server.mqtt, source=f"127.0.{network}.1")
        # Even the right password is not looked at any longer: no guess of this address can be the one.
        assert await guesser.connack_if_any("keeper", "admin", PASSWORD) != 0
        await guesser.close()


async def test_filters_of_one_account_slow_nobody_when_it_comes_and_when_it_goes(scene: Scene) -> None:
    done = await scene.withstands("subscriptions", "subscriptions_of_a_device")
    assert all(did.sent >= 500 for did in done.did.values()), done.did


async def test_messages_of_many_readers_and_writers_slow_no_device(scene: Scene) -> None:
    done = await scene.withstands("publishes")
    assert done.did["publishes"].sent >= 100


@pytest.mark.parametrize("attack", ["properties", "shared_groups"])
async def test_properties_and_groups_of_mqtt_5_slow_no_device(scene: Scene, attack: str) -> None:
    done = await scene.withstands(attack)
    assert done.did[attack].sent >= 100


async def test_sessions_of_an_account_push_out_nobody_elses_messages(scene: Scene) -> None:
    keeper = await administrator(scene)
    await keeper.subscribe(("house/door", 1))
    await keeper.close()
    house = await RawClient.open(scene.server.mqtt, source=HOUSE)
    assert await house.connack("house") == 0
    for number in range(20):
        await house.publish("house/door", b"%d" % number)
    await house.close()

    done = await scene.withstands("kept_sessions")
    assert done.did["kept_sessions"].opened >= 50
    keeper = await administrator(scene)
    assert keeper.session_present
    messages = [parse_publish(packet) for packet in await keeper.round_trip()]
    assert [message.payload for message in messages] == [b"%d" % number for number in range(20)]
    await keeper.close()


async def test_retained_messages_of_a_stranger_leave_room_for_others(scene: Scene) -> None:
    house = await RawClient.open(scene.server.mqtt, source=HOUSE)
    assert await house.connack("house") == 0
    await house.publish("house/before", b"before", retain=True)
    done = await scene.withstands("retained")
    assert done.did["retained"].sent >= 2_000
    await house.publish("house/after", b"after", retain=True)
    await house.close()
    reader = await RawClient.open(scene.server.mqtt, source=HOUSE)
    assert await reader.connack("reader") == 0
    await reader.subscribe(("house/before", 0), ("house/after", 0))
    told = [parse_publish(packet).payload for packet in await reader.round_trip()]
    assert sorted(told) == [b"after", b"before"]
    await reader.close()


@pytest.mark.parametrize("names", [("reconnects",), ("hellos", "turns")], ids="+".join)
async def test_storms_of_an_account_slow_nobody_and_are_logged_in_few_lines(
    scene: Scene, names: tuple[str, ...]
) -> None:
    done = await scene.withstands(*names)
    assert all(did.opened + did.refused + did.sent >= 100 for did in done.did.values()), done.did
