"""Topic filters as a tree of levels, and topics by their first levels; pure.

Every message looks for its receivers: `FilterTree` follows the topic's levels through the filters' common
beginnings, so a message visits few nodes, whatever the number of filters, and a subscription is added and
removed in as many steps as its filter has levels. Every new subscription looks for retained messages:
`TopicIndex` names the topics that have to be compared with its filter.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

from mimi_mqtt.transports.mqtt.limits import MAX_FILTER_LEVELS

H = TypeVar("H", bound=Hashable)
V = TypeVar("V")

_FIRST_LEVELS: Final = 3
"""Levels of a topic that topics are sorted by: those of `mimi/devices/<id>`."""


class _Node(Generic[H, V]):
    __slots__ = ("children", "holders")

    def __init__(self) -> None:
        self.children: dict[str, _Node[H, V]] = {}
        self.holders: dict[H, V] = {}


class FilterTree(Generic[H, V]):
    """Subscriptions: filters that are valid (MQTT 3.1.1 section 4.7.1) and have at most MAX_FILTER_LEVELS,
    each with its holders and what each of them asked for.

    `merge` makes one of two that a holder has for the same topic.
    """

    __slots__ = ("_merge", "_root", "size")

    def __init__(self, merge: Callable[[V, V], V]) -> None:
        self._merge = merge
        self._root: _Node[H, V] = _Node()
        self.size = 0
        """Different filters."""

    def add(self, topic_filter: str, holder: H, value: V) -> None:
        """Adds a subscription, or changes it."""
        node = self._root
        for level in topic_filter.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        self.size += not node.holders
        node.holders[holder] = value

    def remove(self, topic_filter: str, holder: H) -> None:
        """Removes a subscription, if it is there, with the nodes that only it needed."""
        levels = topic_filter.split("/")
        path = [self._root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return
            path.append(child)
        holders = path[-1].holders
        if holder not in holders:
            return
        del holders[holder]
        if holders:
            return
        self.size -= 1
        for parent, level, node in zip(reversed(path[:-1]), reversed(levels), reversed(path), strict=False):
            if node.holders or node.children:
                return
            del parent.children[level]

    def matching(self, topic: str) -> tuple[dict[H, V], int]:
        """The holders of filters that match `topic` (section 4.7), each with what it asked for, and the
        number of nodes that were visited."""
        found: dict[H, V] = {}
        nodes = [self._root]
        visited = 1
        wildcards = topic[:1] != "$"  # section 4.7.2: none at the first level matches `$SYS`
        for level in topic.split("/", MAX_FILTER_LEVELS):
            following: list[_Node[H, V]] = []
            for node in nodes:
                children = node.children
                if wildcards:
                    if "#" in children:
                        self._take(found, children["#"].holders)
                    if "+" in children:
                        following.append(children["+"])
                if level in children:
                    following.append(children[level])
            if not following:
                return found, visited
            visited += len(following)
            nodes = following
            wildcards = True
        for node in nodes:
            if node.holders:
                self._take(found, node.holders)
            if "#" in node.children:  # `sport/#` matches `sport` (section 4.7.1.2)
                self._take(found, node.children["#"].holders)
        return found, visited

    def _take(self, found: dict[H, V], holders: dict[H, V]) -> None:
        if not found:
            found.update(holders)
            return
        for holder, value in holders.items():
            found[holder] = self._merge(found[holder], value) if holder in found else value


class TopicIndex:
    """A set of topics, in the order in which they were added."""

    __slots__ = ("_topics",)

    def __init__(self) -> None:
        self._topics: dict[str, dict[str, None]] = {}  # by their first levels

    def add(self, topic: str) -> None:
        """Adds a topic; nothing happens when it is there."""
        self._topics.setdefault(_first_levels(topic), {})[topic] = None

    def discard(self, topic: str) -> None:
        """Removes a topic, if it is there."""
        key = _first_levels(topic)
        if key in self._topics:
            self._topics[key].pop(topic, None)
            if not self._topics[key]:
                del self._topics[key]

    def candidates(self, topic_filter: str) -> Sequence[str]:
        """The topics that `topic_filter` may match; no other one does."""
        key = _first_levels(topic_filter)
        if "+" not in topic_filter and "#" not in topic_filter:
            return (topic_filter,) if topic_filter in self._topics.get(key, ()) else ()
        if key:
            return tuple(self._topics.get(key, ()))
        return [topic for part in self._topics.values() for topic in part]


def _first_levels(topic: str) -> str:
    """The first levels of a topic or filter; empty where it has fewer, or wildcards among them."""
    levels = topic.split("/", _FIRST_LEVELS)[:_FIRST_LEVELS]
    first = "/".join(levels)
    wild = "+" in first or "#" in first
    return first if len(levels) == _FIRST_LEVELS and not wild else ""
