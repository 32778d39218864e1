"""Who receives a topic, and how many filters an account may have."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.transports.mqtt.access import may_receive, may_subscribe
from mimi_mqtt.transports.mqtt.client import Client, Subscription
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
    return Client("key", identity, account, OutgoingFlow(1000))


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
            assert table.add(subscriber, topic_filter, Subscription(0))
            if filter_matches(topic_filter, topic) and may_receive(identity, topic):
                wanted.add(subscriber)
    assert set(table.receivers(topic).clients) == wanted


def test_a_devices_message_visits_no_filter_of_a_client_that_may_not_receive_it() -> None:
    """Before, every message was compared with every filter that has a wildcard among its first levels."""
    table = Subscriptions(10_000)
    guest = client(GUEST)
    for number in range(1_000):
        table.add(guest, f"+/+/+/{number}", Subscription(0))
        table.add(guest, f"+/{number}/#", Subscription(0))
    table.add(guest, "#", Subscription(0))
    assert table.receivers(UP) == ({}, [], 1)


def test_filters_of_one_account_are_bounded_over_all_its_clients() -> None:
    table = Subscriptions(each=3)
    first, second, other = client(GUEST), client(GUEST), client(GUEST, "other")
    assert [table.add(first, f"a/{number}", Subscription(0)) for number in range(2)] == [True, True]
    assert table.add(second, "b", Subscription(0))
    assert not table.add(second, "c", Subscription(0))
    assert table.add(second, "b", Subscription(1)), "an own filter may change its QoS"
    assert table.add(other, "c", Subscription(0))
    table.remove(first, "a/0")
    assert table.add(second, "c", Subscription(0))
    run(table.end(first))
    assert table.held_by("somebody") == 2


def test_deep_filters_count_more_than_once() -> None:
    table = Subscriptions(each=8)
    guest = client(GUEST)
    assert table.add(guest, "/".join("a" * 32), Subscription(0))
    assert not table.add(guest, "b", Subscription(0))


def test_a_client_that_is_gone_receives_nothing_while_its_filters_are_removed() -> None:
    table = Subscriptions(each=100)
    guest, admin = client(GUEST), client(ADMIN, "admin")
    table.add(admin, "#", Subscription(1))
    for number in range(50):
        table.add(guest, f"a/{number}", Subscription(0))
    guest.gone = True
    steps = table.end(guest)
    next(steps)
    assert table.held_by("somebody") == 0
    assert all(table.receivers(f"a/{number}").clients == {admin: Subscription(1)} for number in range(50))
    run(steps)
    assert len(table) == 2, "# is in both trees"


@pytest.mark.parametrize("room", [True, False])
def test_subscriptions_move_to_the_account_of_a_new_connection_that_has_room(room: bool) -> None:
    table = Subscriptions(each=2)
    guest = client(GUEST, "before")
    table.add(guest, "a", Subscription(0))
    table.add(guest, "b", Subscription(0))
    if not room:
        table.add(client(GUEST, "after"), "c", Subscription(0))
    table.move(guest, "after")
    assert guest.account == ("after" if room else "before")
    assert table.held_by(guest.account) == 2


# ── the cost of a message ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["house/{}/light", "other/{}/#", "$share/g/house/{}/light", "$share/{}/a/b"])
def test_ten_thousand_subscriptions_of_others_cost_a_message_nothing(form: str) -> None:
    table = Subscriptions(each=100_000)
    watcher = client(GUEST)
    table.add(watcher, "house/kitchen/light", Subscription(1))
    alone = table.receivers("house/kitchen/light")
    assert alone.clients == {watcher: Subscription(1)}
    for number in range(10_000):
        table.add(client(GUEST), form.format(number), Subscription(0))
    found = table.receivers("house/kitchen/light")
    assert found.clients == alone.clients
    assert found.shared == []
    assert found.visited <= 2 * alone.visited, "with groups there are two trees"


def test_what_visits_grow_with_is_the_receivers() -> None:
    table = Subscriptions(each=100_000)
    for number in range(1_000):
        table.add(client(GUEST), "house/+/light", Subscription(0))
        table.add(client(GUEST), f"$share/{number}/house/#", Subscription(0))
    found = table.receivers("house/kitchen/light")
    assert len(found) == 2_000
    assert found.visited < 1_020


# ── options ──────────────────────────────────────────────────────────────────────────────────────────────


def test_no_local_leaves_out_the_publishers_subscriptions_that_ask_for_it() -> None:
    table = Subscriptions(each=100)
    publisher, other = client(GUEST), client(GUEST)
    for each in (publisher, other):
        table.add(each, "a/#", Subscription(2, no_local=True, identifiers=(1,)))
    assert set(table.receivers("a/b", publisher).clients) == {other}
    table.add(publisher, "a/b", Subscription(0, identifiers=(2,)))
    table.add(publisher, "+/b", Subscription(1, retain_as_published=True, identifiers=(3,)))
    merged = table.receivers("a/b", publisher).clients[publisher]
    assert merged == Subscription(1, False, True, (2, 3))
    assert set(table.receivers("a/b").clients) == {publisher, other}


def test_the_filters_that_no_local_has_compared_are_paid_for_by_the_publisher() -> None:
    table = Subscriptions(each=1_000)
    publisher = client(GUEST)
    for number in range(500):
        table.add(publisher, f"a/{number}", Subscription(0, no_local=True))
    assert table.receivers("a/1").visited < 10
    assert table.receivers("a/1", publisher).visited > 500


def test_group_of_a_user_is_not_that_of_another() -> None:
    table = Subscriptions(each=100)
    guest, admin = client(GUEST), client(ADMIN, "admin")
    for each in (guest, admin):
        table.add(each, "$share/g/a", Subscription(1))
    found = table.receivers("a")
    assert {chosen for chosen, _, _ in found.shared} == {guest, admin}
    assert len(table) == 1, "the same filter"


def test_an_ended_member_is_not_chosen_while_its_filters_are_removed() -> None:
    table = Subscriptions(each=1_000)
    leaves, stays = client(GUEST), client(GUEST)
    for number in range(50):
        for each in (leaves, stays):
            table.add(each, f"$share/g/a/{number}", Subscription(1))
    leaves.gone = True
    steps = table.end(leaves)
    assert all(table.receivers(f"a/{number}").shared[0][0] is stays for number in range(50))
    run(steps)
    run(table.end(stays))
    assert len(table) == 0
    assert table.held_by("somebody") == 0
