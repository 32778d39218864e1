import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ProtocolError
from mimi_mqtt.wire import topics

levels = st.sampled_from(["", "a", "b", "sport", "$SYS", "ü"])
names = st.lists(levels, min_size=1, max_size=5).map("/".join)
filters = st.builds(
    lambda parents, last: "/".join([*parents, *last]),
    st.lists(st.one_of(levels, st.just("+")), max_size=4),
    st.sampled_from([["#"], ["+"], ["a"], [""]]),
)


@pytest.mark.parametrize(
    "mac", ["AA:BB:CC:00:11:22", "aa-bb-cc-00-11-22", "aabbcc001122", " Aa:bB:cc:00:11:22 "]
)
def test_mac_in_any_notation_names_the_device(mac: str) -> None:
    assert topics.device_id_from_mac(mac) == "aa-bb-cc-00-11-22"
    assert topics.is_device_id("aa-bb-cc-00-11-22")


@pytest.mark.parametrize(
    "mac", ["", "aa:bb", "aa:bb:cc:dd:ee:gg", "aabbcc0011223", "aa:bb:cc:00:11:22/up", "x" * 999]
)
def test_anything_else_is_not_a_mac(mac: str) -> None:
    with pytest.raises(ProtocolError):
        topics.device_id_from_mac(mac)
    assert not topics.is_device_id(mac)


@given(st.text())
def test_mac_of_any_text_is_canonical_or_refused(text: str) -> None:
    try:
        device_id = topics.device_id_from_mac(text)
    except ProtocolError:
        return
    assert topics.is_device_id(device_id)
    assert topics.device_id_from_mac(device_id) == device_id


def test_device_topics_go_both_ways() -> None:
    topic = topics.device_topic("aa-bb-cc-00-11-22", "up")
    assert topic == "mimi/devices/aa-bb-cc-00-11-22/up"
    assert topics.split_device_topic(topic) == ("aa-bb-cc-00-11-22", "up")


@pytest.mark.parametrize(
    "topic",
    [
        "mimi/devices/aa-bb-cc-00-11-22",
        "mimi/devices/aa-bb-cc-00-11-22/up/more",
        "mimi/devices/AA-BB-CC-00-11-22/up",
        "mimi/devices/aa-bb-cc-00-11-22/up\n",
        "mimi/devices/+/up",
        "mimi/status",
        "",
    ],
)
def test_other_topics_are_not_a_devices(topic: str) -> None:
    assert topics.split_device_topic(topic) is None


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        # The specification's own examples, section 4.7.
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "sport/tennis", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/broker/load", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/monitor/Clients", True),
        ("$SYS/#", "$SYS", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("ACCOUNTS", "Accounts", False),
        ("sport/tennis/#", "sport/tennis", True),
        ("sport/tennis/#", "sport", False),
        ("sport/tennis", "sport/tennis/", False),
        ("sport", "sport/tennis", False),
    ],
)
def test_filters_match_as_the_specification_says(topic_filter: str, topic: str, matches: bool) -> None:
    assert topics.filter_matches(topic_filter, topic) is matches


def matches_by_definition(wanted: list[str], levels: list[str]) -> bool:
    """Section 4.7 again, written the other way round: by the first level and the rest."""
    if wanted == ["#"]:
        return True
    if not wanted or not levels:
        return not wanted and not levels
    return wanted[0] in ("+", levels[0]) and matches_by_definition(wanted[1:], levels[1:])


@given(filters, names)
def test_matching_agrees_with_the_definition(topic_filter: str, topic: str) -> None:
    hidden = topic.startswith("$") and topic_filter[0:1] in ("+", "#")
    expected = not hidden and matches_by_definition(topic_filter.split("/"), topic.split("/"))
    assert topics.filter_matches(topic_filter, topic) is expected


@pytest.mark.parametrize(
    "topic_filter", ["#", "+", "a", "/", "a/#", "+/a/#", "a/+/b", "+/+", "a//b", "$SYS/#"]
)
def test_legal_filters(topic_filter: str) -> None:
    assert topics.is_topic_filter(topic_filter)


@pytest.mark.parametrize(
    "topic_filter", ["", "a#", "a/#/b", "#/", "a+", "a/+b/c", "+a", "##", "++", "a/b#", "a\0b"]
)
def test_illegal_filters(topic_filter: str) -> None:
    assert not topics.is_topic_filter(topic_filter)


@pytest.mark.parametrize(
    ("topic", "legal"),
    [("a/b", True), ("/", True), ("", False), ("a/+", False), ("#", False), ("a\0", False)],
)
def test_topic_names_have_no_wildcards(topic: str, legal: bool) -> None:
    assert topics.is_topic_name(topic) is legal


@pytest.mark.parametrize(
    ("topic_filter", "inside"),
    [
        ("mimi/devices/x/up", True),
        ("mimi/devices/x/#", True),
        ("mimi/devices/x/+", True),
        ("mimi/devices/x", True),
        ("mimi/devices/xy", False),
        ("mimi/devices/+/up", False),
        ("mimi/devices/#", False),
        ("mimi/devices", False),
        ("#", False),
    ],
)
def test_filters_within_a_devices_own_topics(topic_filter: str, inside: bool) -> None:
    assert topics.filter_within(topic_filter, "mimi/devices/x") is inside


@given(filters, names, st.sampled_from(["a", "a/b", "sport"]))
def test_a_filter_within_a_prefix_matches_nothing_outside(topic_filter: str, topic: str, prefix: str) -> None:
    if topics.filter_within(topic_filter, prefix) and topics.filter_matches(topic_filter, topic):
        assert topic == prefix or topic.startswith(prefix + "/")


@pytest.mark.parametrize(
    ("topic_filter", "name", "within"),
    [
        ("$share/g/a/#", "g", "a/#"),
        ("$share/g//a", "g", "/a"),
        ("$share/g/$SYS/#", "g", "$SYS/#"),
        ("$share/g/", "g", ""),
        ("$share/g", "g", ""),
        ("$share/", "", ""),
        ("$share//a", "", ""),
        ("$share/+/a", "+", ""),
        ("$share", None, "$share"),
        ("$shared/g/a", None, "$shared/g/a"),
        ("a/$share/g/b", None, "a/$share/g/b"),
    ],
)
def test_shared_filters_are_split_into_group_and_filter(
    topic_filter: str, name: str | None, within: str
) -> None:
    assert topics.split_share(topic_filter) == (name, within)


@pytest.mark.parametrize("topic_filter", ["+/none", "a/b/c", "mimi"])
def test_no_more_levels_of_a_topic_are_compared_than_its_filter_has(topic_filter: str) -> None:
    """A topic may have 65,535 levels, and one message be compared with hundreds of filters."""
    topic = "/" * 65_534
    tracemalloc.start()
    try:
        assert not topics.filter_matches(topic_filter, topic)
        assert not topics.filter_within(topic, "mimi/devices")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 150_000, "two topics, and no list of their levels"
