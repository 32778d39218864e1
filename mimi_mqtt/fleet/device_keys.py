"""Keys of chips: imported by an administrator, kept sealed, and the check of a version 2 activation poll.

The key is burnt into the chip's eFuse HMAC_KEY0, and the chip proves to have it by the HMAC-SHA256 of a
challenge (device contract, section 2). Keys are sealed with AES-256-GCM under a key of the server's secret,
with the serial number as associated data, so that no sealed key can be put in the place of another. After a
rotation of the secret those of the old one are still read, and `reseal` seals them anew.
"""

import csv
import hmac
import io
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import Invalid, LimitReached, NotFound, ProtocolError
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.rights import COMMAND_LINE, Rights
from mimi_mqtt.store import audit, device_keys, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation, Device, DeviceKey
from mimi_mqtt.wire.topics import device_id_from_mac

KEY_BYTES: Final = 32
"""Bytes of an eFuse key."""
MAX_IMPORT_BYTES: Final = 16_777_216
"""Largest file of keys, in bytes."""
MAX_IMPORT_KEYS: Final = 100_000
"""Most keys in one import."""
MAX_KEYS: Final = 1_000_000
"""Most keys that are kept."""

_PURPOSE: Final = "device keys"
_NONCE_BYTES: Final = 12
_HEX_KEY: Final = re.compile(rf"[0-9a-fA-F]{{{2 * KEY_BYTES}}}")
_SERIAL: Final = re.compile(rf"[!-~]{{1,{tables.SERIAL_CHARS}}}")
_COLUMNS: Final = ("serial_number", "key", "mac")


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """A key to register; `device_id` "" when the chip's MAC address is not known."""

    serial_number: str
    key: bytes = field(repr=False)
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """The number of keys that an import added, replaced, and found as they were."""

    added: int
    replaced: int
    unchanged: int


def imported_key(serial_number: object, key: object, mac: object = "", *, place: str) -> ImportedKey:
    """One key out of an import. Raises Invalid, which names `place` and never the key."""
    if not isinstance(serial_number, str) or not _SERIAL.fullmatch(serial_number.strip()):
        raise Invalid(
            f"{place}: the serial number must be 1 to {tables.SERIAL_CHARS} characters without spaces"
        )
    if not isinstance(key, str) or not _HEX_KEY.fullmatch(key.strip()):
        raise Invalid(f"{place}: the key must be {2 * KEY_BYTES} hexadecimal digits")
    device_id = ""
    if isinstance(mac, str) and mac.strip():
        try:
            device_id = device_id_from_mac(mac.strip())
        except ProtocolError as error:
            raise Invalid(f"{place}: {error}") from error
    return ImportedKey(serial_number.strip(), bytes.fromhex(key.strip()), device_id)


def parse_keys(content: bytes) -> list[ImportedKey]:
    """Keys of a CSV or JSON file: `serial_number,key[,mac]` a line, a list of such objects, or an object of
    serial number and key. Raises Invalid, which names the line or place."""
    if len(content) > MAX_IMPORT_BYTES:
        raise Invalid(f"the file is larger than {MAX_IMPORT_BYTES} bytes: import it in parts")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("the file is not UTF-8 text: it must be CSV or JSON") from None
    found = without_repetitions(
        _in_json(text) if text.lstrip()[:1] in ("[", "{") else _in_csv(text), MAX_IMPORT_KEYS
    )
    if not found:
        raise Invalid("the file has no keys: it must have lines of serial_number,key or a JSON list")
    return found


def without_repetitions(keys: Iterable[ImportedKey], most: int) -> list[ImportedKey]:
    """The keys, each once. Raises Invalid for more than `most`, and for different ones of a serial number."""
    found: dict[str, ImportedKey] = {}
    for each in keys:
        if found.setdefault(each.serial_number, each) != each:
            raise Invalid(f"the serial number {each.serial_number} is there twice, with different keys")
        if len(found) > most:
            raise Invalid(f"there are more than {most} keys: import them in parts")
    return list(found.values())


def _in_json(text: str) -> Iterator[ImportedKey]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        told = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise Invalid(f"the file is not JSON: {told}") from None
    if isinstance(content, dict):
        content = [{"serial_number": serial, "key": key} for serial, key in content.items()]
    for number, each in enumerate(content, 1):
        if not isinstance(each, dict):
            raise Invalid(f"entry {number}: it must be an object with serial_number and key")
        yield imported_key(
            each.get("serial_number"), each.get("key"), each.get("mac", ""), place=f"entry {number}"
        )


def _in_csv(text: str) -> Iterator[ImportedKey]:
    lines = csv.reader(io.StringIO(text))
    columns: Sequence[str] = _COLUMNS
    try:
        for number, row in enumerate(lines, 1):
            words = [word.strip() for word in row]
            if not any(words) or words[0].startswith("#"):
                continue
            if number == 1 and "key" in (names := [word.lower() for word in words]):
                columns = names
                continue
            fields = dict(zip(columns, words, strict=False))
            yield imported_key(
                fields.get("serial_number"), fields.get("key"), fields.get("mac", ""),
                place=f"line {lines.line_num}",
            )  # fmt: skip
    except csv.Error as error:
        raise Invalid(f"line {lines.line_num}: {error}") from None


class DeviceKeys:
    """The keys of chips in `store`, sealed with a key of `credentials`."""

    def __init__(self, store: Store, credentials: Credentials) -> None:
        self._store = store
        self._credentials = credentials
        self._resealed_for = ""
        """The secret for which all was sealed anew that could be read."""

    # ── sealing ──────────────────────────────────────────────────────────────────────────────────────────

    def _seal(self, key: bytes, serial_number: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._credentials.key(_PURPOSE)).encrypt(nonce, key, serial_number.encode())
        return nonce + sealed

    def _open(self, row: DeviceKey) -> bytes | None:
        """The key; None when it is sealed with a secret that is gone."""
        for wrapping in (self._credentials.key(_PURPOSE), self._credentials.old_key(_PURPOSE)):
            if wrapping is None:
                continue
            try:
                return AESGCM(wrapping).decrypt(
                    row.sealed[:_NONCE_BYTES], row.sealed[_NONCE_BYTES:], row.serial_number.encode()
                )
            except (InvalidTag, ValueError):
                continue
        return None

    def is_readable(self, row: DeviceKey) -> bool:
        """True when the key can be used; else it must be imported again."""
        return self._open(row) is not None

    async def reseal(self) -> int:
        """Seals what an earlier secret sealed with the one in force. Returns the number of keys that can't be
        read any more. Raises StoreError."""
        lost = 0
        if self._resealed_for == self._credentials.secret_id:
            return 0  # those left are lost
        async with self._store.read() as session:
            waiting = await device_keys.sealed_otherwise(session, self._credentials.secret_id, 1)
        if not waiting:
            self._resealed_for = self._credentials.secret_id
            return 0
        async with self._store.write() as session:
            waiting = await device_keys.sealed_otherwise(session, self._credentials.secret_id, MAX_KEYS)
            for row in waiting:
                key = self._open(row)
                if key is None:
                    lost += 1
                    continue
                row.sealed = self._seal(key, row.serial_number)
                row.secret_id = self._credentials.secret_id
        self._resealed_for = self._credentials.secret_id
        return lost

    # ── administration ───────────────────────────────────────────────────────────────────────────────────

    async def register(
        self, keys: Sequence[ImportedKey], now: datetime, rights: Rights = COMMAND_LINE
    ) -> Imported:
        """Registers keys, which take the place of others of the same serial numbers. Raises LimitReached."""
        added = replaced = unchanged = 0
        async with self._store.write() as session:
            known = await device_keys.of_serials(session, [key.serial_number for key in keys])
            if await device_keys.count(session) + len(keys) - len(known) > MAX_KEYS:
                raise LimitReached(f"at most {MAX_KEYS} keys are kept: remove those of devices that are gone")
            for key in keys:
                row = known.get(key.serial_number)
                if row is None:
                    row = DeviceKey(serial_number=key.serial_number, sealed=b"", secret_id="", created_at=now)
                    session.add(row)
                    added += 1
                elif self._open(row) == key.key and key.device_id in ("", row.device_id):
                    unchanged += 1
                    continue
                else:
                    replaced += 1
                row.sealed = self._seal(key.key, key.serial_number)
                row.secret_id = self._credentials.secret_id
                row.device_id = key.device_id or row.device_id
            told = {"added": added, "replaced": replaced}
            audit.record(session, rights.author, "device_key.import", "device_keys", after=told)
        return Imported(added, replaced, unchanged)

    async def remove(self, serial_number: str, rights: Rights = COMMAND_LINE) -> None:
        """Deletes a key: a chip with this serial number needs no proof from then on. Raises NotFound."""
        async with self._store.write() as session:
            row = await device_keys.get(session, serial_number)
            if row is None:
                raise NotFound(f"there is no key for the serial number {serial_number[:80]!r}")
            await session.delete(row)
            audit.record(session, rights.author, "device_key.remove", f"device_key:{serial_number}")

    async def page(self, after: str, limit: int) -> Sequence[DeviceKey]:
        """Keys by serial number, behind `after`."""
        async with self._store.read() as session:
            return await device_keys.page(session, after, limit)

    # ── proof ────────────────────────────────────────────────────────────────────────────────────────────

    def is_proof(self, row: DeviceKey, challenge: str, given: bytes) -> bool:
        """True when `given` is the HMAC-SHA256 of the challenge with the key; compared in constant time."""
        key = self._open(row)
        expected = hmac.digest(key or bytes(KEY_BYTES), challenge.encode(), "sha256")
        return hmac.compare_digest(expected, given) and key is not None


async def may_come_in(session: AsyncSession, device: Device | None, activation: Activation) -> bool:
    """False while the asker has to prove first that it has its chip's key: one is registered for its serial
    number or MAC address, or for the chip that the device proved to be before."""
    if activation.key_proven:
        return True
    proven = device.serial_number if device is not None else ""
    return not await device_keys.concerns(session, activation.device_id, activation.serial_number, proven)
