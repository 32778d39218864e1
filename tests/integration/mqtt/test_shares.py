"""Shares of the broker's connections: one address or account can't keep the others out."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from mimi_mqtt.config import AccountSettings, SharesSettings
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.identity import Identity
from mimi_mqtt.passwords import hash_password
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.wire.mqtt import PINGREQ, PINGRESP, encode_connack, encode_connect
from tests.integration.mqtt.conftest import DEVICE, OTHER, FakeAccounts, Running, StartServer
from tests.integration.mqtt.raw import PATIENCE_S, trusting_context

STRANGER = "127.0.0.9"
ELSEWHERE = "127.0.0.10"
SERVER_UNAVAILABLE = 3


async def in_as_device(mqtt: Running, device_id: str = DEVICE, source: str | None = None) -> bool:
    client = await mqtt.open(source=source)
    password = {DEVICE: "right", OTHER: "other"}[device_id]
    return await client.connack_if_any(device_id, device_id, password) == 0


async def test_silent_sockets_of_one_address_leave_room_for_others(start_server: StartServer) -> None:
    """Before, the first `max_pending_connects` sockets kept everybody out until their time was over."""
    mqtt = await start_server(max_pending_connects=40, shares={"pending_connects_per_address": 30})
    for _ in range(60):
        await mqtt.open(source=STRANGER)
    await mqtt.until(lambda: mqtt.server.counters.refused["too_many_pending"] == 60 - 20)
    assert mqtt.server.counters.pending == 20, "half of the places are for addresses of devices"
    assert await in_as_device(mqtt)
    assert mqtt.server.counters.refused["timeout"] == 0


async def test_silent_sockets_of_many_addresses_leave_room_for_others(start_server: StartServer) -> None:
    mqtt = await start_server(max_pending_connects=8)
    for number in range(12):
        await mqtt.open(source=f"127.0.1.{number + 1}")
    await mqtt.until(lambda: mqtt.server.counters.refused["too_many_pending"] == 12 - 4)
    assert await in_as_device(mqtt)
    assert await in_as_device(mqtt, OTHER, ELSEWHERE)


async def test_first_of_many_devices_behind_one_router_are_let_in(start_server: StartServer) -> None:
    """When an address has its share, its newest goes for a second, then its oldest."""
    mqtt = await start_server(shares={"pending_connects_per_address": 2})
    first, second = await mqtt.open(), await mqtt.open()
    await mqtt.until(lambda: mqtt.server.counters.pending == 2)
    assert await (await mqtt.open()).closed() == []
    mqtt.clock.now += limits.YOUNG_CONNECT_S
    third = await mqtt.open()
    assert await first.closed() == []
    assert await second.connack(DEVICE, DEVICE, "right") == 0
    assert await third.connack(OTHER, OTHER, "other") == 0


async def test_account_has_its_share_of_connections(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"connections_per_account": 3})
    for number in range(3):
        await mqtt.connect(f"desk {number}", "admin")
        await mqtt.connect(f"tester {number}", DEVICE)
        anonymous = await mqtt.open(source=STRANGER)
        assert await anonymous.connack(f"anonymous {number}") == 0
    for client_id, user, password, source in (
        ("desk 3", "admin", "admin password", None),
        ("tester 3", DEVICE, "right", None),
        ("anonymous 3", None, None, STRANGER),
    ):
        client = await mqtt.open(source=source)
        assert await client.connack(client_id, user, password) == SERVER_UNAVAILABLE
    assert mqtt.server.counters.refused["share"] == 3
    # Others have theirs, a client that comes back takes over, and a device is not a tester of itself.
    await mqtt.connect("tester", OTHER)
    assert await (await mqtt.open(source=ELSEWHERE)).connack("anonymous") == 0
    await mqtt.connect("desk 1", "admin")
    assert await in_as_device(mqtt)


async def test_share_is_free_again_when_a_connection_ends(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"connections_per_account": 1})
    only = await mqtt.admin("one")
    await only.close()
    await mqtt.until(lambda: mqtt.server.connections["general"] == 0)
    await mqtt.admin("two")


async def test_others_leave_connections_for_devices_and_the_administrator(start_server: StartServer) -> None:
    mqtt = await start_server(max_connections=8, shares={"device_reserve_percent": 50})
    anonymous = [await mqtt.connect(f"anonymous {number}") for number in range(2)]
    assert await (await mqtt.open()).connack("anonymous 2") == SERVER_UNAVAILABLE
    testers = [await mqtt.connect(f"tester {number}", DEVICE) for number in range(2)]
    assert await (await mqtt.open()).connack("tester 2", DEVICE, "right") == SERVER_UNAVAILABLE
    assert await in_as_device(mqtt)
    assert await in_as_device(mqtt, OTHER)
    await mqtt.admin()
    assert len(anonymous + testers) == 4


async def test_account_that_connects_too_often_is_told_to_come_later(start_server: StartServer) -> None:
    mqtt = await start_server(shares={"connects_per_minute": 5})
    for _ in range(5):
        assert await in_as_device(mqtt)
        await mqtt.clients[-1].close()
        await mqtt.until(lambda: mqtt.server.connections["device"] == 0)
    late = await mqtt.open()
    assert await late.connack(DEVICE, DEVICE, "right") == SERVER_UNAVAILABLE
    assert await in_as_device(mqtt, OTHER)
    mqtt.clock.now += 12
    assert await in_as_device(mqtt)


async def test_device_that_takes_over_its_own_connection_too_often_is_told_to_come_later(
    start_server: StartServer,
) -> None:
    """Before, only connections to which there was no older one were counted."""
    mqtt = await start_server(shares={"connects_per_minute": 5})
    for _ in range(5):
        assert await in_as_device(mqtt)
    assert await (await mqtt.open()).connack(DEVICE, DEVICE, "right") == SERVER_UNAVAILABLE
    assert mqtt.server.connections["device"] == 1, "the connection it has goes on"
    assert await in_as_device(mqtt, OTHER)


async def test_address_whose_connections_fail_is_closed_at_once(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimi_mqtt.transports.mqtt.crowd.BAD_CONNECTIONS_AT_ONCE", 5.0)
    mqtt = await start_server()
    for _ in range(5):
        client = await mqtt.open(source=STRANGER)
        assert await client.connack("x", "nobody", "wrong") == 4
    assert await (await mqtt.open(source=STRANGER)).closed() == []
    assert mqtt.server.counters.refused["failing"] == 1
    assert await in_as_device(mqtt)
    mqtt.clock.now += 1
    client = await mqtt.open(source=STRANGER)
    assert await client.connack("x", "nobody", "wrong") == 4


async def test_address_of_a_device_is_spared(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimi_mqtt.transports.mqtt.crowd.BAD_CONNECTIONS_AT_ONCE", 5.0)
    mqtt = await start_server()
    assert await in_as_device(mqtt, DEVICE, STRANGER)
    for _ in range(8):
        client = await mqtt.open(source=STRANGER)
        assert await client.connack("x", "nobody", "wrong") == 4


class WithAccounts(FakeAccounts):
    """The fake devices, and an administrator whose password is checked as in the server."""

    def __init__(self, password: str, clock: Callable[[], float]) -> None:
        settings = AccountSettings(admin_password=SecretStr(password))
        self.accounts = Accounts(settings, SharesSettings(failed_logins=4), clock=clock)

    def authenticate(  # type: ignore[override]  # the fake devices never take long
        self, client_id: str, username: str | None, password: bytes | None, address: str
    ) -> "Identity | asyncio.Task[Identity | None] | None":
        if username == "admin":
            return self.accounts.log_in(password or b"", address)
        return super().authenticate(client_id, username, password, address)


@pytest.mark.parametrize("hashed", [False, True])
async def test_guesses_of_the_password_are_few_and_lock_nobody_else_out(
    start_server: StartServer, hashed: bool
) -> None:
    """12,800 guesses a second went through before."""
    right = "correct horse"
    accounts = WithAccounts(hash_password(right) if hashed else right, lambda: 1000.0)
    mqtt = await start_server(authenticator=accounts)
    codes = []
    for number in range(8):
        client = await mqtt.open(source=STRANGER)
        codes.append(await client.connack("x", "admin", right if number > 5 else f"guess {number}"))
    assert codes == [4] * 4 + [SERVER_UNAVAILABLE] * 4, "the right one isn't checked any more either"
    assert await (await mqtt.open(source=ELSEWHERE)).connack("x", "admin", right) == 0
    assert await in_as_device(mqtt, DEVICE, STRANGER)
    accounts.accounts.unlock()
    assert await (await mqtt.open(source=STRANGER)).connack("y", "admin", right) == 0
    accounts.accounts.close()


async def test_packets_behind_connect_wait_for_the_password_check(start_server: StartServer) -> None:
    accounts = WithAccounts(hash_password("correct horse"), lambda: 1000.0)
    mqtt = await start_server(authenticator=accounts)
    client = await mqtt.open()
    clients = [await mqtt.open() for _ in range(6)]
    # At once, so that none is recognised by the check of another: together they count as one attempt.
    codes = await asyncio.gather(
        *(other.connack(f"x {number}", "admin", "correct horse") for number, other in enumerate(clients))
    )
    assert codes == [0] * 6
    assert await client.connack("x", "admin", "correct horse") == 0
    assert await client.round_trip() == []
    accounts.accounts.close()


async def test_records_of_tls_behind_connect_wait_for_the_password_check(
    start_server: StartServer, certificates: Path
) -> None:
    """Before, those that were read together with CONNECT, in a record of their own, were lost."""
    accounts = WithAccounts(hash_password("correct horse"), lambda: 1000.0)
    mqtt = await start_server(
        authenticator=accounts,
        tls_certificate=certificates / "server.crt",
        tls_key=certificates / "server.key",
    )
    context = trusting_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    reader, writer = await asyncio.open_connection("127.0.0.1", mqtt.tls_port)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
            else:
                break
        for packet in (
            encode_connect("x", username="admin", password=b"correct horse"),
            PINGREQ,
            PINGREQ,
        ):
            tls.write(packet)  # a record each, sent together
        writer.write(outgoing.read())
        answers = b""
        while len(answers) < 8:
            try:
                answers += tls.read(100)
            except ssl.SSLWantReadError:
                incoming.write(await reader.read(65_536))
    assert answers == encode_connack(0) + 2 * PINGRESP
    writer.close()
    accounts.accounts.close()


async def test_connection_that_ends_while_its_password_is_checked_leaves_nothing(
    start_server: StartServer,
) -> None:
    accounts = WithAccounts(hash_password("correct horse"), lambda: 1000.0)
    mqtt = await start_server(authenticator=accounts)
    client = await mqtt.open()
    await client.send(encode_connect("x", username="admin", password=b"correct horse"))
    await mqtt.until(lambda: bool(accounts.accounts._checks))
    client.reset()
    await mqtt.until(lambda: mqtt.server.connections["sockets"] == 0)
    await mqtt.until(lambda: not accounts.accounts._checks)
    assert mqtt.server.counters.pending == 0
    await mqtt.until(lambda: mqtt.server.connections["general"] == 0)
    accounts.accounts.close()
