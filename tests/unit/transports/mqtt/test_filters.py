"""The tree of filters and the index of topics find what comparing each with each finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.transports.mqtt.filters import FilterTree, TopicIndex
from mimi_mqtt.transports.mqtt.limits import MAX_FILTER_LEVELS
from mimi_mqtt.wire.topics import filter_matches, is_topic_filter

LEVELS = st.sampled_from(["", "a", "b", "$SYS", "$"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=6).map("/".join).filter(bool)
FILTERS = (
    st.lists(st.one_of(LEVELS, st.sampled_from(["+", "#"])), min_size=1, max_size=6)
    .map("/".join)
    .filter(is_topic_filter)
)


HOLDERS = st.integers(0, 2)
SUBSCRIPTIONS = st.tuples(FILTERS, HOLDERS)


@given(
    added=st.lists(st.tuples(SUBSCRIPTIONS, st.integers(0, 2)), max_size=12),
    removed=st.lists(SUBSCRIPTIONS, max_size=4),
    topic=TOPICS,
)
def test_the_holders_of_filters_that_match_a_topic_are_found_and_no_others(
    added: list[tuple[tuple[str, int], int]], removed: list[tuple[str, int]], topic: str
) -> None:
    tree: FilterTree[int, int] = FilterTree(max)
    for (topic_filter, holder), qos in added:
        tree.add(topic_filter, holder, qos)
    for topic_filter, holder in removed:
        tree.remove(topic_filter, holder)
    left = {each: qos for each, qos in added if each not in removed}
    wanted: dict[int, int] = {}
    for (topic_filter, holder), qos in left.items():
        if filter_matches(topic_filter, topic):
            wanted[holder] = max(qos, wanted.get(holder, 0))
    found, _ = tree.matching(topic)
    assert found == wanted
    assert tree.size == len({topic_filter for topic_filter, _ in left})


@given(added=st.lists(SUBSCRIPTIONS, max_size=20))
def test_a_tree_without_subscriptions_has_no_nodes(added: list[tuple[str, int]]) -> None:
    tree: FilterTree[int, int] = FilterTree(max)
    for topic_filter, holder in added:
        tree.add(topic_filter, holder, 0)
    for topic_filter, holder in added:
        tree.remove(topic_filter, holder)
    assert tree.size == 0
    assert tree.matching("a") == ({}, 1)
    assert not tree._root.children


@pytest.mark.parametrize("pattern", ["house/{}/light", "house/{}/#", "{}/+", "mimi/devices/{}/#"])
def test_a_message_visits_few_nodes_however_many_filters_there_are(pattern: str) -> None:
    """Before, filters with a wildcard were all compared with every topic."""
    tree: FilterTree[int, int] = FilterTree(max)
    for number in range(5_000):
        tree.add(pattern.format(number), number % 7, 0)
    found, visited = tree.matching(pattern.format(77).replace("+", "x").replace("#", "x"))
    assert found == {0: 0}
    assert visited <= 5


def test_combinations_of_wildcards_visit_no_more_nodes_than_there_are() -> None:
    tree: FilterTree[int, int] = FilterTree(max)
    for number in range(256):
        tree.add("/".join("+" if number >> bit & 1 else "a" for bit in range(8)), number, 0)
    found, visited = tree.matching("/".join("a" * 8))
    assert len(found) == 256
    assert visited == 2**9 - 1


def test_a_topic_of_thousands_of_levels_costs_as_many_nodes_as_filters_have_levels() -> None:
    tree: FilterTree[int, int] = FilterTree(max)
    tree.add("/".join("+" * MAX_FILTER_LEVELS), 1, 0)
    tree.add("#", 2, 0)
    found, visited = tree.matching("/" * 60_000)
    assert found == {2: 0}
    assert visited <= MAX_FILTER_LEVELS + 1
    assert set(tree.matching("/".join("a" * MAX_FILTER_LEVELS))[0]) == {1, 2}


@given(added=st.lists(TOPICS, max_size=12), removed=st.lists(TOPICS, max_size=4), topic_filter=FILTERS)
def test_the_topics_that_a_filter_matches_are_found_and_no_others(
    added: list[str], removed: list[str], topic_filter: str
) -> None:
    index = TopicIndex()
    for topic in added:
        index.add(topic)
    for topic in removed:
        index.discard(topic)
    left = set(added) - set(removed)
    found = [each for each in index.candidates(topic_filter) if filter_matches(topic_filter, each)]
    assert sorted(found) == sorted(each for each in left if filter_matches(topic_filter, each))
