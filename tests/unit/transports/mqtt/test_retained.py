"""Retained messages: bounded by account, and the server's own never kept out."""

import pytest

from mimi_mqtt.shares import Ledger
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.retained import Owner, RetainedMessages

GUEST, OTHER, ADMIN = Owner("guest", False), Owner("other", False), Owner("admin", True)


def test_one_account_has_its_share_and_others_can_still_retain() -> None:
    """Before, one account's messages filled the store for everybody."""
    store = RetainedMessages(2, Ledger())
    assert [store.put(f"r/{number}", b"x", 0, GUEST, 0.0) for number in range(3)] == [True, True, False]
    assert store.put("r/0", b"changed", 0, GUEST, 0.0), "an own one may be replaced"
    assert store.put("o/0", b"x", 0, OTHER, 0.0)
    assert store.put("r/1", b"", 0, GUEST, 0.0)
    assert store.put("r/2", b"x", 0, GUEST, 0.0)


def test_when_all_places_are_taken_the_oldest_of_whoever_has_most_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED", 8)
    store = RetainedMessages(4, Ledger())
    for number in range(3):
        store.put(f"r/{number}", b"x", 0, GUEST, 0.0)
    store.put("o/0", b"x", 0, OTHER, 0.0)
    store.put("o/1", b"x", 0, OTHER, 0.0)
    assert store.get("r/0") is None, "half of the places are for accounts with a user name"
    assert len(store) == 4
    for number in range(4):
        assert store.put(f"a/{number}", b"x", 0, ADMIN, 0.0)
    assert len(store) == 8


def test_bytes_of_one_account_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED_BYTES", 400)
    store = RetainedMessages(10, Ledger())
    assert store.put("r", b"x" * 99, 0, GUEST, 0.0)
    assert not store.put("s", b"x", 0, GUEST, 0.0)
    assert store.put("o", b"x" * 90, 0, OTHER, 0.0)
    store.put("r", b"", 0, GUEST, 0.0)
    assert store.put("s", b"x", 0, GUEST, 0.0)


def test_messages_of_the_server_always_have_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RETAINED", 2)
    store = RetainedMessages(1, Ledger())
    store.put("r", b"x", 0, GUEST, 0.0)
    for number in range(10):
        assert store.put(f"mimi/devices/{number}/state", b"{}", 0, None, 0.0)
    assert len(store) == 11


def test_a_client_that_may_not_read_devices_states_does_not_look_at_them() -> None:
    store = RetainedMessages(5, Ledger())
    store.put("mimi/devices/x/state", b"{}", 0, None, 0.0)
    store.put("house/door", b"open", 0, GUEST, 0.0)
    assert list(store.candidates("#", fleet=False)) == ["house/door"]
    assert set(store.candidates("#", fleet=True)) == {"mimi/devices/x/state", "house/door"}
    assert list(store.candidates("mimi/+/+/state", fleet=True)) == ["mimi/devices/x/state"]
    assert list(store.candidates("mimi/#", fleet=False)) == []
