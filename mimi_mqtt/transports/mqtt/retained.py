"""Retained messages: those of the server about devices, and those of clients, bounded by account.

What the server publishes, such as devices' states, always has its place. A client's message counts to the
account that retained it last. Topics under `mimi` and all others are indexed apart, as subscriptions are.
"""

import heapq
from collections.abc import Sequence
from typing import Final, NamedTuple

from mimi_mqtt.shares import Amounts, Ledger, Places
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.filters import TopicIndex
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.wire.topics import ROOT, filter_within

SHARE: Final = "retained MQTT messages"
SETTING: Final = "shares.retained_messages_per_account"

_SPARE_ENTRIES: Final = 100


class Owner(NamedTuple):
    """The account that a retained message counts to; `known` when it has a user name."""

    account: str
    known: bool


class RetainedMessage(NamedTuple):
    """One retained message; `owner` is None for one of the server."""

    message: Message
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
        self._expiring: list[
            tuple[float, str]
        ] = []  # a heap; entries of messages that were replaced stay in it

    def __len__(self) -> int:
        return len(self._messages)

    def get(self, topic: str, now: float) -> Message | None:
        """The message on `topic`, unless it has expired."""
        kept = self._messages.get(topic)
        return None if kept is None or kept.message.expired(now) else kept.message

    def put(self, message: Message, owner: Owner | None, now: float) -> bool:
        """Keeps a message in place of the one before; an empty payload only ends that (section 3.3.1.3).

        False when it is not kept because its account has its share: the one before stays. When all places are
        taken the oldest message of the account with the most goes.
        """
        topic = message.topic
        if message.payload and owner is not None and not self._within_share(message, owner.account):
            self._ledger.refuse(SHARE, owner.account, now, setting=SETTING)
            return False
        self._remove(topic)
        if not message.payload:
            return True
        if owner is not None:
            self._make_room(message, owner, now)
        self._messages[topic] = RetainedMessage(message, owner)
        self._index(topic).add(topic)
        if message.expires_at is not None:
            self._note_expiry(message.expires_at, topic)
        return True

    def sweep(self, now: float) -> None:
        """Removes the messages that have expired (MQTT 5 section 3.3.2.3.3)."""
        while self._expiring and self._expiring[0][0] <= now:
            _, topic = heapq.heappop(self._expiring)
            kept = self._messages.get(topic)
            if kept is not None and kept.message.expired(now):
                self._remove(topic)

    def _note_expiry(self, expires_at: float, topic: str) -> None:
        if len(self._expiring) > 2 * len(self._messages) + _SPARE_ENTRIES:
            self._expiring = [
                (kept.message.expires_at, name)
                for name, kept in self._messages.items()
                if kept.message.expires_at is not None and name != topic
            ]
            heapq.heapify(self._expiring)
        heapq.heappush(self._expiring, (expires_at, topic))

    def candidates(self, topic_filter: str, *, fleet: bool) -> Sequence[str]:
        """The topics that may match the filter; those under `mimi` only with `fleet`."""
        first = topic_filter.partition("/")[0]
        if first == ROOT:
            return self._fleet.candidates(topic_filter) if fleet else ()
        house = self._house.candidates(topic_filter)
        if not fleet or first not in ("+", "#"):
            return house
        return [*self._fleet.candidates(topic_filter), *house]

    def _within_share(self, message: Message, account: str) -> bool:
        """True when `message`, in place of the one before, is within the share of `account`."""
        before = self._messages.get(message.topic)
        own = before is not None and before.owner is not None and before.owner.account == account
        freed = before.message.size if before is not None and own else 0
        within = self._places.held_by(account) - own < self._places.each
        return within and self._bytes.fits(account, message.size, freed)

    def _make_room(self, message: Message, owner: Owner, now: float) -> None:
        """Takes a place for a message that is within its account's share."""
        account, known = owner
        self._bytes.add(account, message.size)
        leaving = self._places.enter(account, message.topic, known=known)
        if leaving is not None:
            gone = self._messages[leaving].owner
            if gone is not None:
                self._ledger.refuse(SHARE, gone.account, now, setting=SETTING)
            self._remove(leaving)

    def _remove(self, topic: str) -> None:
        kept = self._messages.pop(topic, None)
        if kept is None:
            return
        self._index(topic).discard(topic)
        if kept.owner is not None:
            self._places.leave(topic)
            self._bytes.remove(kept.owner.account, kept.message.size)

    def _index(self, topic: str) -> TopicIndex:
        return self._fleet if filter_within(topic, ROOT) else self._house
