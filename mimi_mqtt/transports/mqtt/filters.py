"""Indexes of topic filters and of topics, so that few of them are compared with each other; pure.

Anybody who may subscribe can have hundreds of filters, every message of every device looks for its receivers,
and every new subscription for retained messages, of which each device has one. A filter without wildcards is
found by its topic, one that begins with the levels of a device's topics (`mimi/devices/<id>/#`) by these;
only the others are compared with every topic.
"""

from collections.abc import Iterator

from mimi_mqtt.wire.topics import filter_matches

_LEVELS = 3
"""Levels of a topic that filters are sorted by."""


class FilterIndex:
    """A set of topic filters that are valid (MQTT 3.1.1 section 4.7.1)."""

    __slots__ = ("_exact", "_with_wildcards")

    def __init__(self) -> None:
        self._exact: set[str] = set()
        self._with_wildcards: dict[str, set[str]] = {}  # by their first levels; "": those have wildcards

    def add(self, topic_filter: str) -> None:
        """Adds a filter; nothing happens when it is there."""
        if _has_wildcards(topic_filter):
            self._with_wildcards.setdefault(_first_levels(topic_filter), set()).add(topic_filter)
        else:
            self._exact.add(topic_filter)

    def discard(self, topic_filter: str) -> None:
        """Removes a filter, if it is there."""
        self._exact.discard(topic_filter)
        key = _first_levels(topic_filter)
        if key in self._with_wildcards:
            self._with_wildcards[key].discard(topic_filter)
            if not self._with_wildcards[key]:
                del self._with_wildcards[key]

    def matching(self, topic: str) -> Iterator[str]:
        """The filters that match `topic`, by MQTT 3.1.1 section 4.7."""
        if topic in self._exact:
            yield topic
        key = _first_levels(topic)
        for candidates in (
            self._with_wildcards.get(key, ()),
            self._with_wildcards.get("", ()) if key else (),
        ):
            for topic_filter in candidates:
                if filter_matches(topic_filter, topic):
                    yield topic_filter


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

    def matching(self, topic_filter: str) -> list[str]:
        """The topics that `topic_filter` matches, by MQTT 3.1.1 section 4.7."""
        key = _first_levels(topic_filter)
        if not _has_wildcards(topic_filter):
            return [topic_filter] if topic_filter in self._topics.get(key, ()) else []
        parts = [self._topics.get(key, {})] if key else list(self._topics.values())
        return [topic for part in parts for topic in part if filter_matches(topic_filter, topic)]


def _has_wildcards(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter


def _first_levels(topic: str) -> str:
    """The first levels of a topic or filter; empty where it has fewer, or wildcards among them."""
    levels = topic.split("/", _LEVELS)[:_LEVELS]
    first = "/".join(levels)
    return first if len(levels) == _LEVELS and not _has_wildcards(first) else ""
