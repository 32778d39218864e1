"""Who receives a topic, and how many filters an account may have."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.transports.mqtt.access import may_receive, may_subscribe
from mimi_mqtt.transports.mqtt.client import Client
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.transports.mqtt.subscriptions import Subscriptions
from mimi_mqtt.wire.topics import filter_matches, is_topic_filter

ID, OTHER = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"
ADMIN = Identity(Role.ADMIN, "admin")
TESTER = Identity(Role.TESTER, ID, ID)
GUEST = Identity(Role.ANONYMOUS, "")
UP = f"mimi/devices/{ID}/up"

LEVELS = st.sampled_from(["mimi", "devices", ID, OTHER, "up", "house", "$SYS", "", "+", "#"])
FILTERS = st.lists(LEVELS, min_size=1, max_size=5).map("/".join).filter(is_topic_filter)
TOPICS = (
    st.lists(LEVELS, min_size=1, max_size=5)
    .map("/".join)
    .filter(lambda topic: bool(topic) and "+" not in topic and "#" not in topic)
)


def client(identity: Identity, account: str = "somebody") -> Client:
    return Client("key", identity, account, True, OutgoingFlow(1000))


def run(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


@given(st.lists(st.tuples(st.sampled_from([ADMIN, TESTER, GUEST]), FILTERS), max_size=8), TOPICS)
def test_everybody_receives_what_it_subscribed_to_and_may_read_and_nothing_else(
    subscriptions: list[tuple[Identity, str]], topic: str
) -> None:
    table = Subscriptions(100)
    wanted: set[Client] = set()
    for identity, topic_filter in subscriptions:
        if may_subscribe(identity, topic_filter):
            subscriber = client(identity)
            assert table.add(subscriber, topic_filter, 0)
            if filter_matches(topic_filter, topic) and may_receive(identity, topic):
                wanted.add(subscriber)
    assert set(table.receivers(topic)[0]) == wanted


def test_a_devices_message_visits_no_filter_of_a_client_that_may_not_receive_it() -> None:
    """Before, every message was compared with every filter that has a wildcard among its first levels."""
    table = Subscriptions(10_000)
    guest = client(GUEST)
    for number in range(1_000):
        table.add(guest, f"+/+/+/{number}", 0)
        table.add(guest, f"+/{number}/#", 0)
    table.add(guest, "#", 0)
    assert table.receivers(UP) == ({}, 1)


def test_filters_of_one_account_are_bounded_over_all_its_clients() -> None:
    table = Subscriptions(each=3)
    first, second, other = client(GUEST), client(GUEST), client(GUEST, "other")
    assert [table.add(first, f"a/{number}", 0) for number in range(2)] == [True, True]
    assert table.add(second, "b", 0)
    assert not table.add(second, "c", 0)
    assert table.add(second, "b", 1), "an own filter may change its QoS"
    assert table.add(other, "c", 0)
    table.remove(first, "a/0")
    assert table.add(second, "c", 0)
    run(table.end(first))
    assert table.held_by("somebody") == 2


def test_deep_filters_count_more_than_once() -> None:
    table = Subscriptions(each=8)
    guest = client(GUEST)
    assert table.add(guest, "/".join("a" * 32), 0)
    assert not table.add(guest, "b", 0)


def test_a_client_that_is_gone_receives_nothing_while_its_filters_are_removed() -> None:
    table = Subscriptions(each=100)
    guest, admin = client(GUEST), client(ADMIN, "admin")
    table.add(admin, "#", 1)
    for number in range(50):
        table.add(guest, f"a/{number}", 0)
    guest.gone = True
    steps = table.end(guest)
    next(steps)
    assert table.held_by("somebody") == 0
    assert all(table.receivers(f"a/{number}")[0] == {admin: 1} for number in range(50))
    run(steps)
    assert len(table) == 2, "# is in both trees"


@pytest.mark.parametrize("room", [True, False])
def test_subscriptions_move_to_the_account_of_a_new_connection_that_has_room(room: bool) -> None:
    table = Subscriptions(each=2)
    guest = client(GUEST, "before")
    table.add(guest, "a", 0)
    table.add(guest, "b", 0)
    if not room:
        table.add(client(GUEST, "after"), "c", 0)
    table.move(guest, "after")
    assert guest.account == ("after" if room else "before")
    assert table.held_by(guest.account) == 2
