"""All parts about people's accounts, built together: `open` for the server, `close` at its end."""

from collections.abc import Sequence
from dataclasses import dataclass

from mimi_mqtt.config import OidcSettings, PeopleSettings, SharesSettings
from mimi_mqtt.passwords import PasswordHashing
from mimi_mqtt.people.authentication import People
from mimi_mqtt.people.groups import Groups
from mimi_mqtt.people.keys import Keys
from mimi_mqtt.people.links import Links
from mimi_mqtt.people.openid import OpenIdAccounts
from mimi_mqtt.people.passkeys import Passkeys
from mimi_mqtt.people.sessions import Sessions
from mimi_mqtt.people.sign_in import SignIn
from mimi_mqtt.people.tokens import SigningKeys, Tokens
from mimi_mqtt.people.upkeep import Upkeep
from mimi_mqtt.people.users import Users
from mimi_mqtt.shares import Ledger
from mimi_mqtt.store import audit
from mimi_mqtt.store.audit import AuditFilter
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AuditEntry


class AuditReader:
    """Reads who changed what."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(
        self, wanted: AuditFilter, number: int, *, before: int | None = None
    ) -> Sequence[AuditEntry]:
        """Entries with ids below `before`, the newest first."""
        async with self._store.read() as session:
            return await audit.entries(session, wanted, number, before=before)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The parts. A change of rights by any of them is felt at once by `authenticator`."""

    users: Users
    groups: Groups
    sessions: Sessions
    keys: Keys
    tokens: Tokens
    links: Links
    sign_in: SignIn
    passkeys: Passkeys
    openid: OpenIdAccounts
    oidc: OidcSettings
    audit: AuditReader
    authenticator: People
    hashing: PasswordHashing
    upkeep: Upkeep

    @classmethod
    def build(
        cls,
        store: Store,
        keys: SigningKeys,
        *,
        people: PeopleSettings | None = None,
        oidc: OidcSettings | None = None,
        shares: SharesSettings | None = None,
        ledger: Ledger | None = None,
    ) -> "Accounts":
        """The parts on a database; nothing runs yet."""
        people, oidc, hashing = people or PeopleSettings(), oidc or OidcSettings(), PasswordHashing()

        def changed() -> None:
            authenticator.forget()

        sessions = Sessions(store, people, changed)
        tokens = Tokens(store, keys)
        authenticator = People(store, sessions, tokens)
        sign_in = SignIn(store, hashing, shares, ledger, changed=changed)
        return cls(
            users=Users(store, hashing, changed),
            groups=Groups(store, changed),
            sessions=sessions,
            keys=Keys(store, changed),
            tokens=tokens,
            links=Links(store, hashing, ledger, changed=changed),
            sign_in=sign_in,
            passkeys=Passkeys(store, keys, sign_in),
            openid=OpenIdAccounts(store, oidc, changed),
            oidc=oidc,
            audit=AuditReader(store),
            authenticator=authenticator,
            hashing=hashing,
            upkeep=Upkeep(store, people.keep_audit_days),
        )

    @property
    def healthy(self) -> bool:
        """True while all loops do their work."""
        return self.authenticator.healthy and self.upkeep.healthy

    def start(self) -> None:
        """Starts the loops."""
        self.authenticator.start()
        self.upkeep.start()

    async def aclose(self) -> None:
        """Ends the loops and threads."""
        await self.authenticator.aclose()
        await self.upkeep.aclose()
        self.hashing.close()
