"""Managed resources: read, change, delete, history and restore, each change one transaction with its audit.

Secrets go in and never come out: what is read tells which are set, and when.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.errors import Conflict, Invalid, LimitReached, NotFound
from mimi_mqtt.managed.diffing import FieldDiff, differences
from mimi_mqtt.managed.kinds import (
    KINDS,
    MAX_OF_KIND,
    Kind,
    check_key,
    checked_content,
    checked_secrets,
    is_address,
)
from mimi_mqtt.managed.merging import Entry, elsewhere_sentence, fixed_keys, sent_elsewhere
from mimi_mqtt.managed.sealing import SecretKeys, Unreadable, seal, unseal
from mimi_mqtt.store import audit, managed
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.managed import NewState
from mimi_mqtt.store.tables import ManagedResource, ManagedVersion

_UNTOLD: Final = frozenset({"prompt", "greeting"})
"""Fields whose words stand in the history, and not a second time in the audit."""
_MAX_TOLD_CHARS: Final = 500
"""Longest value that the audit tells."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A managed resource as people may see it."""

    kind: Kind
    key: str
    version: int
    content: Mapping[str, object]
    secrets: Mapping[str, datetime]
    """When each secret was set."""
    created_at: datetime
    updated_at: datetime
    author: str = ""
    """The name of who made the present version."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version in a resource's history."""

    number: int
    at: datetime
    author: str
    action: str
    content: Mapping[str, object]
    secrets_changed: Sequence[str]


@dataclass(frozen=True, slots=True)
class Change:
    """A new content for a resource, and changes of its secrets: None removes one, one that is not named
    stays."""

    kind: Kind
    key: str
    content: Mapping[str, object]
    secrets: Mapping[str, str | None] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one of several changes; `lost` are secrets that did not follow it to another
    address."""

    kind: Kind
    key: str
    is_new: bool
    differences: Sequence[FieldDiff]
    lost: tuple[str, ...] = ()


class _NotWritten(Exception):
    """Takes a transaction back."""


Expectation = Callable[[int], None]
"""Called with the present version of a resource, 0 for none, before it is changed; raises to prevent that."""


class ManagedResources:
    """The managed resources in `store`. `base` returns the settings of broker.yaml and the environment, which
    win; `keys` are those that follow from the server's secret."""

    def __init__(
        self,
        store: Store,
        keys: SecretKeys,
        environ: Mapping[str, str],
        base: Callable[[], Settings],
    ) -> None:
        self._store = store
        self._keys = keys
        self._environ = environ
        self._base = base
        self.on_changed: Callable[[], None] = _nothing
        """Called after each change of this process."""

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    async def list_all(self, kind: Kind) -> Sequence[Resource]:
        """All resources of a kind, by key. Raises StoreError."""
        async with self._store.read() as session:
            rows = await managed.list_live(session, kind)
            authors = await managed.last_authors(session, kind)
        return [_resource(kind, row, authors.get(row.key, "")) for row in rows]

    async def get(self, kind: Kind, key: str) -> Resource:
        """One resource. Raises NotFound, StoreError."""
        async with self._store.read() as session:
            row = await managed.get(session, kind, key)
            newest = None if row is None else await managed.version(session, kind, key, row.version)
        if row is None or row.deleted:
            raise _not_found(kind, key)
        return _resource(kind, row, newest.author if newest is not None else "")

    async def find(self, kind: Kind, key: str) -> Resource | None:
        """One resource, or None. Raises StoreError."""
        try:
            return await self.get(kind, key)
        except NotFound:
            return None

    async def versions(self, kind: Kind, key: str) -> Sequence[Version]:
        """The versions that are kept, the newest first; of a deleted resource too. Raises NotFound."""
        async with self._store.read() as session:
            rows = await managed.versions(session, kind, key)
        if not rows:
            raise _not_found(kind, key)
        return [_version(row) for row in rows]

    async def version(self, kind: Kind, key: str, number: int) -> Version:
        """One version. Raises NotFound."""
        async with self._store.read() as session:
            return await self._version(session, kind, key, number)

    async def diff(self, kind: Kind, key: str, before: int, after: int) -> Sequence[FieldDiff]:
        """The fields in which two versions differ. Raises NotFound."""
        async with self._store.read() as session:
            old = await self._version(session, kind, key, before)
            new = await self._version(session, kind, key, after)
        return differences(old.content, new.content)

    async def draft(self, change: Change) -> Entry:
        """The resource as `put` would make it, with its secrets in clear: never for a reply. Nothing is
        changed. Raises what `put` raises.

        A stored secret is in it only while the addresses are those that it was stored with.
        """
        async with self._store.read() as session:
            row = await managed.get(session, change.kind, change.key)
        live = row if row is not None and not row.deleted else None
        content, secrets, _ = self._checked(change, live)
        return _opened(live.version if live is not None else 0, change.key, content, secrets, self._keys)

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────

    async def put(self, change: Change, author: Author, expect: Expectation | None = None) -> Resource:
        """Makes or replaces a resource. Raises Invalid, Conflict, LimitReached, StoreError, and what `expect`
        raises."""
        async with self._turn() as session:
            row = await self._put(session, change, author, expect)
        self.on_changed()
        return _resource(change.kind, row, author.name)

    async def patch(self, change: Change, author: Author, expect: Expectation | None = None) -> Resource:
        """Changes some fields of a resource: null takes one back. Raises NotFound and what `put` raises.

        The default agent and every provider are there without having been set.
        """
        async with self._turn() as session:
            if change.kind == "provider" or (change.kind, change.key) == ("agent", DEFAULT_AGENT):
                found = await managed.get(session, change.kind, change.key)
                before = dict(found.content) if found is not None and not found.deleted else {}
            else:
                before = dict((await self._live(session, change.kind, change.key)).content)
            merged = {**before, **change.content}
            whole = {name: value for name, value in merged.items() if change.content.get(name, 0) is not None}
            changed = Change(change.kind, change.key, whole, change.secrets)
            row = await self._put(session, changed, author, expect)
        self.on_changed()
        return _resource(change.kind, row, author.name)

    async def put_all(
        self, changes: Sequence[Change], author: Author, *, dry_run: bool = False
    ) -> Sequence[Outcome]:
        """Makes or replaces resources, all or none; `dry_run`: none, after all were checked. Raises Invalid
        with all that is wrong, and LimitReached, StoreError."""
        outcomes: list[Outcome] = []
        wrong: list[str] = []
        try:
            async with self._turn() as session:
                for change in changes:
                    row = await managed.get(session, change.kind, change.key)
                    live = row is not None and not row.deleted
                    before = dict(row.content) if row is not None and live else {}
                    held = set(row.secrets) if row is not None and live else set()
                    try:
                        row = await self._put(session, change, author, None, "import")
                    except (Invalid, Conflict) as error:
                        wrong.append(f"{change.kind} {change.key}: {error}")
                        continue
                    lost = tuple(sorted(held - row.secrets.keys()))
                    after = dict(row.content)
                    outcomes.append(
                        Outcome(change.kind, change.key, not live, differences(before, after), lost)
                    )
                if dry_run or wrong:
                    raise _NotWritten
        except _NotWritten:
            if wrong:
                raise Invalid("\n".join(wrong)) from None
            return outcomes
        self.on_changed()
        return outcomes

    async def delete(self, kind: Kind, key: str, author: Author, expect: Expectation | None = None) -> None:
        """Deletes a resource and its secrets; its history stays for a time. Raises NotFound, StoreError, and
        what `expect` raises."""
        async with self._turn() as session:
            row = await self._live(session, kind, key)
            if expect is not None:
                expect(row.version)
            before = dict(row.content)
            state = NewState(before, "delete", deleted=True, secrets_changed=sorted(row.secrets))
            await managed.save(session, kind, key, state, author, datetime.now(UTC))
            _record(session, author, kind, key, "delete", before, {}, row.secrets)
        self.on_changed()

    async def restore(
        self, kind: Kind, key: str, number: int, author: Author, expect: Expectation | None = None
    ) -> Resource:
        """Makes the content of an earlier version the present one, as a new version; secrets stay as they
        are, unless it has another address. Raises NotFound and what `put` raises."""
        async with self._turn() as session:
            old = await self._version(session, kind, key, number)
            row = await self._put(session, Change(kind, key, old.content), author, expect, "restore")
        self.on_changed()
        return _resource(kind, row, author.name)

    async def reseal(self, known: Mapping[tuple[Kind, str], Entry]) -> None:
        """Encrypts with the server's secret in force what is encrypted with an earlier one. A secret that can
        be decrypted no more is taken from `known`, where that has the same version. Raises StoreError."""
        async with self._store.read() as session:
            rows = await managed.with_secrets(session)
        if all(row.secret_id == self._keys.secret_id for row in rows):
            return
        async with self._turn() as session:
            for row in await managed.with_secrets(session):
                if row.secret_id != self._keys.secret_id:
                    self._reseal(row, known.get(("provider", row.key)))

    def _reseal(self, row: ManagedResource, known: Entry | None) -> None:
        entry = opened(row, self._keys)
        texts = (
            {**known.secrets, **entry.secrets} if known and known.version == row.version else entry.secrets
        )
        if texts.keys() < row.secrets.keys():
            return  # lost with its secret: a person is told to set it again
        row.secrets = {
            option: {**told, "sealed": seal(texts[option], self._keys, row.key, option)}
            for option, told in row.secrets.items()
        }
        row.secret_id = self._keys.secret_id

    # ── inside one transaction ───────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[AsyncSession]:
        """A transaction that has the turn to write managed resources."""
        async with self._store.write() as session:
            await managed.take_turn(session, self._store)
            yield session

    async def _live(self, session: AsyncSession, kind: Kind, key: str) -> ManagedResource:
        row = await managed.get(session, kind, key)
        if row is None or row.deleted:
            raise _not_found(kind, key)
        return row

    async def _version(self, session: AsyncSession, kind: Kind, key: str, number: int) -> Version:
        row = await managed.version(session, kind, key, number)
        if row is None:
            raise NotFound(f"{kind} {key[:64]} has no version {number}, or keeps it no more")
        return _version(row)

    async def _put(
        self,
        session: AsyncSession,
        change: Change,
        author: Author,
        expect: Expectation | None,
        action: str = "",
    ) -> ManagedResource:
        kind, key = change.kind, change.key
        check_key(kind, key)
        row = await managed.get(session, kind, key)
        live = row if row is not None and not row.deleted else None
        if expect is not None:
            expect(live.version if live is not None else 0)
        if live is None and await managed.count_live(session, kind) >= MAX_OF_KIND[kind]:
            raise LimitReached(f"there are {MAX_OF_KIND[kind]} {kind}s already: delete one before")
        content, secrets, changed = self._checked(change, live)
        before: dict[str, object] = dict(live.content) if live is not None else {}
        if live is not None and content == before and not changed:
            return live
        state = NewState(
            content,
            action or ("change" if live is not None else "create"),
            secrets=secrets,
            secret_id=self._keys.secret_id if secrets else "",
            secrets_changed=changed,
        )
        saved = await managed.save(session, kind, key, state, author, datetime.now(UTC))
        _record(session, author, kind, key, state.action, before, content, changed)
        return saved

    def _checked(
        self, change: Change, live: ManagedResource | None
    ) -> tuple[dict[str, object], dict[str, Any], list[str]]:
        """The content and sealed secrets of a resource after a change, and the names of the secrets that it
        set or removed. Raises Invalid, Conflict."""
        kind, key, base = change.kind, change.key, self._base()
        check_key(kind, key)
        content = checked_content(kind, key, change.content, base, self._environ)
        before: dict[str, object] = dict(live.content) if live is not None else {}
        held: dict[str, Any] = dict(live.secrets) if live is not None else {}
        self._refuse_provisioned(kind, key, before, content, base)
        if kind != "provider":
            if change.secrets:
                raise Invalid(f"{kind} {key} has no secrets")
            return content, held, []
        checked_secrets(key, change.secrets)
        secrets, changed = self._secrets(key, before, content, held, change.secrets)
        self._refuse_elsewhere(key, live, content, secrets, base)
        return content, secrets, changed

    def _secrets(
        self,
        name: str,
        before: Mapping[str, object],
        content: Mapping[str, object],
        held: Mapping[str, Any],
        given: Mapping[str, str | None],
    ) -> tuple[dict[str, Any], list[str]]:
        """The sealed secrets after a change, and the names of those that it set or removed.

        A secret does not follow its provider to another address: whoever changes that gives the secret again.
        """
        moved = any(
            is_address(option) and before.get(option) != content.get(option) for option in (*before, *content)
        )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        secrets: dict[str, Any] = {}
        if not moved:
            secrets = {option: self._resealed(name, option, told) for option, told in held.items()}
        for option, text in given.items():
            if text is None:
                secrets.pop(option, None)
            else:
                secrets[option] = {"sealed": seal(text, self._keys, name, option), "set_at": now}
        removed = {option for option in held if option not in secrets}
        return secrets, sorted({*removed, *(option for option, text in given.items() if text is not None)})

    def _resealed(self, name: str, option: str, told: Mapping[str, Any]) -> dict[str, Any]:
        """A secret encrypted with the secret in force, or as it is when it can't be decrypted."""
        try:
            text = unseal(str(told["sealed"]), self._keys, name, option)
        except Unreadable:
            return dict(told)
        return {**told, "sealed": seal(text, self._keys, name, option)}

    def _refuse_provisioned(
        self,
        kind: Kind,
        key: str,
        before: Mapping[str, object],
        content: Mapping[str, object],
        base: Settings,
    ) -> None:
        """Raises Conflict for what broker.yaml sets, which would win."""
        if kind == "agent" and key in base.agents:
            raise Conflict(f"broker.yaml has the agent {key}: change it there")
        if kind == "agent" and key == DEFAULT_AGENT:
            for name in sorted(fixed_keys(base)):
                if name in content and content.get(name) != before.get(name):
                    raise Conflict(f"{name}: is set in broker.yaml (assistant.{name}): change it there")
        if kind == "price" and key in base.providers.prices:
            raise Conflict(f"broker.yaml has the prices of {key}: change them there")
        if kind == "provider":
            for name in _set_options(base, key):
                if name in content and content.get(name) != before.get(name):
                    raise Conflict(
                        f"{name}: is set in broker.yaml (providers.options.{key}.{name}): change it there"
                    )

    def _refuse_elsewhere(
        self,
        name: str,
        live: ManagedResource | None,
        content: Mapping[str, object],
        secrets: Mapping[str, Any],
        base: Settings,
    ) -> None:
        entry = Entry(0, content, dict.fromkeys(secrets, ""))
        for option in sent_elsewhere(name, base.providers, entry, self._environ):
            if live is None or live.content.get(option) != content.get(option):
                raise Conflict(elsewhere_sentence(name, option))


def opened(row: ManagedResource, keys: SecretKeys) -> Entry:
    """The resource with its secrets in clear, as far as they can be decrypted."""
    return _opened(row.version, row.key, row.content, row.secrets, keys)


def _opened(
    version: int, key: str, content: Mapping[str, object], sealed: Mapping[str, Any], keys: SecretKeys
) -> Entry:
    secrets: dict[str, str] = {}
    unreadable: list[str] = []
    for option, told in sealed.items():
        try:
            secrets[option] = unseal(str(told["sealed"]), keys, key, option)
        except Unreadable:
            unreadable.append(option)
    return Entry(version, dict(content), secrets, tuple(unreadable))


def live_entries(rows: Iterable[ManagedResource], keys: SecretKeys) -> dict[tuple[Kind, str], Entry]:
    """The resources that were not deleted, of the kinds that this version knows."""
    known = {str(kind): kind for kind in KINDS}
    return {
        (known[row.kind], row.key): opened(row, keys) for row in rows if row.kind in known and not row.deleted
    }


def _nothing() -> None:
    pass


def _set_options(base: Settings, name: str) -> list[str]:
    return sorted(
        option for option, value in base.providers.options.get(name, {}).items() if value is not None
    )


def _not_found(kind: Kind, key: str) -> NotFound:
    return NotFound(f"there is no managed {kind} {key[:64]!r}")


def _resource(kind: Kind, row: ManagedResource, author: str) -> Resource:
    set_at = {option: datetime.fromisoformat(str(told["set_at"])) for option, told in row.secrets.items()}
    return Resource(
        kind, row.key, row.version, dict(row.content), set_at, row.created_at, row.updated_at, author
    )


def _version(row: ManagedVersion) -> Version:
    return Version(row.version, row.at, row.author, row.action, dict(row.content), tuple(row.secrets_changed))


def _record(
    session: AsyncSession,
    author: Author,
    kind: Kind,
    key: str,
    action: str,
    before: Mapping[str, object],
    after: Mapping[str, object],
    secrets: Iterable[str],
) -> None:
    """The audit's entry: the fields that changed, long texts and secrets as the word "changed"."""
    fields = [each.field for each in differences(before, after)]
    changed = dict.fromkeys(sorted(secrets), "changed")
    audit.record(
        session,
        author,
        f"{kind}.{action}",
        f"{kind}:{key}",
        before=_told(before, fields),
        after={**_told(after, fields), **changed},
    )


def _told(content: Mapping[str, object], fields: Sequence[str]) -> dict[str, object]:
    return {
        name: "changed" if name in _UNTOLD or len(str(content[name])) > _MAX_TOLD_CHARS else content[name]
        for name in fields
        if name in content
    }
