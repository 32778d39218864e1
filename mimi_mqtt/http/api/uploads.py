"""Pictures that devices sent: screenshots and photos; screenshots on request; what files take."""

from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from mimi_mqtt.commands.model import Principal
from mimi_mqtt.errors import NotFound
from mimi_mqtt.files.uploads import Seer
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, moment_in, page_of
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.api.visibility import name_of
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.tables import StoredUpload
from mimi_mqtt.wire.topics import is_device_id

router = APIRouter(tags=["files"])

_SUFFIX: Final = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}

UploadId = Annotated[str, Field(pattern=r"^[a-z0-9]{1,32}$", description="Id of an upload")]


class Upload(BaseModel):
    """A picture that a device sent."""

    id: str
    device_id: str
    device_name: str = Field(description="Empty: it has none")
    kind: Literal["screenshot", "photo"]
    media_type: Literal["image/jpeg", "image/png", "image/webp"] = Field(description="Told by its bytes")
    bytes: int
    sha256: str
    conversation_id: str | None = Field(None, description="The conversation that a photo belongs to")
    created_at: datetime
    expires_at: datetime = Field(description="It is deleted then")


class ScreenshotRequest(BaseModel):
    """The request for a screenshot."""

    quality: int = Field(80, ge=1, le=100, description="Quality of the JPEG")


class FilesUse(BaseModel):
    """The use of storage by files."""

    files: int
    bytes: int
    quota_bytes: int | None = Field(description="Absent: no bound")
    place: str
    problem: str | None = Field(None, description="Why files can't be stored at present")
    damaged: list[str] = Field(description="Files that were found missing or damaged since the start")


@router.get("/files")
async def read_files(caller: Annotated[Caller, callers(Scope.HEALTH)], services: Services) -> FilesUse:
    """The part of their quota that files take, and if they can be read and written."""
    blobs = services.uploads.blobs
    usage = await blobs.usage()
    return FilesUse(
        files=usage.blobs,
        bytes=usage.bytes,
        quota_bytes=usage.quota or None,
        place=blobs.place.told,
        problem=blobs.failure or None,
        damaged=sorted(blobs.damaged.values()),
    )


@router.get("/uploads")
async def list_uploads(
    caller: Annotated[Caller, callers(Scope.FILES_READ)],
    services: Services,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    device_id: Annotated[str | None, Query(max_length=17, description="Only those of a device")] = None,
    kind: Annotated[Literal["screenshot", "photo"] | None, Query(description="Only those of a kind")] = None,
) -> Page[Upload]:
    """Pictures that devices sent, the newest first."""
    rows = await services.uploads.latest(
        seer_of(caller), limit=limit + 1, before=_before(cursor), device_id=device_id, kind=kind
    )
    last = rows[min(len(rows), limit) - 1] if rows else None
    key = (last.created_at.isoformat(), last.id) if last is not None else ()
    return page_of([_upload(row, services) for row in rows], limit, *key)


@router.get("/uploads/{upload_id}")
async def read_upload(
    upload_id: UploadId, caller: Annotated[Caller, callers(Scope.FILES_READ)], services: Services
) -> Upload:
    """A picture that a device sent, without its bytes."""
    return _upload(await services.uploads.get(upload_id, seer_of(caller)), services)


@router.get(
    "/uploads/{upload_id}/content",
    response_class=Response,
    responses={200: {"content": {name: {} for name in _SUFFIX}, "description": "The picture"}},
)
async def read_upload_content(
    upload_id: UploadId, caller: Annotated[Caller, callers(Scope.FILES_READ)], services: Services
) -> Response:
    """The picture itself. A browser shows it, and runs nothing that may be in it."""
    row = await services.uploads.get(upload_id, seer_of(caller))
    content = await services.uploads.blobs.open_content(row.sha256)
    return StreamingResponse(
        content.parts,
        media_type=row.media_type,
        headers={
            "Content-Length": str(content.size),
            "Content-Disposition": f'inline; filename="{row.kind}-{row.id}.{_SUFFIX[row.media_type]}"',
            "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, max-age=3600",
            "ETag": f'"{row.sha256}"',
        },
    )


@router.delete("/uploads/{upload_id}", status_code=204)
async def delete_upload(
    upload_id: UploadId, caller: Annotated[Caller, callers(Scope.FILES_WRITE)], services: Services
) -> None:
    """Deletes a picture."""
    await services.uploads.delete(upload_id, seer_of(caller), caller.author)


@router.post("/devices/{device_id}/screenshot", status_code=201)
async def take_screenshot(
    device_id: str,
    caller: Annotated[Caller, callers(Scope.COMMANDS, Scope.FILES_READ)],
    services: Services,
    asked: ScreenshotRequest | None = None,
) -> Upload:
    """Has a device that is connected send a screenshot, and waits for it, up to 45 s."""
    belonging = services.belonging(device_id) if is_device_id(device_id) else None
    if belonging is None or not caller.sees(belonging.owner_id, belonging.group_id):
        raise NotFound(f"there is no device {device_id[:40]}")
    wanted = asked or ScreenshotRequest()
    by = Principal(caller.name, device_id, user_tools=True)
    upload_id = await services.screenshots.take(
        device_id, by=by, author=caller.author, quality=wanted.quality
    )
    return _upload(await services.uploads.get(upload_id, seer_of(caller)), services)


def seer_of(caller: Caller) -> Seer:
    """The uploads and recordings that a caller may see."""
    return Seer(None) if caller.is_admin else Seer(caller.user_id, caller.groups)


def _before(cursor: str | None) -> tuple[datetime, str] | None:
    key = key_of(cursor, str, str)
    if key is None:
        return None
    return moment_in(str(key[0])), str(key[1])


def _upload(row: StoredUpload, services: ApiServices) -> Upload:
    return Upload.model_validate(
        {
            "id": row.id,
            "device_id": row.device_id,
            "device_name": name_of(services.directory, row.device_id),
            "kind": row.kind,
            "media_type": row.media_type,
            "bytes": row.bytes,
            "sha256": row.sha256,
            "conversation_id": row.session_id or None,
            "created_at": row.created_at,
            "expires_at": row.expires_at,
        }
    )
