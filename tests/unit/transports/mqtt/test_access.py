"""Rights of all roles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.transports.mqtt.access import (
    may_be_answered,
    may_publish,
    may_receive,
    may_subscribe,
    subject,
)
from mimi_mqtt.wire.topics import filter_matches

ID, OTHER = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"
OWN = f"mimi/devices/{ID}"
ADMIN = Identity(Role.ADMIN, "admin")
DEVICE = Identity(Role.DEVICE, ID, ID)
TESTER = Identity(Role.TESTER, ID, ID)
ANONYMOUS = Identity(Role.ANONYMOUS, "")
EVERYONE = (ADMIN, DEVICE, TESTER, ANONYMOUS)


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        (f"{OWN}/up", {Role.ADMIN, Role.TESTER, Role.DEVICE}),
        (f"{OWN}/command", {Role.ADMIN, Role.TESTER}),
        (f"{OWN}/down", {Role.ADMIN}),
        (f"{OWN}/state", {Role.ADMIN}),
        (f"{OWN}/up/more", {Role.ADMIN}),
        (f"mimi/devices/{OTHER}/up", {Role.ADMIN}),
        (f"mimi/devices/{ID}x/up", {Role.ADMIN}),
        ("mimi/status", {Role.ADMIN}),
        ("mimi", {Role.ADMIN}),
        ("mimic/x", {Role.ADMIN, Role.ANONYMOUS}),
        ("house/light", {Role.ADMIN, Role.ANONYMOUS}),
        ("/mimi/x", {Role.ADMIN, Role.ANONYMOUS}),
        ("$SYS/x", set()),
        ("$share/g/x", set()),
    ],
)
def test_who_may_publish(topic: str, allowed: set[Role]) -> None:
    assert {who.role for who in EVERYONE if may_publish(who, topic)} == allowed


@pytest.mark.parametrize(
    ("topic_filter", "allowed"),
    [
        ("#", {Role.ADMIN, Role.ANONYMOUS, Role.DEVICE}),
        ("+/devices/#", {Role.ADMIN, Role.ANONYMOUS, Role.DEVICE}),
        ("mimi/#", {Role.ADMIN, Role.DEVICE}),
        ("mimi/devices/#", {Role.ADMIN, Role.DEVICE}),
        ("mimi/devices/+/up", {Role.ADMIN, Role.DEVICE}),
        (f"{OWN}/#", {Role.ADMIN, Role.TESTER, Role.DEVICE}),
        (f"{OWN}/+", {Role.ADMIN, Role.TESTER, Role.DEVICE}),
        (f"{OWN}/down", {Role.ADMIN, Role.TESTER, Role.DEVICE}),
        (f"mimi/+/{ID}/down", {Role.ADMIN, Role.DEVICE}),
        ("$SYS/#", {Role.ADMIN, Role.DEVICE}),
        ("$share/g/mimi/#", {Role.DEVICE}),
        ("$SYSTEM/#", {Role.DEVICE}),
    ],
)
def test_who_may_subscribe(topic_filter: str, allowed: set[Role]) -> None:
    assert {who.role for who in EVERYONE if may_subscribe(who, topic_filter)} == allowed


@pytest.mark.parametrize("who", [DEVICE, TESTER], ids=["device", "tester"])
def test_a_role_without_its_device_may_nothing(who: Identity) -> None:
    nobody = Identity(who.role, "x")
    assert not may_publish(nobody, f"{OWN}/up")
    assert not may_subscribe(nobody, f"{OWN}/down")
    assert not may_receive(nobody, f"{OWN}/down")


LEVEL = st.sampled_from(["mimi", "devices", ID, OTHER, "up", "down", "state", "x", ""])
TOPIC = st.lists(LEVEL, min_size=1, max_size=5).map("/".join)
FILTER = st.builds(
    lambda levels, end: "/".join([*levels, *end]),
    st.lists(st.one_of(LEVEL, st.just("+")), min_size=1, max_size=5),
    st.sampled_from([[], ["#"]]),
)


@given(FILTER, TOPIC)
def test_what_is_received_lies_within_what_the_role_may_see(topic_filter: str, topic: str) -> None:
    for who, inside in ((TESTER, topic == OWN or topic.startswith(f"{OWN}/")), (ANONYMOUS, None)):
        if (
            may_subscribe(who, topic_filter)
            and filter_matches(topic_filter, topic)
            and may_receive(who, topic)
        ):
            assert inside if inside is not None else not (topic == "mimi" or topic.startswith("mimi/"))


@given(FILTER, TOPIC)
def test_a_testers_granted_filter_matches_nothing_that_is_not_its_own(topic_filter: str, topic: str) -> None:
    if may_subscribe(TESTER, topic_filter) and filter_matches(topic_filter, topic):
        assert may_receive(TESTER, topic)


@given(TOPIC)
def test_a_device_receives_its_own_whatever_it_subscribed_to(topic: str) -> None:
    assert may_receive(DEVICE, topic) == (topic == OWN or topic.startswith(f"{OWN}/"))


def test_everybody_has_a_name_in_log_entries() -> None:
    assert [subject(who) for who in EVERYONE] == ["admin", ID, ID, "anonymous"]


RESPONSE = st.lists(st.one_of(LEVEL, st.sampled_from(["reply", "$SYS"])), min_size=1, max_size=5).map(
    "/".join
)


@given(st.sampled_from([ADMIN, TESTER]), st.sampled_from([ID, OTHER]), RESPONSE)
def test_a_reply_goes_only_where_its_asker_may_read_and_not_among_messages_of_devices(
    identity: Identity, device_id: str, topic: str
) -> None:
    if may_be_answered(identity, device_id, topic):
        assert may_receive(identity, topic)
        assert may_subscribe(identity, topic)
        assert not topic.startswith("$")
        if topic.split("/")[0] == "mimi":
            assert topic.split("/")[:4] == ["mimi", "devices", device_id, "reply"]
