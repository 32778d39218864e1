"""Retained messages: those of the server about devices, and those of clients, bounded by account.

What the server publishes, such as devices' states, always has its place. A client's message counts to the
account that retained it last. Topics under `mimi` and all others are indexed apart, as subscriptions are.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from mimi_mqtt.shares import Amounts, Ledger, Places
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.filters import TopicIndex
from mimi_mqtt.wire.topics import ROOT, filter_within

SHARE: Final = "retained MQTT messages"
SETTING: Final = "shares.retained_messages_per_account"


class Owner(NamedTuple):
    """The account that a retained message counts to; `known` when it has a user name."""

    account: str
    known: bool


class RetainedMessage(NamedTuple):
    """One retained message; `owner` is None for one of the server."""

    payload: bytes
    qos: int
    owner: Owner | None


class RetainedMessages:
    """The retained messages by topic; `each` is the number of one account's."""

    def __init__(self, each: int, ledger: Ledger) -> None:
        self._ledger = ledger
        self._messages: dict[str, RetainedMessage] = {}
        self._fleet = TopicIndex()
        self._house = TopicIndex()
        total = limits.MAX_RETAINED
        self._places: Places[str] = Places(total, each, reserve=total // 2)
        self._bytes = Amounts(limits.MAX_RETAINED_BYTES, limits.MAX_RETAINED_BYTES // 4)

    def __len__(self) -> int:
        return len(self._messages)

    def get(self, topic: str) -> RetainedMessage | None:
        """The message on `topic`."""
        return self._messages.get(topic)

    def put(self, topic: str, payload: bytes, qos: int, owner: Owner | None, now: float) -> bool:
        """Keeps a message in place of the one before; an empty payload only ends that (section 3.3.1.3).

        False when it is not kept because its account has its share. When all places are taken the oldest
        message of the account with the most goes.
        """
        self._remove(topic)
        if not payload:
            return True
        if owner is not None and not self._make_room(topic, payload, owner, now):
            return False
        self._messages[topic] = RetainedMessage(payload, qos, owner)
        self._index(topic).add(topic)
        return True

    def candidates(self, topic_filter: str, *, fleet: bool) -> Sequence[str]:
        """The topics that may match the filter; those under `mimi` only with `fleet`."""
        first = topic_filter.partition("/")[0]
        if first == ROOT:
            return self._fleet.candidates(topic_filter) if fleet else ()
        house = self._house.candidates(topic_filter)
        if not fleet or first not in ("+", "#"):
            return house
        return [*self._fleet.candidates(topic_filter), *house]

    def _make_room(self, topic: str, payload: bytes, owner: Owner, now: float) -> bool:
        account, known = owner
        if self._places.held_by(account) >= self._places.each or not self._bytes.add(
            account, _size(topic, payload)
        ):
            self._ledger.refuse(SHARE, account, now, setting=SETTING)
            return False
        leaving = self._places.enter(account, topic, known=known)
        if leaving is not None:
            gone = self._messages[leaving].owner
            if gone is not None:
                self._ledger.refuse(SHARE, gone.account, now, setting=SETTING)
            self._remove(leaving)
        return True

    def _remove(self, topic: str) -> None:
        message = self._messages.pop(topic, None)
        if message is None:
            return
        self._index(topic).discard(topic)
        if message.owner is not None:
            self._places.leave(topic)
            self._bytes.remove(message.owner.account, _size(topic, message.payload))

    def _index(self, topic: str) -> TopicIndex:
        return self._fleet if filter_within(topic, ROOT) else self._house


def _size(topic: str, payload: bytes) -> int:
    return len(topic) + len(payload)
