"""Passkeys (WebAuthn, level 3): registration, and signing in with one.

A passkey is good at the host name at which it was made, and asks its person for a finger, a face or a PIN.
The server holds nothing while it waits for an answer: the challenge is in a cookie of that browser, signed
and with its end. What was answered once is kept until then, so that no answer is good twice, on any node.

The package `webauthn` verifies the answers. It is imported with the first request, in a thread.
"""

import asyncio
import hashlib
import importlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import Conflict, Forbidden, Invalid, LimitReached, NotFound
from mimi_mqtt.people import rules
from mimi_mqtt.people.access import Caller, Role, Via
from mimi_mqtt.people.random_tokens import digest, new_id
from mimi_mqtt.people.sign_in import SignIn
from mimi_mqtt.people.tokens import SigningKeys
from mimi_mqtt.store import audit, credentials, people, tables
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Passkey, User

MAX_PASSKEYS: Final = 20
"""Passkeys of one person."""
CHALLENGE_S: Final = 600
"""Seconds in which a challenge has to be answered."""
MAX_CREDENTIAL_CHARS: Final = 32_768
"""Longest answer of an authenticator, as JSON."""

_CHALLENGE_BYTES: Final = 32
_PURPOSE: Final = "passkey challenge"
_TRANSPORTS: Final = frozenset({"usb", "nfc", "ble", "smart-card", "hybrid", "internal", "cable"})
_UNKNOWN: Final = ""
"""The account that attempts with unknown passkeys are counted for."""

_BEGIN_AGAIN: Final = "this is not the answer to what this browser was asked a moment ago: try again"


@dataclass(frozen=True, slots=True)
class Site:
    """The page that asks for a passkey: its origin, and the host name that the passkey belongs to."""

    origin: str
    rp_id: str


@dataclass(frozen=True, slots=True)
class Question:
    """The options for the browser's `navigator.credentials`, and the value of the cookie that holds the
    challenge until the answer comes."""

    options: Mapping[str, Any]
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Challenge:
    content: bytes
    until: datetime


class Passkeys:
    """The passkeys in the database."""

    def __init__(self, store: Store, keys: SigningKeys, sign_in: SignIn) -> None:
        self._store = store
        self._keys = keys
        self._sign_in = sign_in

    async def list(self, user_id: str) -> Sequence[Passkey]:
        """The passkeys of a person."""
        async with self._store.read() as session:
            return await credentials.passkeys(session, user_id)

    async def ask_to_register(self, caller: Caller, site: Site, now: datetime) -> Question:
        """The question by which an authenticator makes a passkey for the caller. Raises Forbidden,
        LimitReached, NotFound."""
        user_id = _signed_in(caller)
        lib = await _library()
        async with self._store.read() as session:
            user = await people.user(session, user_id)
            there = await credentials.passkeys(session, user_id)
        if user is None:
            raise rules.no_such_user()
        _check_room(there)
        structs, helpers = lib.helpers.structs, lib.helpers
        challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        options = lib.generate_registration_options(
            rp_id=site.rp_id,
            rp_name="mimi_mqtt",
            user_id=user.id.encode(),
            user_name=user.name,
            user_display_name=user.display_name or user.name,
            challenge=challenge,
            timeout=CHALLENGE_S * 1000,
            authenticator_selection=structs.AuthenticatorSelectionCriteria(
                resident_key=structs.ResidentKeyRequirement.REQUIRED,
                user_verification=structs.UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                structs.PublicKeyCredentialDescriptor(id=helpers.base64url_to_bytes(each.credential_id))
                for each in there
                if each.rp_id == site.rp_id
            ],
        )
        return Question(helpers.options_to_json_dict(options), self._seal(challenge, user_id, site, now))

    async def register(
        self,
        caller: Caller,
        site: Site,
        cookie: str,
        name: str,
        credential: Mapping[str, object],
        now: datetime,
    ) -> Passkey:
        """Keeps the passkey that was made. Raises Conflict, Forbidden, Invalid, LimitReached, NotFound."""
        user_id = _signed_in(caller)
        name = rules.shown_name(name, "name", needed=True)
        lib = await _library()
        challenge = self._open(cookie, user_id, site, now)
        try:
            _refuse_frames(lib, credential)
            verified = lib.verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge.content,
                expected_rp_id=site.rp_id,
                expected_origin=site.origin,
                require_user_verification=True,
            )
            credential_id = lib.helpers.bytes_to_base64url(verified.credential_id)
            public_key = lib.helpers.bytes_to_base64url(verified.credential_public_key)
        except Exception as error:  # noqa: BLE001 - the border of the library and of what a stranger sends
            raise Invalid(f"credential: it is not accepted: {_told(error)}") from None
        if len(public_key) > tables.PUBLIC_KEY_CHARS or len(credential_id) > tables.CREDENTIAL_ID_CHARS:
            raise Invalid("credential: its key is too long")
        row = Passkey(
            id=new_id("p"),
            credential_id=credential_id,
            user_id=user_id,
            name=name,
            rp_id=site.rp_id,
            public_key=public_key,
            sign_count=verified.sign_count,
            transports=_transports(credential),
            synced=bool(verified.credential_backed_up),
            created_at=now,
        )
        async with self._store.write() as session:
            user = await people.user(session, user_id, lock=True)
            if user is None or user.disabled:
                raise rules.no_such_user()
            _check_room(await credentials.passkeys(session, user_id))
            if not await credentials.use_challenge(session, _mark(challenge), challenge.until):
                raise Invalid(_BEGIN_AGAIN)
            if await credentials.passkey(session, credential_id) is not None:
                raise Conflict("this passkey is registered already")
            session.add(row)
            try:
                await session.flush()
            except IntegrityError:
                raise Conflict("this passkey is registered already") from None
            after = {"name": name, "user": user_id, "host": site.rp_id}
            audit.record(session, caller.author, "passkey.create", f"passkey:{row.id}", after=after)
        return row

    async def revoke(self, caller: Caller, user_id: str, passkey_id: str) -> None:
        """Removes a passkey: the caller's own, or any with the rights of its person's role. Sessions that it
        began go on. Raises Forbidden, NotFound."""
        async with self._store.write() as session:
            found = await credentials.passkey_of_id(session, passkey_id)
            if found is None or found[1].id != user_id:
                raise NotFound("there is no such passkey")
            row, user = found
            if user.id != caller.user_id:
                rules.check_may_equip(caller, Role(user.role))
            await session.delete(row)
            before = {"name": row.name, "user": user.id, "host": row.rp_id}
            audit.record(session, caller.author, "passkey.revoke", f"passkey:{row.id}", before=before)

    async def ask_to_sign_in(self, site: Site, now: datetime) -> Question:
        """The question by which any passkey of this site signs its person in. Nobody is named in it."""
        lib = await _library()
        challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        options = lib.generate_authentication_options(
            rp_id=site.rp_id,
            challenge=challenge,
            timeout=CHALLENGE_S * 1000,
            user_verification=lib.helpers.structs.UserVerificationRequirement.REQUIRED,
        )
        return Question(lib.helpers.options_to_json_dict(options), self._seal(challenge, _UNKNOWN, site, now))

    async def check(
        self, site: Site, cookie: str, credential: Mapping[str, object], address: str, now: datetime
    ) -> User | None:
        """The person who answered with a passkey; None when it is not good here (any more), and nobody is
        told why. `address` is the holder of the client's address.

        Raises Invalid for an answer to another question, LoginRefused when too many failed.
        """
        lib = await _library()
        challenge = self._open(cookie, _UNKNOWN, site, now)
        async with self._store.read() as session:
            found = await credentials.passkey(session, _id_of(credential))
        account = found[1].folded_name if found is not None else _UNKNOWN
        user = None
        with self._sign_in.attempt(account, address):
            if found is not None:
                count = _verified_count(lib, found[0], site, challenge, credential)
                if count is not None:
                    user = await self._used(found[0].credential_id, count, challenge, address, now)
        if user is None:
            await self._sign_in.failed(account, "passkeys", address, found[1] if found is not None else None)
            return None
        self._sign_in.succeeded(account, address)
        return user

    async def _used(
        self, credential_id: str, count: int, challenge: _Challenge, address: str, now: datetime
    ) -> User | None:
        """Takes note of a use; None when it must not sign in."""
        async with self._store.write() as session:
            found = await credentials.passkey(session, credential_id, lock=True)
            if found is None or found[1].disabled:
                return None
            row, user = found
            if not await credentials.use_challenge(session, _mark(challenge), challenge.until):
                return None
            if (count or row.sign_count) and count <= row.sign_count:
                _record_copy(session, row, user, count, address)
                return None
            row.sign_count = count
            row.used_at = now
            session.add(row)
        return user

    def _seal(self, challenge: bytes, user_id: str, site: Site, now: datetime) -> str:
        until = now.astimezone(UTC) + timedelta(seconds=CHALLENGE_S)
        return self._serializer().dumps([challenge.hex(), user_id, site.origin, int(until.timestamp())])

    def _open(self, cookie: str, user_id: str, site: Site, now: datetime) -> _Challenge:
        """The challenge in a cookie. Raises Invalid unless it was given for this, and is not over."""
        try:
            challenge, whose, origin, until = self._serializer().loads(cookie)
        except (BadData, ValueError, TypeError):
            raise Invalid(_BEGIN_AGAIN) from None
        if (whose, origin) != (user_id, site.origin) or now.timestamp() >= until:
            raise Invalid(_BEGIN_AGAIN)
        return _Challenge(bytes.fromhex(challenge), datetime.fromtimestamp(until, UTC))

    def _serializer(self) -> URLSafeSerializer:
        old = self._keys.old_key(_PURPOSE)
        kept = ([old] if old is not None else []) + [self._keys.key(_PURPOSE)]
        # The last key signs, each of them is believed.
        return URLSafeSerializer(
            kept, salt=_PURPOSE, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
        )


async def _library() -> Any:
    return await asyncio.to_thread(importlib.import_module, "webauthn")


def _verified_count(
    lib: Any, row: Passkey, site: Site, challenge: _Challenge, credential: Mapping[str, object]
) -> int | None:
    """The authenticator's counter in a good answer, else None."""
    if row.rp_id != site.rp_id:
        return None
    try:
        _refuse_frames(lib, credential)
        parsed = lib.helpers.parse_authentication_credential_json(dict(credential))
        # Of a discoverable credential the authenticator names the person itself.
        if parsed.response.user_handle != row.user_id.encode():
            return None
        verified = lib.verify_authentication_response(
            credential=parsed,
            expected_challenge=challenge.content,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            credential_public_key=lib.helpers.base64url_to_bytes(row.public_key),
            credential_current_sign_count=0,  # compared where the row is locked
            require_user_verification=True,
        )
    except Exception:  # noqa: BLE001 - the border of the library and of what a stranger sends
        return None
    return int(verified.new_sign_count)


def _refuse_frames(lib: Any, credential: Mapping[str, object]) -> None:
    """Raises ValueError for an answer from a frame in a page of another origin."""
    response = credential.get("response")
    told = response.get("clientDataJSON") if isinstance(response, Mapping) else None
    if not isinstance(told, str):
        raise TypeError("it has no client data")
    if lib.helpers.parse_client_data_json(lib.helpers.base64url_to_bytes(told)).cross_origin:
        raise ValueError("it was made in a frame of another page")


def _record_copy(session: AsyncSession, row: Passkey, user: User, count: int, address: str) -> None:
    """Tells the audit of a counter that went back: there is a copy of the authenticator."""
    audit.record(
        session,
        Author(user.name, user.id, address),
        "passkey.copied",
        f"passkey:{row.id}",
        before={"name": row.name, "user": user.id, "count": row.sign_count},
        after={"count": count},
    )


def _signed_in(caller: Caller) -> str:
    """The caller's account. Raises Forbidden for a key or token: a passkey outlives these."""
    user_id = rules.account_of(caller)
    if caller.via is not Via.SESSION:
        raise Forbidden("passkeys are made by people who signed in, not with a key or a token")
    return user_id


def _check_room(there: Sequence[Passkey]) -> None:
    if len(there) >= MAX_PASSKEYS:
        raise LimitReached(f"the account has {MAX_PASSKEYS} passkeys, which is the most: remove one")


def _transports(credential: Mapping[str, object]) -> list[str]:
    response = credential.get("response")
    told = response.get("transports") if isinstance(response, Mapping) else None
    return sorted(_TRANSPORTS.intersection(filter(_is_text, told))) if isinstance(told, list) else []


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _id_of(credential: Mapping[str, object]) -> str:
    """The authenticator's name of the passkey that it answered with; "" when it can't be one."""
    told = credential.get("id")
    return told if isinstance(told, str) and len(told) <= tables.CREDENTIAL_ID_CHARS else ""


def _mark(challenge: _Challenge) -> str:
    return digest(challenge.content.hex())


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
