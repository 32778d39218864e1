"""The indexes of topics and filters find what comparing each with each finds."""

from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.transports.mqtt.filters import FilterIndex, TopicIndex
from mimi_mqtt.wire.topics import filter_matches, is_topic_filter

LEVELS = st.sampled_from(["", "a", "b", "$SYS", "$"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=6).map("/".join).filter(bool)
FILTERS = (
    st.lists(st.one_of(LEVELS, st.sampled_from(["+", "#"])), min_size=1, max_size=6)
    .map("/".join)
    .filter(is_topic_filter)
)


@given(added=st.lists(FILTERS, max_size=12), removed=st.lists(FILTERS, max_size=4), topic=TOPICS)
def test_the_filters_that_match_a_topic_are_found_and_no_others(
    added: list[str], removed: list[str], topic: str
) -> None:
    index = FilterIndex()
    for topic_filter in added:
        index.add(topic_filter)
    for topic_filter in removed:
        index.discard(topic_filter)
    left = set(added) - set(removed)
    found = list(index.matching(topic))
    assert sorted(found) == sorted(each for each in left if filter_matches(each, topic))


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
    found = index.matching(topic_filter)
    assert sorted(found) == sorted(each for each in left if filter_matches(topic_filter, each))
