import pytest

from mimi_mqtt.cli.security.accounts import PASSWORD_VARIABLE, examine
from tests.unit.cli.security.installation import HOME, PUBLIC, level, machine, one, settings

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43
PASSWORD = "administrator's password"


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        (None, "ok"),
        (HASH, "ok"),
        ("correct-horse-battery", "advice"),
        ("kT7!xQ2pz", "warning"),
        ("password1234", "warning"),
        ("Admin-Admin-2024", "warning"),
        ("housekeeper-1", "warning"),
    ],
)
def test_passwords(password: str | None, expected: str) -> None:
    made = settings(accounts={"admin_password": password, "admin_username": "housekeeper"})
    finding = one(examine(made, machine(HOME), {}), PASSWORD)
    assert finding.level == expected
    assert password is None or password not in finding.seen + finding.cure
    assert finding.level == "ok" or "hash-password" in finding.cure


def test_the_place_of_a_password_in_clear_is_named() -> None:
    made = settings(accounts={"admin_password": "correct-horse-battery"})
    assert "file" in one(examine(made, machine(HOME), {}), PASSWORD).seen
    environ = {PASSWORD_VARIABLE: "correct-horse-battery"}
    assert PASSWORD_VARIABLE in one(examine(made, machine(HOME), environ), PASSWORD).seen


def test_anonymous_clients() -> None:
    what, allowed = "clients without a user name", settings(accounts={"anonymous": True})
    assert level(examine(settings(), machine(PUBLIC), {}), what) == "ok"
    assert level(examine(allowed, machine(HOME), {}), what) == "advice"
    assert level(examine(allowed, machine(PUBLIC), {}), what) == "warning"
