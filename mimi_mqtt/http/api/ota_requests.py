"""The log of OTA requests of the whole server: who asked, what each was answered, and why."""

from typing import Annotated

from fastapi import APIRouter

from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.device_models import ServerOtaRequest, server_request
from mimi_mqtt.http.api.devices import rights_of
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/ota-requests", tags=["devices"])


@router.get("")
async def list_ota_requests(
    caller: Annotated[Caller, callers(Scope.DEVICES_READ)],
    services: Services,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
) -> Page[ServerOtaRequest]:
    """OTA requests of the caller's devices, the newest first. Administrators see all, also those of devices
    that are unknown or were refused. The events `ota_answered` and `ota_refused` tell of new ones."""
    before = key_of(cursor, int)
    found = await services.devices.ota_requests(
        int(before[0]) if before is not None else None, limit + 1, rights_of(caller)
    )
    items = [server_request(row, name) for row, name in found]
    return page_of(items, limit, items[:limit][-1].id if items else 0)
