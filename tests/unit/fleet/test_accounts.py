"""The administrator's account: checks, delays, refusals."""

import asyncio
import logging

import pytest
from pydantic import SecretStr

from mimi_mqtt.config import AccountSettings, SharesSettings
from mimi_mqtt.errors import LoginRefused
from mimi_mqtt.fleet import accounts as module
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.passwords import hash_password
from mimi_mqtt.shares import TOLD_EVERY_S, Ledger

ADMIN = Identity(Role.ADMIN, "admin")
RIGHT = "correct horse"


def accounts_of(password: str | None, **shares: float) -> Accounts:
    settings = AccountSettings(admin_password=SecretStr(password) if password is not None else None)
    return Accounts(settings, SharesSettings.model_validate(shares), clock=lambda: 0.0)


async def outcome(accounts: Accounts, password: str, address: str = "a") -> Identity | None:
    found = accounts.log_in(password.encode(), address)
    return await found if isinstance(found, asyncio.Task) else found


async def test_without_a_configured_password_nobody_is_the_administrator() -> None:
    assert await outcome(accounts_of(None), "") is None


@pytest.mark.parametrize("hashed", [False, True])
async def test_right_and_wrong_password(hashed: bool) -> None:
    accounts = accounts_of(hash_password(RIGHT) if hashed else RIGHT)
    assert await outcome(accounts, "wrong") is None
    assert await outcome(accounts, "") is None
    assert await outcome(accounts, RIGHT) == ADMIN
    accounts.close()


@pytest.mark.virtual_time
async def test_answers_to_wrong_passwords_are_delayed_more_and_more() -> None:
    accounts, loop = accounts_of(RIGHT, failed_logins=10), asyncio.get_running_loop()
    took = []
    for number in range(6):
        began = loop.time()
        assert await outcome(accounts, f"wrong {number}") is None
        took.append(round(loop.time() - began, 3))
    assert took == [0, 0, 0.5, 1, 2, 4]


@pytest.mark.virtual_time
async def test_all_who_guess_are_named_not_only_the_first(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    settings = AccountSettings(admin_password=SecretStr(RIGHT))
    accounts = Accounts(settings, SharesSettings(), ledger, clock=lambda: 0.0)
    for number in range(6):
        assert await outcome(accounts, f"wrong {number}", f"192.0.2.{1 + number % 2}") is None
    caplog.clear()
    ledger.sweep(TOLD_EVERY_S)
    assert "5 refused, by admin from 192.0.2.2 (3), admin from 192.0.2.1 (2)" in caplog.text
    assert await outcome(accounts, RIGHT) == ADMIN
    assert "6 refused" not in ledger.summary(), "the right password is not one of them"


async def test_refusals_name_account_and_address(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    settings = AccountSettings(admin_password=SecretStr(RIGHT))
    accounts = Accounts(settings, SharesSettings(failed_logins=1), ledger, clock=lambda: 0.0)
    assert await outcome(accounts, "wrong", "192.0.2.1") is None
    with caplog.at_level(logging.WARNING), pytest.raises(LoginRefused, match="too many wrong passwords"):
        await outcome(accounts, RIGHT, "192.0.2.1")
    assert "failed logins: 1 refused, by admin from 192.0.2.1 (1)" in caplog.text
    assert "correct" not in caplog.text
    assert await outcome(accounts, RIGHT, "192.0.2.2") == ADMIN


async def test_passwords_that_wait_to_be_checked_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_CHECKS", 2)
    accounts = accounts_of(hash_password(RIGHT))
    home = accounts.log_in(RIGHT.encode(), "home")
    assert isinstance(home, asyncio.Task)
    assert await home == ADMIN
    waiting = [accounts.log_in(b"wrong %d" % number, f"stranger {number}") for number in range(2)]
    with pytest.raises(LoginRefused, match="wait to be checked"):
        accounts.log_in(b"wrong 3", "stranger 3")
    later = accounts.log_in(b"wrong", "home")
    assert isinstance(later, asyncio.Task), "where the administrator logged in there is room"
    for check in (*waiting, later):
        assert isinstance(check, asyncio.Task)
        assert await check is None
    accounts.close()


async def test_closing_gives_up_the_checks_that_run() -> None:
    accounts = accounts_of(hash_password(RIGHT))
    check = accounts.log_in(b"wrong", "a")
    assert isinstance(check, asyncio.Task)
    accounts.close()
    with pytest.raises(asyncio.CancelledError):
        await check
