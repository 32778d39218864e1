"""One's own account, sessions, keys and identities; groups."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.store.tables import ApiKey, OpenIdentity, Passkey, WebSession
from tests.fakes.people import Keys
from tests.unit.http.api.isolation.example import Example
from tests.unit.http.api.isolation.house import HOME, NOW, add, opened

ISSUER = "https://auth.example"


@asynccontextmanager
async def accounts(folder: Path) -> AsyncIterator[Mapping[str, object]]:
    """bob is signed in on a laptop, has a key, and an identity of a provider."""
    async with opened(folder) as store:
        await add(
            store,
            [
                WebSession(
                    digest="d", public_id="s-bob", user_id="u-bob", user_agent="Bob's laptop", created_at=NOW,
                    seen_at=NOW, expires_at=NOW + timedelta(days=1), ends_at=NOW + timedelta(days=1),
                ),
                ApiKey(
                    id="k-bob", digest="d", user_id="u-bob", name="bob's key", hint="mk_bob",
                    scopes=["profile"], created_at=NOW,
                ),
                Passkey(
                    id="p-bob", credential_id="c", user_id="u-bob", name="Bob's phone", rp_id="localhost",
                    public_key="", sign_count=0, transports=[], synced=False, created_at=NOW,
                ),
                OpenIdentity(issuer=ISSUER, subject="bob-there", user_id="u-bob", created_at=NOW),
            ],
        )  # fmt: skip
        people = Accounts.build(store, Keys())
        try:
            yield {"people": people}
        finally:
            await people.aclose()


EXAMPLES = {
    "read_me": Example("/me", accounts, marker="bob@mail.example"),
    "change_me": Example("/me", accounts, {"profile": {"theme": "dark"}}, marker="bob@mail.example"),
    "list_my_sessions": Example("/me/sessions", accounts, marker="Bob's laptop"),
    "end_my_session": Example("/me/sessions/s-bob", accounts, nowhere="/me/sessions/s-none"),
    "list_my_identities": Example("/me/identities", accounts, marker="bob-there"),
    "unlink_my_identity": Example(
        f"/me/identities?issuer={ISSUER}&subject=bob-there", accounts,
        nowhere=f"/me/identities?issuer={ISSUER}&subject=nobody",
    ),
    "list_my_passkeys": Example("/me/passkeys", accounts, marker="Bob's phone"),
    "remove_my_passkey": Example("/me/passkeys/p-bob", accounts, nowhere="/me/passkeys/p-none"),
    "list_keys": Example("/keys", accounts, marker="bob's key"),
    "list_keys/of a person": Example(
        "/keys?user_id=u-bob", accounts, nowhere="/keys?user_id=u-nobody"
    ),
    "revoke_key": Example("/keys/k-bob", accounts, nowhere="/keys/k-none"),
    "list_groups": Example("/groups", accounts, marker="Bob's household"),
    "read_group": Example(f"/groups/{HOME}", accounts, nowhere="/groups/g-none"),
    "remove_group_member": Example(
        f"/groups/{HOME}/members/u-bob", accounts, nowhere="/groups/g-none/members/u-bob"
    ),
}  # fmt: skip
