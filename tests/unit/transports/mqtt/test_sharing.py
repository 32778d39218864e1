"""Groups of shared subscriptions: whose turn it is."""

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.client import Client, Subscription
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.sharing import Group, GroupKey

ADMIN = Identity(Role.ADMIN, "admin")


class Nowhere:
    def write(self, data: bytes) -> None:
        pass

    def cut_off(self, reason: str) -> None:
        pass

    def spend(self, amount: float) -> None:
        pass

    def has_room(self, size: int) -> bool:
        return True


def member(name: str, *, here: bool = True, window: int = 10) -> Client:
    client = Client(name, ADMIN, "admin", OutgoingFlow(100_000, window))
    client.link = Nowhere() if here else None
    client.flow.connected = here
    return client


def group_of(*clients: Client) -> Group:
    group = Group(GroupKey.of(ADMIN, "g", "t"))
    for client in clients:
        group.join(client, Subscription(1))
    return group


def turns(group: Group, count: int) -> list[str]:
    chosen = [group.next() for _ in range(count)]
    return [each[0].key for each in chosen if each is not None]


def test_members_take_turns() -> None:
    group = group_of(*map(member, "abc"))
    assert turns(group, 7) == list("abcabca")
    group.join(member("d"), Subscription(0))
    assert turns(group, 4) == list("bcad")


def test_nobody_is_chosen_of_an_empty_group() -> None:
    group = group_of()
    assert group.next() is None
    only = member("a")
    group.join(only, Subscription())
    group.leave(only)
    assert group.next() is None
    assert not len(group)


def test_members_that_are_away_have_their_turn_only_when_all_are() -> None:
    away, here = member("away", here=False), member("here")
    group = group_of(away, here)
    assert turns(group, 3) == ["here"] * 3
    here.link = None
    group.moved(here)
    assert turns(group, 4) == ["away", "here", "away", "here"]
    away.link = Nowhere()
    group.moved(away)
    assert turns(group, 2) == ["away", "away"]


def test_a_member_whose_window_is_full_is_passed_over_while_another_is_free() -> None:
    full, free = member("full", window=1), member("free")
    full.flow.publish(Message("t", b"", 1), 0.0, 1)
    group = group_of(full, free)
    assert turns(group, 3) == ["free"] * 3
    full.flow.clear()
    full.flow.connected = True
    assert sorted(turns(group, 2)) == ["free", "full"]


def test_when_all_are_busy_the_one_whose_turn_it_is_gets_the_message() -> None:
    clients = [member(f"{number}", window=1) for number in range(limits.LOOKED_AT_IN_A_GROUP + 4)]
    for client in clients:
        client.flow.publish(Message("t", b"", 1), 0.0, 1)
    group = group_of(*clients)
    assert turns(group, 3) == ["0", "1", "2"]


def test_a_changed_subscription_takes_effect() -> None:
    client = member("a")
    group = group_of(client)
    group.join(client, Subscription(2))
    assert group.next() == (client, Subscription(2))
    assert len(group) == 1
