"""Rules for the fields of an account or group, and for giving credentials of it; pure."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mimi_mqtt.errors import Forbidden, Invalid, NotFound
from mimi_mqtt.people.access import SCOPES_OF, Caller, Role, Via
from mimi_mqtt.store import tables, values
from mimi_mqtt.store.values import bounded_object, holds_storable

_NAME: Final = re.compile(rf"[\w.@+-]{{1,{tables.ACCOUNT_NAME_CHARS}}}")
_EMAIL: Final = re.compile(r"[^\s@<>\x00-\x1f]{1,64}@[^\s@<>\x00-\x1f]{1,189}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}")


def user_name(text: str) -> str:
    """A user name in its normal form. Raises Invalid."""
    name = unicodedata.normalize("NFKC", text.strip())
    if not _NAME.fullmatch(name):
        raise Invalid(f"user_name: it has 1 to {tables.ACCOUNT_NAME_CHARS} letters, digits and . _ @ + -")
    return name


def folded(name: str) -> str:
    """The form of a user name by which it is found and unique; any text is possible."""
    return values.folded(unicodedata.normalize("NFKC", name).strip())


def shown_name(text: str, field: str = "display_name", *, needed: bool = False) -> str:
    """A name for people. Raises Invalid."""
    name = unicodedata.normalize("NFC", text.strip())
    if len(name) > tables.DISPLAY_NAME_CHARS or not name.isprintable() or (needed and not name):
        raise Invalid(f"{field}: it has {int(needed)} to {tables.DISPLAY_NAME_CHARS} printable characters")
    return name


def email(text: str) -> str:
    """An e-mail address, or "". Raises Invalid."""
    address = text.strip()
    if address and not (_EMAIL.fullmatch(address) and address.isprintable()):
        raise Invalid("email: this is no e-mail address")
    return address


def language(text: str) -> str:
    """A language such as en or zh-CN, or "". Raises Invalid."""
    if text and not _LANGUAGE.fullmatch(text):
        raise Invalid("language: it is such as en or zh-CN, or empty")
    return text


def zone(text: str) -> str:
    """A time zone such as Europe/Berlin, or "". Raises Invalid."""
    if text:
        try:
            ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise Invalid("zone: it is such as Europe/Berlin, or empty") from None
    return text[: tables.ACCOUNT_ZONE_CHARS]


def profile(value: Mapping[str, object]) -> dict[str, object]:
    """Profile settings as they are kept. Raises Invalid."""
    kept = bounded_object(value, tables.PROFILE_CHARS)
    if value and not kept:
        raise Invalid(f"profile: it has at most {tables.PROFILE_CHARS} characters of JSON")
    if not holds_storable(value):
        raise Invalid("profile: texts have neither U+0000 nor lone surrogates (U+D800 to U+DFFF)")
    return kept


def role(text: str) -> Role:
    """A role. Raises Invalid."""
    try:
        return Role(text)
    except ValueError:
        raise Invalid(f"role: it is one of {', '.join(Role)}") from None


def check_may_equip(caller: Caller, of: Role) -> None:
    """Raises Forbidden unless the caller can do all that the role can: whoever sets the password of an
    account can do what the account can, so that a key with few scopes must not."""
    if not caller.is_admin or not all(caller.may(scope) for scope in SCOPES_OF[of]):
        raise Forbidden(
            f"accounts with the role {of} get their role, password and links from callers with all scopes of "
            "that role: sign in in place of using a key with fewer"
        )


def no_such_user() -> NotFound:
    """The error for an account that is not there."""
    return NotFound("there is no such user")


def account_of(caller: Caller) -> str:
    """The id of the caller's account. Raises NotFound for the command line, which has none."""
    if not caller.user_id:
        raise NotFound(
            "the command line has no account of its own: see `mimi-mqtt users` and `mimi-mqtt keys`"
        )
    return caller.user_id


def check_may_make_keys(caller: Caller) -> None:
    """Raises Forbidden for a caller by key or token: what such a one makes would outlive it."""
    if caller.via not in (Via.SESSION, Via.COMMAND_LINE):
        raise Forbidden(
            "keys are made by people who signed in, not with a key or a token: a key outlives these"
        )
