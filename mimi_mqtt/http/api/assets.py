"""Assets images (fonts, themes, wake words): uploaded for a board, and handed over to connected devices."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from mimi_mqtt.fleet.administration import parse_device_id
from mimi_mqtt.fleet.firmware.asset_image import MAX_ASSETS_BYTES
from mimi_mqtt.fleet.firmware.assets import NewAssets
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.bodies import stream
from mimi_mqtt.http.api.firmware import FILE_BODY, Notes, RowId, Word, before_of, last_id
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.http.api.visibility import name_of
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store import tables
from mimi_mqtt.store.tables import AssetsDelivery, AssetsFile

router = APIRouter(prefix="/assets", tags=["assets"])

FirmwareCaller = Annotated[Caller, callers(Scope.FIRMWARE)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=tables.ASSETS_NAME_CHARS)]
MAX_HANDED_OVER = 50
"""Devices that assets are handed over to by one request: each is asked, one after the other."""


class AssetsRead(BaseModel):
    """An assets image."""

    id: int
    name: str
    board: str = Field(description="The board's type, as devices report it")
    board_name: str = Field(description="Empty: for every board of the type")
    files: int = Field(description="Files in the image")
    size: int = Field(description="Bytes")
    sha256: str
    notes: str
    uploaded_by: str
    created_at: datetime

    @classmethod
    def of(cls, row: AssetsFile) -> "AssetsRead":
        """The image in a row."""
        return cls.model_validate(row, from_attributes=True)


class AssetsChange(BaseModel):
    """Fields to change; what is left out stays as it is."""

    name: Name | None = None
    notes: Notes | None = None


class HandOver(BaseModel):
    """Connected devices that are to fetch the assets at their next start."""

    devices: list[Annotated[str, StringConstraints(min_length=1, max_length=32)]] = Field(
        min_length=1, max_length=MAX_HANDED_OVER
    )


class HandedOver(BaseModel):
    """The outcome for one device."""

    device_id: str
    told: bool = Field(description="The device knows, and fetches them at its next start")
    message: str = Field(description="Why not")


class FileInAssets(BaseModel):
    """A file in an assets image."""

    name: str
    size: int = Field(description="Bytes")


class FilesInAssets(BaseModel):
    """The files in an assets image, in its order."""

    items: list[FileInAssets]


class Delivery(BaseModel):
    """A device that the assets were handed over to."""

    device_id: str
    device_name: str = Field(description="Empty: it has none")
    state: Literal["offered", "downloading", "downloaded"]
    bytes_sent: int
    offered_at: datetime
    began_at: datetime | None
    downloaded_at: datetime | None

    @classmethod
    def of(cls, row: AssetsDelivery, device_name: str) -> "Delivery":
        """The device in a row."""
        names = [name for name in cls.model_fields if name not in ("state", "device_name")]
        fields = {name: getattr(row, name) for name in names}
        return cls(**fields, state=row.progress, device_name=device_name)


@router.get("")
async def list_assets(
    caller: FirmwareCaller,
    services: Services,
    board: Annotated[Word | None, Query(description="Only those for this type of board")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[AssetsRead]:
    """Assets images, the latest first."""
    found = await services.assets.list(board=board, before=before_of(cursor), limit=limit + 1)
    return page_of([AssetsRead.of(row) for row in found], limit, last_id([row.id for row in found], limit))


@router.post("", status_code=201, openapi_extra=FILE_BODY)
async def upload_assets(
    request: Request,
    response: Response,
    caller: FirmwareCaller,
    services: Services,
    board: Annotated[Word, Query(description="The board's type, as devices report it")],
    name: Annotated[Name, Query(description="A name for people")],
    board_name: Annotated[
        Word | None, Query(description="Only for boards of the type that report this name")
    ] = None,
    notes: Annotated[Notes, Query()] = "",
) -> AssetsRead:
    """Registers the assets image in the body (`assets.bin`, at most 16 MiB), whose checksum is verified while
    it comes."""
    told = NewAssets(board, name, board_name or "", notes)
    row = await services.assets.add(stream(request, MAX_ASSETS_BYTES), told, caller.author)
    etags.tell(response, row.revision)
    return AssetsRead.of(row)


@router.get("/{assets_id}")
async def read_assets(
    assets_id: RowId, response: Response, caller: FirmwareCaller, services: Services
) -> AssetsRead:
    """One assets image."""
    row = await services.assets.get(assets_id)
    etags.tell(response, row.revision)
    return AssetsRead.of(row)


@router.patch("/{assets_id}")
async def change_assets(
    assets_id: RowId,
    change: AssetsChange,
    response: Response,
    caller: FirmwareCaller,
    services: Services,
    if_match: etags.IfMatch = None,
) -> AssetsRead:
    """Changes the name or the notes."""
    present = await services.assets.get(assets_id)
    etags.check(if_match, present.revision)
    row = await services.assets.change(
        assets_id, caller.author, name=change.name, notes=change.notes,
        revision=present.revision if if_match is not None else None,
    )  # fmt: skip
    etags.tell(response, row.revision)
    return AssetsRead.of(row)


@router.delete("/{assets_id}", status_code=204)
async def delete_assets(assets_id: RowId, caller: FirmwareCaller, services: Services) -> None:
    """Deletes an assets image; devices that have not fetched it get nothing."""
    await services.assets.delete(assets_id, caller.author)


@router.post("/{assets_id}/hand-over")
async def hand_over_assets(
    assets_id: RowId, wanted: HandOver, caller: FirmwareCaller, services: Services
) -> list[HandedOver]:
    """Tells connected devices to fetch the assets at their next start. Each is checked first: its board, and
    the size of its partition."""
    await services.assets.get(assets_id)
    answers = []
    for device_id in dict.fromkeys(parse_device_id(each) for each in wanted.devices):
        result = await services.updates.hand_over(assets_id, device_id, caller.author)
        answers.append(HandedOver(device_id=device_id, told=result.status == "done", message=result.message))
    return answers


@router.get("/{assets_id}/files")
async def list_assets_files(assets_id: RowId, caller: FirmwareCaller, services: Services) -> FilesInAssets:
    """The files in an assets image."""
    found = await services.assets.entries(assets_id)
    return FilesInAssets(items=[FileInAssets(name=each.name, size=each.size) for each in found])


@router.get("/{assets_id}/devices")
async def list_assets_devices(
    assets_id: RowId,
    caller: FirmwareCaller,
    services: Services,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[Delivery]:
    """Devices that the assets were handed over to, by their ids, and how far each came."""
    key = key_of(cursor, str)
    after = str(key[0]) if key else ""
    found = await services.assets.deliveries(assets_id, after=after, limit=limit + 1)
    items = [Delivery.of(row, name_of(services.directory, row.device_id)) for row in found]
    return page_of(items, limit, items[min(limit, len(items)) - 1].device_id if items else "")
