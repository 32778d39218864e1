"""Subscriptions of all general clients: who receives a topic, and how many filters an account may have.

There are two trees: one for topics under `mimi` and one for all others. A client without a user name, who may
not read `mimi/#`, is only in the latter, so a device's messages never visit its filters. Groups of shared
subscriptions have trees of their own, so that they cost nothing where there are none.
"""

from collections.abc import Iterator
from typing import NamedTuple

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.shares import Amounts
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.client import Client, Subscription
from mimi_mqtt.transports.mqtt.filters import FilterTree
from mimi_mqtt.transports.mqtt.sharing import Group, GroupKey
from mimi_mqtt.wire.topics import ROOT, filter_matches, split_share

_UNDER_ROOT = f"{ROOT}/"
_LEVELS_OF_ONE = 4
"""Levels that a filter has for each time it counts: its memory, and the nodes a message visits, grow so."""
_REMOVED_AT_ONCE = 20

_Clients = FilterTree[Client, Subscription]
_Groups = FilterTree[Group, None]


class Receivers(NamedTuple):
    """Receivers of a message: by their own subscriptions, and for each group its member whose turn it is.

    `visited` is the number of nodes, groups and filters that were looked at.
    """

    clients: dict[Client, Subscription]
    shared: list[tuple[Client, Subscription, Group]]
    visited: int

    def __len__(self) -> int:
        return len(self.clients) + len(self.shared)


class Subscriptions:
    """The subscriptions; `each` is the number of filters of one account, whatever its connections."""

    def __init__(self, each: int) -> None:
        self._fleet: _Clients = FilterTree(Subscription.merged)
        self._house: _Clients = FilterTree(Subscription.merged)
        self._fleet_groups: _Groups = FilterTree(_first)
        self._house_groups: _Groups = FilterTree(_first)
        self._groups: dict[GroupKey, Group] = {}
        self._amounts = Amounts(limits.MAX_SUBSCRIPTIONS, each)
        self._ended = 0  # clients that are gone, whose filters are being removed

    def __len__(self) -> int:
        """Different filters, those with a wildcard at the first level in both trees."""
        groups = self._fleet_groups.size + self._house_groups.size
        return self._fleet.size + self._house.size + groups

    def held_by(self, account: str) -> int:
        """Count of the account's filters: once for every four levels begun."""
        return self._amounts.held_by(account)

    def add(self, client: Client, topic_filter: str, subscription: Subscription) -> bool:
        """Adds or changes a subscription; False when the account has its share."""
        if topic_filter not in client.subscriptions and not self._amounts.add(
            client.account, _weight(topic_filter)
        ):
            return False
        client.subscriptions[topic_filter] = subscription
        client.any_no_local = client.any_no_local or subscription.no_local
        name, within = split_share(topic_filter)
        if name is None:
            for tree in self._trees(client.identity, within):
                tree.add(within, client, subscription)
            return True
        key = GroupKey.of(client.identity, name, within)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(key)
            for groups in self._group_trees(client.identity, within):
                groups.add(within, group, None)
        group.join(client, subscription)
        return True

    def remove(self, client: Client, topic_filter: str) -> bool:
        """Ends a subscription; False when there is none."""
        if client.subscriptions.pop(topic_filter, None) is None:
            return False
        self._amounts.remove(client.account, _weight(topic_filter))
        self._drop(client, topic_filter)
        return True

    def move(self, client: Client, account: str) -> None:
        """Makes `account` the one that the client's subscriptions count to, if it has room for them."""
        weight = sum(map(_weight, client.subscriptions))
        if account == client.account or (weight and not self._amounts.add(account, weight)):
            return
        if weight:
            self._amounts.remove(client.account, weight)
        client.account = account

    def came_or_went(self, client: Client) -> None:
        """Notes in its groups that a client got a connection or lost it."""
        if not self._groups:
            return
        for topic_filter in client.subscriptions:
            group = self._group_of(client, topic_filter)
            if group is not None:
                group.moved(client)

    def end(self, client: Client) -> Iterator[None]:
        """Ends all subscriptions of a client that is gone, in steps; its account has its share back, and its
        groups are without it, at once."""
        filters, client.subscriptions = [*client.subscriptions], {}
        self._ended += 1
        if filters:
            self._amounts.remove(client.account, sum(map(_weight, filters)))
        if self._groups:
            for topic_filter in filters:
                group = self._group_of(client, topic_filter)
                if group is not None:
                    group.leave(client)
        return self._drop_all(client, filters)

    def _drop_all(self, client: Client, filters: list[str]) -> Iterator[None]:
        for index, topic_filter in enumerate(filters):
            self._drop(client, topic_filter)
            if index % _REMOVED_AT_ONCE == 0:
                yield
        self._ended -= 1

    def receivers(self, topic: str, publisher: Client | None = None) -> Receivers:
        """Clients that subscribed to `topic` and may receive it; not the `publisher` by a subscription with
        No Local (MQTT 5 section 3.8.3.1)."""
        # A client may read all that its filters match in its tree: `may_subscribe` holds a tester to its
        # device's topics, and a client that may not read `mimi/#` is in the other tree.
        under_root = topic == ROOT or topic.startswith(_UNDER_ROOT)
        found, visited = (self._fleet if under_root else self._house).matching(topic)
        if self._ended:
            found = {client: asked for client, asked in found.items() if not client.gone}
        if publisher is not None and publisher.any_no_local and publisher in found:
            _leave_out_no_local(found, publisher, topic)
            visited += len(publisher.subscriptions)
        if not self._groups:
            return Receivers(found, [], visited)
        groups, more = (self._fleet_groups if under_root else self._house_groups).matching(topic)
        shared = [(*chosen, group) for group in groups if (chosen := group.next()) is not None]
        return Receivers(found, shared, visited + more + len(groups))

    def _trees(self, identity: Identity, topic_filter: str) -> tuple[_Clients, ...]:
        fleet, house = _reach(identity, topic_filter)
        return (*((self._fleet,) if fleet else ()), *((self._house,) if house else ()))

    def _group_trees(self, identity: Identity, topic_filter: str) -> tuple[_Groups, ...]:
        fleet, house = _reach(identity, topic_filter)
        return (*((self._fleet_groups,) if fleet else ()), *((self._house_groups,) if house else ()))

    def _group_of(self, client: Client, topic_filter: str) -> Group | None:
        name, within = split_share(topic_filter)
        return None if name is None else self._groups.get(GroupKey.of(client.identity, name, within))

    def _drop(self, client: Client, topic_filter: str) -> None:
        name, within = split_share(topic_filter)
        if name is None:
            for tree in self._trees(client.identity, within):
                tree.remove(within, client)
            return
        group = self._group_of(client, topic_filter)
        if group is None:
            return
        group.leave(client)
        if not len(group):
            del self._groups[group.key]
            for groups in self._group_trees(client.identity, within):
                groups.remove(within, group)


def _reach(identity: Identity, topic_filter: str) -> tuple[bool, bool]:
    """Two answers: True when the filter can match topics under `mimi` that `identity` may read, and True
    when it can match others."""
    first = topic_filter.partition("/")[0]
    if first == ROOT:
        return True, False
    return first in ("+", "#") and identity.role is not Role.ANONYMOUS, True


def _leave_out_no_local(found: dict[Client, Subscription], publisher: Client, topic: str) -> None:
    """Leaves out the publisher's own subscriptions with No Local, and the publisher when it has no other."""
    others = [
        asked
        for topic_filter, asked in publisher.subscriptions.items()
        if not asked.no_local and filter_matches(topic_filter, topic)
    ]
    if not others:
        del found[publisher]
        return
    merged = others[0]
    for asked in others[1:]:
        merged = merged.merged(asked)
    found[publisher] = merged


def _first(one: None, other: None) -> None:
    del one, other


def _weight(topic_filter: str) -> int:
    return 1 + topic_filter.count("/") // _LEVELS_OF_ONE
