"""Registration of devices: pending activations, listed devices, keys of chips. For administrators."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mimi_mqtt.fleet import listing
from mimi_mqtt.fleet.device_keys import imported_key, without_repetitions
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.device_models import DeviceSummary, summary
from mimi_mqtt.http.api.devices import rights_of
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store import tables
from mimi_mqtt.store.tables import ListedDevice

# Serial numbers may have a slash: the last part of a path that names one is all of its rest.
router = APIRouter(tags=["activation"])

MAX_KEYS = 5_000
"""Most keys of one request; `mimi-mqtt devices import-keys` takes more."""

Admin = Annotated[Caller, callers(Scope.FLEET)]
OwnerId = Annotated[str, StringConstraints(max_length=tables.USER_ID_CHARS)]


class PendingActivation(BaseModel):
    """A device that waits to be allowed."""

    id: int
    device_id: str
    code: str | None = Field(description="What it shows and speaks; absent once it was entered")
    key_proven: bool = Field(description="It proved to have the key that is registered for its chip")
    serial_number: str
    board: str
    firmware_version: str
    address: str
    created_at: datetime
    asked_at: datetime
    expires_at: datetime


class Admission(BaseModel):
    """The account that is to own the device."""

    owner_id: OwnerId | None = Field(None, description="Absent: nobody")


class ListedIdentity(BaseModel):
    """A device to list."""

    model_config = ConfigDict(extra="forbid")

    identity: Annotated[str, StringConstraints(min_length=1, max_length=80)] = Field(
        description="Its MAC address, or else its serial number"
    )
    owner_id: OwnerId | None = Field(None, description="The account that owns it once it registers")
    group_id: Annotated[str, StringConstraints(max_length=tables.GROUP_ID_CHARS)] | None = None
    note: Annotated[str, StringConstraints(max_length=tables.NOTE_CHARS)] = ""


class Listed(BaseModel):
    """A device that may register whatever `ota.new_devices` says."""

    kind: Literal["mac", "serial"]
    value: str
    owner_id: str | None
    group_id: str | None
    note: str
    created_at: datetime


class NewKey(BaseModel):
    """The key of one chip."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    serial_number: Annotated[str, StringConstraints(min_length=1, max_length=tables.SERIAL_CHARS)]
    key: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")] = Field(
        description="The 32 bytes of eFuse HMAC_KEY0 in hexadecimal; never told again", repr=False
    )
    mac: Annotated[str, StringConstraints(max_length=32)] = Field(
        "", description="The chip's MAC address, if known: nothing else may claim it then"
    )


class NewKeys(BaseModel):
    """Keys to register."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    keys: list[NewKey] = Field(min_length=1, max_length=MAX_KEYS)


class KeysRegistered(BaseModel):
    """The outcome of an import."""

    added: int
    replaced: int
    unchanged: int


class Key(BaseModel):
    """A chip whose key is registered."""

    serial_number: str
    device_id: str | None = Field(description="The device that the key is bound to")
    readable: bool = Field(description="False: sealed with a secret that is lost; import it again")
    created_at: datetime
    proven_at: datetime | None = Field(description="The last time that a device proved to have it")


@router.get("/activations")
async def list_activations(
    caller: Admin, services: Services, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None
) -> Page[PendingActivation]:
    """Devices that wait to be allowed or claimed, the one that waits longest first."""
    behind = key_of(cursor, int)
    found = await services.devices.pending(int(behind[0]) if behind is not None else 0, limit + 1)
    items = [
        PendingActivation(
            id=each.id or 0, device_id=each.device_id,
            code=each.code if each.code.isdecimal() else None, key_proven=each.key_proven,
            serial_number=each.serial_number, board=each.board, firmware_version=each.firmware_version,
            address=each.address, created_at=each.created_at, asked_at=each.asked_at,
            expires_at=each.expires_at,
        )
        for each in found
    ]  # fmt: skip
    return page_of(items, limit, items[:limit][-1].id if items else 0)


@router.post("/activations/{activation_id}/allow")
async def allow_activation(
    caller: Admin,
    services: Services,
    activation_id: Annotated[int, Path(ge=1, le=2**53)],
    admission: Admission,
) -> DeviceSummary:
    """Lets a device in; it gets its credentials with its next OTA request. 409 while it still has to prove
    that it has its chip's key."""
    device = await services.devices.allow(activation_id, admission.owner_id or "", rights_of(caller))
    return summary(device, services.devices.presence(device.id))


@router.delete("/activations/{activation_id}", status_code=204)
async def refuse_activation(
    caller: Admin, services: Services, activation_id: Annotated[int, Path(ge=1, le=2**53)]
) -> None:
    """Makes a device's code worthless; it gets another one when it asks again."""
    await services.devices.refuse(activation_id, rights_of(caller))


@router.get("/listed-devices")
async def list_listed_devices(
    caller: Admin, services: Services, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None
) -> Page[Listed]:
    """Devices that may register whatever `ota.new_devices` says."""
    behind = key_of(cursor, str, str)
    after = (str(behind[0]), str(behind[1])) if behind is not None else ("", "")
    found = await services.devices.listed(after, limit + 1)
    last = found[:limit][-1] if found else None
    key = (last.kind, last.value) if last is not None else ("", "")
    return page_of([_listed(each) for each in found], limit, *key)


@router.post("/listed-devices", status_code=201)
async def add_listed_device(caller: Admin, services: Services, wanted: ListedIdentity) -> Listed:
    """Lists a device before it comes. 409 when it is listed already."""
    entry = listing.entry(
        wanted.identity, datetime.now(UTC),
        owner_id=wanted.owner_id or "", group_id=wanted.group_id or "", note=wanted.note,
    )  # fmt: skip
    return _listed(await services.devices.add_to_list(entry, rights_of(caller)))


@router.delete("/listed-devices/{kind}/{value:path}", status_code=204)
async def remove_listed_device(
    caller: Admin,
    services: Services,
    kind: Literal["mac", "serial"],
    value: Annotated[str, Path(max_length=tables.SERIAL_CHARS)],
) -> None:
    """Takes a device off the list. One that has registered stays registered."""
    await services.devices.remove_from_list(kind, value, rights_of(caller))


def _listed(row: ListedDevice) -> Listed:
    return Listed(
        kind="mac" if row.kind == "mac" else "serial",
        value=row.value,
        owner_id=row.owner_id or None,
        group_id=row.group_id or None,
        note=row.note,
        created_at=row.created_at,
    )


@router.get("/device-keys")
async def list_device_keys(
    caller: Admin, services: Services, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None
) -> Page[Key]:
    """Chips whose keys are registered; the keys are never told."""
    behind = key_of(cursor, str)
    found = await services.device_keys.page(str(behind[0]) if behind is not None else "", limit + 1)
    items = [
        Key(
            serial_number=row.serial_number, device_id=row.device_id or None,
            readable=services.device_keys.is_readable(row), created_at=row.created_at,
            proven_at=row.proven_at,
        )
        for row in found
    ]  # fmt: skip
    return page_of(items, limit, items[:limit][-1].serial_number if items else "")


@router.post("/device-keys")
async def register_device_keys(
    caller: Admin, services: Services, wanted: NewKeys, response: Response
) -> KeysRegistered:
    """Registers keys of chips, in the place of others of the same serial numbers. A chip whose key is
    registered is let in by the proof that it has it, and never without."""
    response.headers["Cache-Control"] = "no-store"
    given = (
        imported_key(each.serial_number, each.key, each.mac, place=f"keys.{number}")
        for number, each in enumerate(wanted.keys)
    )
    keys = without_repetitions(given, MAX_KEYS)
    told = await services.device_keys.register(keys, datetime.now(UTC), rights_of(caller))
    return KeysRegistered(added=told.added, replaced=told.replaced, unchanged=told.unchanged)


@router.delete("/device-keys/{serial_number:path}", status_code=204)
async def remove_device_key(
    caller: Admin,
    services: Services,
    serial_number: Annotated[str, Path(max_length=tables.SERIAL_CHARS)],
) -> None:
    """Deletes the key of a chip, which needs no proof from then on."""
    await services.device_keys.remove(serial_number, rights_of(caller))
