"""Devices: lists, details, settings, claims, owners, credentials."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from mimi_mqtt.errors import Forbidden, MimiError
from mimi_mqtt.fleet.connection_history import KEPT_FOR
from mimi_mqtt.fleet.rights import Rights
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.device_models import (
    Claim,
    CodesShown,
    Connections,
    DeviceBatch,
    DeviceBatchResult,
    DeviceBatchResults,
    DeviceFull,
    DeviceLabels,
    DevicePatch,
    DeviceSummary,
    DeviceTools,
    NewGroup,
    NewOwner,
    State,
    connections,
    full,
    summary,
    tools,
)
from mimi_mqtt.http.api.etags import IfMatch
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, moment_in, page_of
from mimi_mqtt.http.api.problems import status_of
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.device_lists import DeviceQuery, SortKey
from mimi_mqtt.store.tables import Device

router = APIRouter(prefix="/devices", tags=["devices"])

DeviceId = Annotated[str, Path(max_length=32, description="The device's MAC address, in any spelling")]
Reader = Annotated[Caller, callers(Scope.DEVICES_READ)]
Writer = Annotated[Caller, callers(Scope.DEVICES_WRITE)]
Text = Annotated[str | None, Query(max_length=128)]

_SORTS: dict[str, tuple[SortKey, bool]] = {
    "id": ("id", False), "-id": ("id", True),
    "name": ("name", False), "-name": ("name", True),
    "created_at": ("created_at", False), "-created_at": ("created_at", True),
    "last_seen_at": ("last_seen_at", False), "-last_seen_at": ("last_seen_at", True),
}  # fmt: skip


def rights_of(caller: Caller) -> Rights:
    """The rights of a caller as the fleet knows them."""
    return Rights(caller.author, caller.user_id, caller.is_admin, caller.groups)


def _told(device: Device, services: ApiServices, response: Response) -> DeviceSummary:
    etags.tell(response, device.revision)
    return summary(device, services.devices.presence(device.id))


@router.get("")
async def list_devices(
    caller: Reader,
    services: Services,
    state: Annotated[
        State | None,
        Query(description="active and disabled ones are registered, and what is listed without this"),
    ] = None,
    owner_id: Text = None,
    group_id: Text = None,
    room: Text = None,
    tag: Text = None,
    board: Text = None,
    agent: Text = None,
    firmware_version: Text = None,
    online: Annotated[bool | None, Query(description="Whether it is connected now")] = None,
    search: Annotated[
        str | None, Query(max_length=128, description="Words in id, name, room or tags")
    ] = None,
    sort: Literal[
        "id", "-id", "name", "-name", "created_at", "-created_at", "last_seen_at", "-last_seen_at"
    ] = "id",
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
) -> Page[DeviceSummary]:
    """Devices that the caller may see. Pending and seen ones are told to administrators alone, by id, without
    the other filters."""
    if state == "pending":
        return await _pending(services, caller, limit, cursor)
    if state == "seen":
        return await _seen(services, caller, limit, cursor)
    key, descending = _SORTS[sort]
    connected = services.devices.online() if online is not None else None
    query = DeviceQuery(
        person=None if caller.is_admin else caller.user_id,
        groups=caller.groups,
        allowed=None if state is None else state == "active",
        owner_id=owner_id,
        group_id=group_id,
        room=room,
        tag=tag,
        board=board,
        agent="" if agent == "default" else agent,
        firmware_version=firmware_version,
        search=search,
        among=connected if online else None,
        not_among=connected if online is False else None,
        sort=key,
        descending=descending,
    )
    after: tuple[str | datetime, str] | None = None
    if (behind := key_of(cursor, str, str)) is not None:
        after = (_sort_value(key, str(behind[0])), str(behind[1]))
    found = await services.devices.page(query, after, limit + 1)
    items = [summary(device, services.devices.presence(device.id)) for device in found]
    last = found[:limit][-1] if found else None
    value = getattr(last, key) if last is not None else ""
    text = value.isoformat() if isinstance(value, datetime) else value
    return page_of(items, limit, text, last.id if last is not None else "")


def _sort_value(key: SortKey, text: str) -> str | datetime:
    if not key.endswith("_at"):
        return text
    return moment_in(text)


async def _pending(
    services: ApiServices, caller: Caller, limit: int, cursor: str | None
) -> Page[DeviceSummary]:
    if not caller.is_admin:
        return Page(items=[])
    behind = key_of(cursor, int)
    found = await services.devices.pending(int(behind[0]) if behind is not None else 0, limit + 1)
    items = [
        DeviceSummary(
            id=each.device_id, state="pending", board=each.board, firmware_version=each.firmware_version,
            language=each.language, created_at=each.created_at,
        )
        for each in found
    ]  # fmt: skip
    return page_of(items, limit, found[:limit][-1].id or 0 if found else 0)


async def _seen(services: ApiServices, caller: Caller, limit: int, cursor: str | None) -> Page[DeviceSummary]:
    if not caller.is_admin:
        return Page(items=[])
    behind = key_of(cursor, str)
    found = await services.devices.seen(str(behind[0]) if behind is not None else "", limit + 1)
    items = [
        DeviceSummary(
            id=each.id, state="seen", board=each.board, firmware_version=each.firmware_version,
            created_at=each.first_seen_at,
        )
        for each in found
    ]  # fmt: skip
    return page_of(items, limit, found[:limit][-1].id if found else "")


@router.patch("")
async def change_devices(caller: Writer, services: Services, batch: DeviceBatch) -> DeviceBatchResults:
    """Changes settings of several devices, each by itself; a device that can't be changed keeps none of the
    others from it."""
    changes = [(item.id, item.change()) for item in batch.devices]
    outcomes = await services.devices.change_each(changes, rights_of(caller))
    results = []
    for item, outcome in zip(batch.devices, outcomes, strict=True):
        if isinstance(outcome, MimiError):
            results.append(DeviceBatchResult(id=item.id, status=status_of(outcome), detail=str(outcome)))
        else:
            told = summary(outcome, services.devices.presence(outcome.id))
            results.append(DeviceBatchResult(id=item.id, status=200, device=told))
    return DeviceBatchResults(results=results)


@router.post("/claim")
async def claim_device(caller: Writer, services: Services, claim: Claim, response: Response) -> DeviceSummary:
    """Makes the caller the owner of the device that shows the code. Wrong codes are few for each person and
    address: then the answer is 429. 409 while the device still has to prove that it has its chip's key."""
    if not caller.user_id:
        raise Forbidden("a claim needs an account: the command line assigns devices with `devices assign`")
    device = await services.claims.claim("".join(claim.code.split()), rights_of(caller))
    return _told(device, services, response)


@router.post("/claim-codes")
async def show_claim_codes(caller: Writer, services: Services) -> CodesShown:
    """Has the connected devices that belong to nobody and have the caller's own IP address each show a code,
    with which they can be claimed."""
    shown = await services.claims.ask_for_codes(rights_of(caller))
    return CodesShown(devices=shown.devices, expires_at=shown.expires_at)


@router.get("/labels")
async def list_device_labels(caller: Reader, services: Services) -> DeviceLabels:
    """Rooms, tags, boards and firmware versions of the devices that the caller may see."""
    found = await services.devices.labels(rights_of(caller))
    return DeviceLabels(
        rooms=list(found.rooms), tags=list(found.tags), boards=list(found.boards),
        versions=list(found.versions),
    )  # fmt: skip


@router.get("/{device_id}")
async def read_device(
    caller: Reader, services: Services, device_id: DeviceId, response: Response
) -> DeviceFull:
    """A device with its last report, presence, sessions, log of OTA requests and tools."""
    details = await services.devices.read(device_id, rights_of(caller))
    etags.tell(response, details.device.revision)
    return full(details)


@router.get("/{device_id}/connections")
async def read_connections(
    caller: Reader,
    services: Services,
    device_id: DeviceId,
    hours: Annotated[
        float, Query(gt=0, le=KEPT_FOR.total_seconds() / 3600, description="So far back from now")
    ] = 24.0,
) -> Connections:
    """When a device was connected, when it had a session, and when no server ran; kept for seven days. Of
    more than 2,000 intervals the latest are told."""
    device = await services.devices.require(device_id, rights_of(caller))
    return connections(await services.connections.of_device(device.id, hours, device.owned_since))


@router.get("/{device_id}/tools")
async def list_device_tools(caller: Reader, services: Services, device_id: DeviceId) -> DeviceTools:
    """The tools of a device with the schemas of their arguments. A device that is connected is asked for
    those it keeps for people, too, when the caller may call them (`devices:write` and `commands`)."""
    ask = caller.may(Scope.DEVICES_WRITE) and caller.may(Scope.COMMANDS)
    return tools(await services.devices.tools(device_id, rights_of(caller), ask=ask))


@router.patch("/{device_id}")
async def change_device(
    caller: Writer,
    services: Services,
    device_id: DeviceId,
    patch: DevicePatch,
    response: Response,
    if_match: IfMatch = None,
) -> DeviceSummary:
    """Changes settings of a device: the transport from its next boot on, the rest from its next session
    on."""
    device = await services.devices.change(
        device_id, patch.change(), rights_of(caller), lambda known: etags.check(if_match, known.revision)
    )
    return _told(device, services, response)


@router.delete("/{device_id}", status_code=204)
async def forget_device(caller: Writer, services: Services, device_id: DeviceId) -> None:
    """Deletes a device with its conversations and everything known of it. It may register again."""
    await services.devices.forget(device_id, rights_of(caller))


@router.post("/{device_id}/revoke")
async def revoke_device(
    caller: Writer, services: Services, device_id: DeviceId, response: Response
) -> DeviceSummary:
    """Ends a device's credentials and connections within a second, on every node."""
    return _told(await services.devices.revoke(device_id, rights_of(caller)), services, response)


@router.post("/{device_id}/allow")
async def allow_device(
    caller: Writer, services: Services, device_id: DeviceId, response: Response
) -> DeviceSummary:
    """Allows a revoked device again; it gets credentials with its next OTA request. What an administrator
    revoked, only one allows again."""
    return _told(await services.devices.enable(device_id, rights_of(caller)), services, response)


@router.post("/{device_id}/rotate")
async def rotate_device(
    caller: Writer, services: Services, device_id: DeviceId, response: Response
) -> DeviceSummary:
    """Ends a device's credentials and connections; it gets others with its next OTA request."""
    return _told(await services.devices.rotate(device_id, rights_of(caller)), services, response)


@router.put("/{device_id}/owner")
async def transfer_device(
    caller: Writer, services: Services, device_id: DeviceId, owner: NewOwner, response: Response
) -> DeviceSummary:
    """Gives a device to another person, or to nobody: its credentials end, and what belongs to its owner is
    forgotten (docs/devices.md)."""
    device = await services.devices.transfer(device_id, owner.owner_id or "", rights_of(caller))
    return _told(device, services, response)


@router.put("/{device_id}/group")
async def share_device(
    caller: Writer, services: Services, device_id: DeviceId, group: NewGroup, response: Response
) -> DeviceSummary:
    """Shares a device with a group that the caller is in, or with none."""
    device = await services.devices.share(device_id, group.group_id or "", rights_of(caller))
    return _told(device, services, response)
