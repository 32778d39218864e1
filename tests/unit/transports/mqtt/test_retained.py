"""Retained messages: bounded by account, and the server's own never kept out."""

import pytest

from mimi_mqtt.shares import Ledger
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.retained import Owner, RetainedMessages

GUEST, OTHER, ADMIN = Owner("guest", False), Owner("other", False), Owner("admin", True)


def test_one_account_has_its_share_and_others_can_still_retain() -> None:
    """Before, one account's messages filled the store for everybody."""
    store = RetainedMessages(2, Ledger())
    assert [store.put(Message(f"r/{number}", b"x"), GUEST, 0.0) for number in range(3)] == [True, True, False]
    assert store.put(Message("r/0", b"changed"), GUEST, 0.0), "an own one may be replaced"
    assert store.put(Message("o/0", b"x"), OTHER, 0.0)
    assert store.put(Message("r/1", b""), GUEST, 0.0)
    assert store.put(Message("r/2", b"x"), GUEST, 0.0)


def test_when_all_places_are_taken_the_oldest_of_whoever_has_most_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED", 8)
    store = RetainedMessages(4, Ledger())
    for number in range(3):
        store.put(Message(f"r/{number}", b"x"), GUEST, 0.0)
    store.put(Message("o/0", b"x"), OTHER, 0.0)
    store.put(Message("o/1", b"x"), OTHER, 0.0)
    assert store.get("r/0", 0.0) is None, "half of the places are for accounts with a user name"
    assert len(store) == 4
    for number in range(4):
        assert store.put(Message(f"a/{number}", b"x"), ADMIN, 0.0)
    assert len(store) == 8


def test_bytes_of_one_account_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED_BYTES", 400)
    store = RetainedMessages(10, Ledger())
    assert store.put(Message("r", b"x" * 99), GUEST, 0.0)
    assert not store.put(Message("s", b"x"), GUEST, 0.0)
    assert store.put(Message("o", b"x" * 90), OTHER, 0.0)
    store.put(Message("r", b""), GUEST, 0.0)
    assert store.put(Message("s", b"x"), GUEST, 0.0)


def test_a_message_that_is_not_kept_leaves_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED_BYTES", 400)
    store = RetainedMessages(2, Ledger())
    before = [Message("r/0", b"x" * 50), Message("o/0", b"x"), Message("r/1", b"x")]
    for message, owner in zip(before, (GUEST, OTHER, GUEST), strict=True):
        assert store.put(message, owner, 0.0)
    assert not store.put(Message("r/0", b"y" * 98), GUEST, 0.0), "too many bytes"
    assert not store.put(Message("o/0", b"y"), GUEST, 0.0), "too many messages"
    assert [store.get(message.topic, 0.0) for message in before] == before
    assert list(store.candidates("#", fleet=False)) == ["r/0", "o/0", "r/1"]
    assert store.put(Message("o/0", b""), GUEST, 0.0), "a removal takes no room"
    assert store.put(Message("r/0", b"y" * 92), GUEST, 0.0), "it gives back what it takes the place of"
    assert [message.topic for message in before if store.get(message.topic, 0.0) is None] == ["o/0"]


def test_messages_of_the_server_always_have_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED", 2)
    store = RetainedMessages(1, Ledger())
    store.put(Message("r", b"x"), GUEST, 0.0)
    for number in range(10):
        assert store.put(Message(f"mimi/devices/{number}/state", b"{}"), None, 0.0)
    assert len(store) == 11


def test_a_client_that_may_not_read_devices_states_does_not_look_at_them() -> None:
    store = RetainedMessages(5, Ledger())
    store.put(Message("mimi/devices/x/state", b"{}"), None, 0.0)
    store.put(Message("house/door", b"open"), GUEST, 0.0)
    assert list(store.candidates("#", fleet=False)) == ["house/door"]
    assert set(store.candidates("#", fleet=True)) == {"mimi/devices/x/state", "house/door"}
    assert list(store.candidates("mimi/+/+/state", fleet=True)) == ["mimi/devices/x/state"]
    assert list(store.candidates("mimi/#", fleet=False)) == []


def test_messages_that_expired_are_not_found_and_removed_by_the_sweep() -> None:
    store = RetainedMessages(5, Ledger())
    for number, expires_at in enumerate((10.0, 20.0, None)):
        store.put(Message(f"r/{number}", b"x", expires_at=expires_at), GUEST, 0.0)
    assert store.get("r/0", 9.9) is not None
    assert store.get("r/0", 10.0) is None
    store.sweep(10.0)
    assert len(store) == 2
    assert list(store.candidates("#", fleet=True)) == ["r/1", "r/2"]
    store.put(Message("r/1", b"later", expires_at=30.0), GUEST, 11.0)
    store.sweep(25.0)
    assert store.get("r/1", 25.0) is not None, "the one that was replaced is not what expires"


def test_replacing_an_expiring_message_for_ever_grows_nothing() -> None:
    store = RetainedMessages(5, Ledger())
    for number in range(2_000):
        store.put(Message("r", b"x", expires_at=1e9 + number), GUEST, 0.0)
    assert len(store._expiring) < 200
    store.sweep(2e9)
    assert len(store) == 0


def test_properties_count_to_the_accounts_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED_BYTES", 400)
    store = RetainedMessages(10, Ledger())
    assert not store.put(Message("r", b"x", travelling=bytes(99)), GUEST, 0.0)
    assert store.put(Message("r", b"x", travelling=bytes(90)), GUEST, 0.0)
