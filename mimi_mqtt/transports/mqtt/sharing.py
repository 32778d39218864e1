"""Shared subscriptions (MQTT 5 section 4.8.2): groups of clients of which one receives each message.

A group belongs to one user: whoever else uses its name has a group of its own, and takes no message away from
it. Clients of MQTT 3.1.1 may be members too.
"""

from collections import OrderedDict
from itertools import islice
from typing import NamedTuple

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.transports.mqtt.client import Client, Subscription
from mimi_mqtt.transports.mqtt.limits import LOOKED_AT_IN_A_GROUP


class GroupKey(NamedTuple):
    """The name of a group: whose it is, what it is called, and the topics it is for."""

    role: Role
    username: str
    name: str
    topic_filter: str

    @classmethod
    def of(cls, identity: Identity, name: str, topic_filter: str) -> "GroupKey":
        """The group that `identity` means with `$share/<name>/<topic_filter>`."""
        return cls(identity.role, identity.username, name, topic_filter)


class Group:
    """The members of one shared subscription, those that are connected and those that are away."""

    __slots__ = ("_away", "_present", "key")

    def __init__(self, key: GroupKey) -> None:
        self.key = key
        self._present: OrderedDict[Client, Subscription] = OrderedDict()  # whose turn it is next first
        self._away: OrderedDict[Client, Subscription] = OrderedDict()

    def __len__(self) -> int:
        return len(self._present) + len(self._away)

    def join(self, client: Client, subscription: Subscription) -> None:
        """Adds a member, or changes its subscription; its turn stays."""
        (self._away if client.link is None else self._present)[client] = subscription

    def leave(self, client: Client) -> None:
        """Removes a member."""
        self._present.pop(client, None)
        self._away.pop(client, None)

    def moved(self, client: Client) -> None:
        """Notes that a member came or went: `client.link` tells."""
        subscription = self._present.pop(client, None) or self._away.pop(client, None)
        if subscription is not None:
            self.join(client, subscription)

    def next(self) -> tuple[Client, Subscription] | None:
        """The member whose turn it is, with its subscription: one that can be sent a message at once before
        one that is busy, and one that is away, whose session keeps the message, only when all are."""
        chosen = None
        for client in islice(self._present, LOOKED_AT_IN_A_GROUP):
            if client.flow.ready:
                chosen = client
                break
        members = self._present or self._away
        if chosen is None:
            chosen = next(iter(members), None)
        if chosen is None:
            return None
        members.move_to_end(chosen)
        return chosen, members[chosen]
