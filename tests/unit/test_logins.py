"""Attempts to guess a password, counted by account and address."""

from mimi_mqtt.logins import ACCOUNTS_AT_ONCE, ADDRESSES_AT_ONCE, LONGEST_DELAY_S, WINDOW_S, Logins


def test_address_is_refused_after_its_attempts_and_let_in_later() -> None:
    logins = Logins(3, 600.0)
    assert [logins.begin("admin", "a", 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert logins.begin("admin", "b", 0.0), "another address is not concerned"
    assert logins.begin("other", "a", 0.0), "nor is another account"
    assert not logins.begin("admin", "a", 599.0)
    assert logins.begin("admin", "a", WINDOW_S + 1)


def test_a_lockout_shorter_than_the_window_ends_in_its_time() -> None:
    logins = Logins(3, 60.0)
    for _ in range(4):
        logins.begin("admin", "a", 0.0)
    assert not logins.begin("admin", "a", 59.0)
    assert [logins.begin("admin", "a", 60.0) for _ in range(4)] == [True] * 3 + [False]


def test_success_forgets_the_failures_before_it() -> None:
    logins = Logins(3, 600.0)
    for _ in range(10):
        assert logins.begin("admin", "a", 0.0)
        assert logins.begin("admin", "a", 0.0)
        logins.succeeded("admin", "a")


def test_failures_of_a_quarter_of_an_hour_ago_do_not_count() -> None:
    logins = Logins(2, 600.0)
    for attempt in range(20):
        assert logins.begin("admin", "a", attempt * (WINDOW_S + 1))


def test_account_tried_from_many_addresses_is_open_to_those_that_logged_in() -> None:
    logins = Logins(2, 600.0)
    logins.begin("admin", "home", 0.0)
    logins.succeeded("admin", "home")
    tried = sum(logins.begin("admin", f"stranger {number}", 1.0) for number in range(200))
    assert tried == 2 * ADDRESSES_AT_ONCE
    assert logins.begin("admin", "home", 2.0)
    assert not logins.begin("admin", "new place", 2.0)
    assert logins.begin("admin", "new place", WINDOW_S + 2)


def test_attempts_that_are_taken_back_lock_nobody_out() -> None:
    logins = Logins(2, 600.0)
    for number in range(100 * ADDRESSES_AT_ONCE):
        assert logins.begin("admin", f"address {number % 20}", 0.0)
        assert logins.begin(f"account {number % 20}", "a", 0.0)
        logins.take_back("admin", f"address {number % 20}")
        logins.take_back(f"account {number % 20}", "a")
    assert [logins.begin("admin", "b", 0.0) for _ in range(3)] == [True, True, False]


def test_what_attempts_at_once_locked_is_open_when_they_are_taken_back() -> None:
    logins = Logins(2, 600.0)
    assert [logins.begin("admin", "a", 0.0) for _ in range(3)] == [True, True, False]
    for _ in range(2):
        logins.take_back("admin", "a")
    # The one that was refused counts, as any that is.
    assert [logins.begin("admin", "a", 0.0) for _ in range(2)] == [True, False]


def test_unlocking_lets_all_try_again() -> None:
    logins = Logins(1, 600.0)
    assert [logins.begin("admin", "a", 0.0) for _ in range(2)] == [True, False]
    logins.unlock()
    assert logins.begin("admin", "a", 0.0)


def test_answers_to_failures_take_longer_each_time() -> None:
    logins = Logins(20, 600.0)
    delays = []
    for _ in range(12):
        logins.begin("admin", "a", 0.0)
        delays.append(logins.delay_s("admin", "a"))
    assert delays[:5] == [0.0, 0.0, 0.5, 1.0, 2.0]
    assert delays[-1] == LONGEST_DELAY_S
    assert logins.delay_s("admin", "b") == 0


def test_address_that_tries_many_accounts_is_refused_for_all_but_its_own() -> None:
    logins = Logins(3, 600.0)
    logins.begin("anna", "a", 0.0)
    logins.succeeded("anna", "a")
    tried = [logins.begin(f"user{number}", "a", 0.0) for number in range(3 * ACCOUNTS_AT_ONCE + 5)]
    assert tried == [True] * 3 * ACCOUNTS_AT_ONCE + [False] * 5
    assert logins.begin("anna", "a", 0.0), "logged in from there before"
    assert logins.begin("user0", "b", 0.0), "another address is not concerned"
