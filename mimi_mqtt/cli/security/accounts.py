"""Checks of the administrator's password and of access without one."""

from collections.abc import Mapping
from typing import Final

from mimi_mqtt.cli.security.exposure import farthest
from mimi_mqtt.cli.security.finding import Finding, Level
from mimi_mqtt.cli.security.machine import Machine
from mimi_mqtt.cli.security.reach import WORDS, Reach
from mimi_mqtt.config import Settings

SHORT_CHARS: Final = 12
"""A password with fewer characters is called short."""

PASSWORD_VARIABLE: Final = "MIMI_ACCOUNTS__ADMIN_PASSWORD"  # noqa: S105  (a variable's name)

_COMMON: Final = (
    "password", "passwort", "admin", "administrator", "changeme", "change-me", "secret", "letmein", "welcome",
    "default", "mimi", "mqtt", "xiaozhi", "esp32", "qwerty", "12345", "iloveyou", "geheim", "matkhau",
)  # fmt: skip
_HASH_CURE: Final = "run `mimi-mqtt hash-password`, and set accounts.admin_password to what it prints"


def examine(settings: Settings, machine: Machine, environ: Mapping[str, str]) -> list[Finding]:
    """Findings about accounts."""
    return [_password(settings, environ), _anonymous(settings, machine)]


def is_common(password: str, username: str) -> bool:
    """True for a password of which little is left without words that are tried first, digits and signs."""
    rest = password.lower()
    for word in sorted((*_COMMON, username.lower()), key=len, reverse=True):
        rest = rest.replace(word, "")
    return len("".join(filter(str.isalpha, rest))) < 4 and len(set(password)) < SHORT_CHARS


def _password(settings: Settings, environ: Mapping[str, str]) -> Finding:
    what = "administrator's password"
    if settings.accounts.admin_password is None:
        return Finding("ok", what, "none is set: the administrator can't log in over MQTT")
    password = settings.accounts.admin_password.get_secret_value()
    if password.startswith("$argon2"):
        return Finding("ok", what, "is kept as a hash")
    if is_common(password, settings.accounts.admin_username):
        return Finding(
            "warning", what, "is one that is tried first", f"choose another one, then {_HASH_CURE}"
        )
    if len(password) < SHORT_CHARS:
        seen = f"has only {len(password)} characters"
        return Finding("warning", what, seen, f"choose one of at least {SHORT_CHARS}, then {_HASH_CURE}")
    where = f"the variable {PASSWORD_VARIABLE}" if environ.get(PASSWORD_VARIABLE) else "the settings' file"
    return Finding("advice", what, f"stands in {where} in clear", _HASH_CURE)


def _anonymous(settings: Settings, machine: Machine) -> Finding:
    what = "clients without a user name"
    if not settings.accounts.anonymous:
        return Finding("ok", what, "are refused")
    reach = farthest(settings, machine)
    seen = f"anyone on {WORDS[reach]} may publish and subscribe outside of mimi/#"
    if reach is Reach.MACHINE:
        return Finding("ok", what, "only this machine can connect")
    level: Level = "warning" if reach is Reach.INTERNET else "advice"
    return Finding(level, what, seen, "set accounts.anonymous: false")
