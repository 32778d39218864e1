"""Subscriptions of all general clients: who receives a topic, and how many filters an account may have.

There are two trees: one for topics under `mimi` and one for all others. A client without a user name, who may
not read `mimi/#`, is only in the latter, so a device's messages never visit its filters.
"""

from collections.abc import Iterator

from mimi_mqtt.fleet.identity import Role
from mimi_mqtt.shares import Amounts
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.client import Client
from mimi_mqtt.transports.mqtt.filters import FilterTree
from mimi_mqtt.wire.topics import ROOT

_UNDER_ROOT = f"{ROOT}/"
_LEVELS_OF_ONE = 4
"""Levels that a filter has for each time it counts: its memory, and the nodes a message visits, grow so."""
_REMOVED_AT_ONCE = 20


class Subscriptions:
    """The subscriptions; `each` is the number of filters of one account, whatever its connections."""

    def __init__(self, each: int) -> None:
        self._fleet: FilterTree[Client] = FilterTree()
        self._house: FilterTree[Client] = FilterTree()
        self._amounts = Amounts(limits.MAX_SUBSCRIPTIONS, each)
        self._ended = 0  # clients that are gone, whose filters are being removed

    def __len__(self) -> int:
        """Different filters, those with a wildcard at the first level in both trees."""
        return self._fleet.size + self._house.size

    def held_by(self, account: str) -> int:
        """Count of the account's filters: once for every four levels begun."""
        return self._amounts.held_by(account)

    def add(self, client: Client, topic_filter: str, qos: int) -> bool:
        """Adds or changes a subscription; False when the account has its share."""
        if topic_filter not in client.filters:
            if not self._amounts.add(client.account, _weight(topic_filter)):
                return False
            client.filters.add(topic_filter)
        for tree in self._trees(client, topic_filter):
            tree.add(topic_filter, client, qos)
        return True

    def remove(self, client: Client, topic_filter: str) -> None:
        """Ends a subscription, if there is one."""
        if topic_filter in client.filters:
            client.filters.discard(topic_filter)
            self._amounts.remove(client.account, _weight(topic_filter))
            self._drop(client, topic_filter)

    def move(self, client: Client, account: str) -> None:
        """Makes `account` the one that the client's subscriptions count to, if it has room for them."""
        weight = sum(map(_weight, client.filters))
        if account == client.account or (weight and not self._amounts.add(account, weight)):
            return
        if weight:
            self._amounts.remove(client.account, weight)
        client.account = account

    def end(self, client: Client) -> Iterator[None]:
        """Ends all subscriptions of a client that is gone, in steps; its account has its share back at
        once."""
        filters, client.filters = client.filters, set()
        self._ended += 1
        if filters:
            self._amounts.remove(client.account, sum(map(_weight, filters)))
        return self._drop_all(client, filters)

    def _drop_all(self, client: Client, filters: set[str]) -> Iterator[None]:
        for index, topic_filter in enumerate(filters):
            self._drop(client, topic_filter)
            if index % _REMOVED_AT_ONCE == 0:
                yield
        self._ended -= 1

    def receivers(self, topic: str) -> tuple[dict[Client, int], int]:
        """Clients that subscribed to `topic` and may receive it, with the highest QoS granted, and the number
        of nodes that were visited."""
        # A client may read all that its filters match in its tree: `may_subscribe` holds a tester to its
        # device's topics, and a client that may not read `mimi/#` is in the other tree.
        tree = self._fleet if topic == ROOT or topic.startswith(_UNDER_ROOT) else self._house
        found, visited = tree.matching(topic)
        if self._ended:
            found = {client: qos for client, qos in found.items() if not client.gone}
        return found, visited

    def _trees(self, client: Client, topic_filter: str) -> tuple[FilterTree[Client], ...]:
        first = topic_filter.partition("/")[0]
        if first == ROOT:
            return (self._fleet,)
        if first in ("+", "#") and client.identity.role is not Role.ANONYMOUS:
            return (self._fleet, self._house)
        return (self._house,)

    def _drop(self, client: Client, topic_filter: str) -> None:
        for tree in self._trees(client, topic_filter):
            tree.remove(topic_filter, client)


def _weight(topic_filter: str) -> int:
    return 1 + topic_filter.count("/") // _LEVELS_OF_ONE
