"""The caller of a request, and its rights: role, scopes, and the devices that it may see; pure.

A right has three parts, and all must allow a request: the caller's *scopes* name what kind of thing it may
do, its *role* bounds which scopes it can have, and a *member* sees only what is his own or of his groups.
What a caller may not see does not exist for him: the answer is `NotFound`, never "forbidden".
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from mimi_mqtt.store.audit import Author


class Role(StrEnum):
    """The role of a person."""

    ADMIN = "admin"
    """Sees and changes everything."""
    MEMBER = "member"
    """Sees and changes his own things, and those of his groups."""


class Scope(StrEnum):
    """One kind of thing that a caller may do. API keys have some of them by name."""

    PROFILE = "profile"
    """One's own account, profile, sessions and keys."""
    DEVICES_READ = "devices:read"
    DEVICES_WRITE = "devices:write"
    """Claims, settings, transfer and revocation of devices."""
    FLEET = "fleet"
    """Which devices may register: pending activations, the list, keys of chips, boards."""
    COMMANDS = "commands"
    """Requests of a device: say, notify, alert, tools, reboot."""
    CONVERSATIONS_READ = "conversations:read"
    CONVERSATIONS_WRITE = "conversations:write"
    """Deletion of conversations, and the companion server's memory."""
    REMINDERS = "reminders"
    AGENTS_READ = "agents:read"
    AGENTS_WRITE = "agents:write"
    PROVIDERS_READ = "providers:read"
    PROVIDERS_WRITE = "providers:write"
    """Providers, their keys and prices, and trying them out."""
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    """Uploads of one's own devices."""
    FIRMWARE = "firmware"
    """Firmware, assets and their roll-outs."""
    STATISTICS = "statistics"
    EVENTS = "events"
    PEOPLE = "people"
    """Users and groups."""
    AUDIT = "audit"
    SETTINGS_READ = "settings:read"
    SETTINGS_WRITE = "settings:write"
    HEALTH = "health"
    """Details of the server's health, and problems."""
    LOGS = "logs"
    """The log, which names every device, and the archive for diagnostics."""


MEMBER_SCOPES: Final = frozenset(
    {
        Scope.PROFILE,
        Scope.DEVICES_READ,
        Scope.DEVICES_WRITE,
        Scope.COMMANDS,
        Scope.CONVERSATIONS_READ,
        Scope.CONVERSATIONS_WRITE,
        Scope.REMINDERS,
        Scope.AGENTS_READ,
        Scope.FILES_READ,
        Scope.FILES_WRITE,
        Scope.STATISTICS,
        Scope.EVENTS,
    }
)
"""All that a member can do."""

SCOPES_OF: Final = {Role.ADMIN: frozenset(Scope), Role.MEMBER: MEMBER_SCOPES}
"""The scopes that a role can have."""


class Via(StrEnum):
    """The way by which a caller proved who he is."""

    SESSION = "session"
    """The cookie of a browser."""
    KEY = "key"
    """An API key."""
    TOKEN = "token"  # noqa: S105 - a word, not a secret
    """A signed token (JWT)."""
    COMMAND_LINE = "command line"
    """This machine's command line: it can read the server's secret."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was authenticated. `name` is for the audit and the log, `address` the client's address;
    `user_id` is "" for the command line, which is nobody's account."""

    name: str
    user_id: str
    role: Role
    scopes: frozenset[Scope]
    groups: frozenset[str] = frozenset()
    """Ids of the groups (households) that the person is in."""
    via: Via = Via.SESSION
    address: str = ""
    key_id: str = ""
    """Id of the API key that was shown, or that the token was made with; "" for none."""

    @property
    def is_admin(self) -> bool:
        """True when everything may be seen."""
        return self.role is Role.ADMIN

    @property
    def author(self) -> Author:
        """The caller as the audit names him."""
        return Author(self.name, self.user_id, self.address)

    def may(self, scope: Scope) -> bool:
        """True when the caller has the scope, and his role can have it."""
        return scope in self.scopes and scope in SCOPES_OF[self.role]

    def sees(self, owner_id: str, group_id: str = "") -> bool:
        """True when what belongs to `owner_id`, and is shared with `group_id`, exists for the caller.

        Both are "" for what belongs to nobody: only an administrator sees it.
        """
        if self.is_admin:
            return True
        return (owner_id != "" and owner_id == self.user_id) or (group_id != "" and group_id in self.groups)


@dataclass(frozen=True, slots=True)
class Presented:
    """The credentials that a request shows: a bearer token (an API key, a JWT, or the command line's) and the
    value of the session cookie, "" for none; and the holder of its address."""

    bearer: str = field(repr=False, default="")
    session: str = field(repr=False, default="")
    address: str = ""


class Authenticator(Protocol):
    """Finds the caller of a request."""

    async def authenticate(self, shown: Presented) -> Caller | None:
        """The caller, or None when what was shown is not good (any more), or not of this authenticator.

        Raises LoginRefused when it is not checked because too many were wrong, StoreError.
        """
