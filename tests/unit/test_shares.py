"""Places, rates and the ledger of refusals."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.shares import (
    TOLD_EVERY_S,
    Amounts,
    KnownAddresses,
    Ledger,
    Places,
    Rates,
    address_holder,
    shown,
)


@pytest.mark.parametrize(
    ("address", "holder"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_stands_for_its_holder(address: str, holder: str) -> None:
    assert address_holder(address) == holder


class TestPlaces:
    def test_nobody_leaves_while_there_is_room(self) -> None:
        places = Places[int](4, 4)
        assert [places.enter("a", number) for number in range(4)] == [None] * 4
        assert len(places) == 4
        assert places.held_by("a") == 4

    def test_beyond_its_share_a_holder_loses_its_own_oldest(self) -> None:
        places = Places[int](10, 2)
        places.enter("b", 0)
        assert [places.enter("a", number) for number in (1, 2, 3)] == [None, None, 1]
        assert 0 in places
        assert 1 not in places

    def test_when_full_the_oldest_of_the_largest_leaves(self) -> None:
        places = Places[int](4, 4)
        places.enter("b", 0)
        for number in (1, 2, 3):
            places.enter("a", number)
        assert places.enter("c", 4) == 1
        assert places.enter("c", 5) == 2
        assert places.held_by("b") == 1

    def test_known_holders_have_a_reserve(self) -> None:
        places = Places[int](4, 4, reserve=2)
        assert [places.enter(f"stranger {number}", number) for number in range(3)] == [None, None, 0]
        assert places.enter("device", 10, known=True) is None
        assert places.enter("device", 11, known=True) is None
        assert places.enter("device", 12, known=True) == 1  # strangers make room first
        assert places.enter("device", 13, known=True) == 2
        assert places.enter("other device", 14, known=True) == 10

    def test_a_stranger_takes_nothing_from_known_holders_as_long_as_there_are_strangers(self) -> None:
        places = Places[int](3, 3, reserve=1)
        places.enter("device", 1, known=True)
        places.enter("device", 2, known=True)
        assert places.enter("stranger", 3) is None
        assert places.enter("stranger", 4) == 3

    def test_leaving_twice_changes_nothing(self) -> None:
        places = Places[int](3, 3)
        places.enter("a", 1)
        places.leave(1)
        places.leave(1)
        assert len(places) == 0
        assert places.held_by("a") == 0

    def test_an_heir_has_the_place_and_is_the_newest(self) -> None:
        places: Places[str] = Places(4, 2)
        for item in ("first", "second"):
            places.enter("a", item)
        places.hand_over("first", "heir")
        places.hand_over("nobody", "nothing")
        assert ("first" in places, "heir" in places, len(places), places.held_by("a")) == (False, True, 2, 2)
        assert places.enter("a", "third") == "second"

    def test_spared_items_leave_last(self) -> None:
        spared = {1, 2}
        places = Places[int](4, 3, spared=spared.__contains__)
        for number in (1, 2, 3):
            places.enter("a", number)
        assert places.enter("a", 4) == 3
        spared.add(4)
        assert places.enter("a", 5) == 1  # all are spared: the oldest

    def test_a_reserve_of_all_places_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="reserve"):
            Places[int](3, 3, reserve=3)

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.booleans()), max_size=120))
    def test_counts_hold_whoever_comes_and_goes(self, moves: list[tuple[str, bool, bool]]) -> None:
        places = Places[int](6, 3, reserve=2)
        inside: dict[int, str] = {}
        known_holders = {"a", "b"}
        for number, (holder, leaves, _) in enumerate(moves):
            if leaves and inside:
                gone = next(iter(inside))
                places.leave(gone)
                del inside[gone]
                continue
            left = places.enter(holder, number, known=holder in known_holders)
            if left is not None:
                del inside[left]
            inside[number] = holder
            assert len(places) == len(inside) <= 6
            for each in "abcd":
                assert places.held_by(each) == sum(held == each for held in inside.values()) <= 3
            assert sum(held not in known_holders for held in inside.values()) <= 4


class TestRates:
    def test_each_holder_has_its_own(self) -> None:
        rates = Rates(1, 2)
        assert [rates.take("a", 0.0) for _ in range(3)] == [True, True, False]
        assert rates.take("b", 0.0)
        assert rates.wait_s("a", 0.0) == pytest.approx(1.0)
        assert rates.wait_s("unheard of", 0.0) == 0

    def test_what_is_owed_is_earned_back_first(self) -> None:
        rates = Rates(1, 2)
        rates.spend("a", 3.0, 0.0)
        assert rates.wait_s("a", 0.0) == pytest.approx(2.0)
        rates.spend("a", 100.0, 0.0)
        assert rates.wait_s("a", 0.0) == pytest.approx(3.0)  # no more than a burst is owed
        assert rates.take("a", 3.0)

    def test_holders_are_bounded(self) -> None:
        rates = Rates(1, 1, max_holders=2)
        for holder in "abc":
            rates.take(holder, 0.0)
        assert len(rates) == 2
        assert rates.take("a", 0.0)  # forgotten, so new


def test_the_most_recent_known_addresses_are_kept() -> None:
    known = KnownAddresses(2)
    for holder in ("a", "b", "a", "c"):
        known.add(holder)
    assert "a" in known
    assert "b" not in known
    assert len(known) == 2


class TestLedger:
    def test_the_first_refusal_is_told_at_once_and_the_others_together(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        ledger = Ledger()
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                ledger.refuse("requests", "192.0.2.1", 0.0, setting="shares.requests")
            ledger.refuse("requests", "192.0.2.2", 1.0)
            assert [record.message for record in caplog.records] == [
                "too much of requests: 1 refused, by 192.0.2.1 (1); shares.requests is the bound"
            ]
            ledger.sweep(TOLD_EVERY_S - 1)
            assert len(caplog.records) == 1
            ledger.sweep(TOLD_EVERY_S)
        assert caplog.records[1].message == (
            "too much of requests: 3 refused, by 192.0.2.1 (2), 192.0.2.2 (1); shares.requests is the bound"
        )

    def test_health_shows_who_is_refused_until_it_is_over(self) -> None:
        ledger = Ledger()
        assert ledger.summary() == ""
        for _ in range(5):
            ledger.refuse("requests", "192.0.2.1", 0.0)
        ledger.refuse("requests", "192.0.2.2", 0.0)
        assert ledger.summary() == "requests: 6 refused, 5 of 192.0.2.1"
        ledger.sweep(TOLD_EVERY_S)
        assert "requests: 5 refused" in ledger.summary()
        ledger.sweep(2 * TOLD_EVERY_S)
        assert ledger.summary() == ""

    def test_a_crowd_of_holders_costs_bounded_memory(self, caplog: pytest.LogCaptureFixture) -> None:
        ledger = Ledger()
        for number in range(2_000):
            ledger.refuse("requests", f"holder {number}", 0.0)
        ledger.sweep(TOLD_EVERY_S)
        assert "others (1743)" in caplog.records[-1].message
        assert "1999 refused" in caplog.records[-1].message


@pytest.mark.parametrize(
    ("text", "in_the_log"), [("plain é", "plain é"), ("a\nb\x1b[2J", "a\\nb\\x1b[2J"), ("x" * 99, "x" * 80)]
)
def test_names_from_outside_can_not_forge_log_lines(text: str, in_the_log: str) -> None:
    assert shown(text) == in_the_log


class TestAmounts:
    def test_one_holder_has_its_share(self) -> None:
        amounts = Amounts(total=100, each=10)
        assert amounts.add("a", 10)
        assert not amounts.add("a", 1)
        amounts.remove("a", 4)
        assert amounts.add("a", 4)
        assert (amounts.held_by("a"), amounts.used) == (10, 10)

    def test_who_has_less_than_an_equal_part_still_finds_room(self) -> None:
        amounts = Amounts(total=30, each=20)
        assert amounts.add("a", 20)
        assert amounts.add("b", 10)
        assert not amounts.add("a", 1)
        assert amounts.add("c", 10)
        assert not amounts.add("c", 1)

    def test_what_a_holder_gives_back_makes_room_for_what_it_adds(self) -> None:
        amounts = Amounts(total=15, each=10)
        assert amounts.add("a", 10)
        assert amounts.add("b", 5)
        assert not amounts.fits("a", 6)
        assert amounts.fits("a", 6, freed=6)
        assert not amounts.fits("a", 8, freed=6)
        assert (amounts.held_by("a"), amounts.used) == (10, 15)

    @given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(-9, 9)), max_size=60))
    def test_all_together_hold_at_most_twice_the_total(self, changes: list[tuple[str, int]]) -> None:
        amounts = Amounts(total=20, each=10)
        for holder, amount in changes:
            if amount > 0:
                amounts.add(holder, amount)
            elif amount < 0:
                held = amounts.held_by(holder)
                if held:
                    amounts.remove(holder, min(held, -amount))
        assert amounts.used == sum(map(amounts.held_by, "abcdefgh")) <= 40
