"""Images of firmware: uploaded, listed, changed and deleted by administrators; and the update of one
device."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from mimi_mqtt.fleet.administration import parse_device_id
from mimi_mqtt.fleet.firmware.image import MAX_IMAGE_BYTES
from mimi_mqtt.fleet.firmware.images import ImageChange, NewImage
from mimi_mqtt.fleet.firmware.rollout import DEFAULT_CHANNEL
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.bodies import stream
from mimi_mqtt.http.api.command_results import require_done
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store import tables
from mimi_mqtt.store.tables import FirmwareImage

router = APIRouter(tags=["firmware"])

FirmwareCaller = Annotated[Caller, callers(Scope.FIRMWARE)]
RowId = Annotated[int, Path(ge=1, le=2**53, description="Its id")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Notes = Annotated[str, StringConstraints(max_length=tables.IMAGE_NOTES_CHARS)]
DeviceId = Annotated[str, Path(max_length=32, description="The device's MAC address")]

FILE_BODY: Final[dict[str, object]] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""The body of a route that takes a file, for the OpenAPI document."""


class Firmware(BaseModel):
    """An application image. All but the board, the channel and the notes was read from its bytes."""

    id: int
    board: str = Field(description="The board's type, as devices report it")
    board_name: str = Field(description="Empty: for every board of the type")
    version: str = Field(description="Dotted numbers")
    channel: str
    chip: str
    project: str
    idf_version: str
    built: str = Field(description="Date and time of the build, as its compiler wrote them")
    elf_sha256: str = Field(description="SHA-256 of the ELF file: names the build to a debugger")
    secure_version: int
    signed: bool = Field(description="It carries signatures for Secure Boot v2, which are not verified here")
    size: int = Field(description="Bytes")
    sha256: str
    notes: str
    uploaded_by: str
    created_at: datetime

    @classmethod
    def of(cls, row: FirmwareImage) -> "Firmware":
        """The image in a row."""
        return cls.model_validate(row, from_attributes=True)


class FirmwareChange(BaseModel):
    """Fields to change; what is left out stays as it is."""

    channel: Annotated[str, StringConstraints(max_length=tables.CHANNEL_CHARS)] | None = None
    notes: Notes | None = None


class UpgradeRequest(BaseModel):
    """The image that the device is to run."""

    image_id: int = Field(ge=1, le=2**53)


class UpgradeTold(BaseModel):
    """The device was told to update itself."""

    rollout_id: int = Field(description="The roll-out that follows the device")
    answer: str = Field(description="What the device answered")


@router.get("/firmware")
async def list_firmware(
    caller: FirmwareCaller,
    services: Services,
    board: Annotated[Word | None, Query(description="Only images for this type of board")] = None,
    channel: Annotated[Word | None, Query(description="Only images of this channel")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[Firmware]:
    """Registered images, the latest first."""
    found = await services.firmware.list(
        board=board, channel=channel, before=before_of(cursor), limit=limit + 1
    )
    return page_of([Firmware.of(row) for row in found], limit, last_id([row.id for row in found], limit))


@router.post("/firmware", status_code=201, openapi_extra=FILE_BODY)
async def upload_firmware(
    request: Request,
    response: Response,
    caller: FirmwareCaller,
    services: Services,
    board: Annotated[Word, Query(description="The board's type, as devices report it")],
    board_name: Annotated[
        Word | None, Query(description="Only for boards of the type that report this name")
    ] = None,
    channel: Annotated[Word, Query()] = DEFAULT_CHANNEL,
    notes: Annotated[Notes, Query()] = "",
) -> Firmware:
    """Registers the app image in the body (`build/NAME.bin`, at most 16 MiB), which is read and verified
    while it comes. Merged images, images of other formats, and versions that are not dotted numbers are
    refused with the reason."""
    told = NewImage(board, board_name or "", channel, notes)
    row = await services.firmware.add(stream(request, MAX_IMAGE_BYTES), told, caller.author)
    etags.tell(response, row.revision)
    return Firmware.of(row)


@router.get("/firmware/{image_id}")
async def read_firmware(
    image_id: RowId, response: Response, caller: FirmwareCaller, services: Services
) -> Firmware:
    """One image."""
    row = await services.firmware.get(image_id)
    etags.tell(response, row.revision)
    return Firmware.of(row)


@router.patch("/firmware/{image_id}")
async def change_firmware(
    image_id: RowId,
    change: FirmwareChange,
    response: Response,
    caller: FirmwareCaller,
    services: Services,
    if_match: etags.IfMatch = None,
) -> Firmware:
    """Changes the channel or the notes of an image; its roll-outs keep their own channel."""
    present = await services.firmware.get(image_id)
    etags.check(if_match, present.revision)
    row = await services.firmware.change(
        image_id, ImageChange(change.channel, change.notes), caller.author,
        revision=present.revision if if_match is not None else None,
    )  # fmt: skip
    etags.tell(response, row.revision)
    return Firmware.of(row)


@router.delete("/firmware/{image_id}", status_code=204)
async def delete_firmware(image_id: RowId, caller: FirmwareCaller, services: Services) -> None:
    """Deletes an image that no roll-out uses."""
    await services.firmware.delete(image_id, caller.author)


@router.post("/devices/{device_id}/upgrade")
async def upgrade_device(
    device_id: DeviceId, asked: UpgradeRequest, caller: FirmwareCaller, services: Services
) -> UpgradeTold:
    """Has a connected device update itself to an image at once, whatever its version is and although it does
    not update by itself. What becomes of it is in the roll-out whose id is returned."""
    told = await services.updates.upgrade(parse_device_id(device_id), asked.image_id, caller.author)
    require_done("upgrade", told.result)
    return UpgradeTold(rollout_id=told.rollout_id, answer=str(told.result.payload.get("text", "")))


def before_of(cursor: str | None) -> int | None:
    """The id before which a page begins. Raises Invalid."""
    key = key_of(cursor, int)
    return min(int(key[0]), 2**53) if key is not None else None


def last_id(found: Sequence[int | None], limit: int) -> int:
    """The id of the last item of a page, of which one more than `limit` was read; for `page_of`."""
    return (found[min(limit, len(found)) - 1] or 0) if found else 0
