"""Passwords of people, hashed and in clear."""

import io

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.config import AccountSettings
from mimi_mqtt.passwords import MAX_BYTES, Password, hash_password


async def test_hash_says_which_password_is_right() -> None:
    password = Password(hash_password("correct horse"))
    assert password.is_hashed
    assert not password.is_recognised(b"correct horse")
    assert not await password.check(b"wrong horse")
    assert await password.check(b"correct horse")
    assert password.is_recognised(b"correct horse"), "without the hash from now on"
    assert not password.is_recognised(b"wrong horse")
    password.close()


async def test_very_long_password_is_wrong_unhashed() -> None:
    password = Password(hash_password("correct horse"))
    assert not await password.check(b"x" * (MAX_BYTES + 1))
    password.close()


def test_password_in_clear_is_recognised() -> None:
    password = Password("pässword")
    assert not password.is_hashed
    assert password.is_recognised("pässword".encode())
    assert not password.is_recognised(b"password")
    assert not password.is_recognised(b"")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("short", "at least 8 characters"),
        ("$argon2id$v=19$m=65536", "hash-password"),
        ("$argon2id$v=19$m=999999999,t=3,p=4$c29tZXNhbHRzb21l$" + "A" * 43, "hash-password"),
    ],
)
def test_configuration_refuses_a_password_that_is_too_short_or_half_a_hash(given: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        AccountSettings.model_validate({"admin_password": given})


def test_command_prints_a_hash_that_the_configuration_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert main(["hash-password"]) == 0
    printed = capsys.readouterr().out.strip()
    settings = AccountSettings.model_validate({"admin_password": printed})
    assert settings.admin_password is not None
    assert "correct horse" not in printed


@pytest.mark.parametrize("given", ["short\n", "\n", "x" * (MAX_BYTES + 1)])
def test_command_refuses_a_password_that_would_be_refused(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    assert main(["hash-password"]) == 2
    assert "password must have at" in capsys.readouterr().err
