"""Sessions of absent clients: one account can't push out another's."""

import pytest

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.shares import Ledger
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.client import Client
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.transports.mqtt.offline import OfflineSessions

ADMIN, GUEST = Identity(Role.ADMIN, "admin"), Identity(Role.ANONYMOUS, "")


def client(identity: Identity, account: str) -> Client:
    return Client("key", identity, account, OutgoingFlow(1000), expiry_s=100.0)


def test_one_accounts_sessions_push_out_its_own_oldest_only() -> None:
    """Before, the oldest session of all went: the administrator's."""
    sessions = OfflineSessions(3, Ledger())
    admin = client(ADMIN, "admin")
    assert sessions.enter(admin, 0.0) is None
    guests = [client(GUEST, "guest") for _ in range(5)]
    assert [sessions.enter(guest, 0.0) for guest in guests] == [None, None, None, guests[0], guests[1]]
    assert len(sessions) == 4


def test_many_accounts_without_a_user_name_do_not_push_out_the_administrator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_OFFLINE_SESSIONS", 4)
    sessions = OfflineSessions(3, Ledger())
    admin = client(ADMIN, "admin")
    sessions.enter(admin, 0.0)
    gone = [sessions.enter(client(GUEST, f"guest {number}"), 0.0) for number in range(9)]
    assert admin not in gone
    assert len(sessions) == 3, "half of the places are for accounts with a user name"


def test_a_client_that_comes_back_has_no_place_and_the_each_session_expires_at_its_own_time() -> None:
    sessions = OfflineSessions(3, Ledger())
    first, second, third = (client(ADMIN, "admin") for _ in range(3))
    for left_at, each in enumerate((first, second, third)):
        each.left_at = float(left_at)
        sessions.enter(each, 0.0)
    sessions.leave(second)
    sessions.leave(second)
    assert list(sessions.expired(100.5)) == [first]
    assert list(sessions.expired(109.0)) == [first, third]
