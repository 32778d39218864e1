"""Backups that the server made, and the database that they are of."""

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, SecretStr

from mimi_mqtt.backup.stored import MAX_PASSPHRASE_CHARS
from mimi_mqtt.http.api import paging
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.models import Input
from mimi_mqtt.http.api.paging import Cursor, Limit, Page
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.backups import RUNNING
from mimi_mqtt.store.migrations import HEAD
from mimi_mqtt.store.tables import BackupRow

router = APIRouter(tags=["backups"])

BackupId = Annotated[int, Path(ge=1, le=2**53, description="The id of a backup")]


class Backup(BaseModel):
    """One backup. It can be restored by `mimi-mqtt restore` alone."""

    id: int
    name: str = Field(description="Its file in `backup.folder` of the node")
    node: str = Field(description="The machine that made it")
    state: str = Field(description="`running`, `done` or `failed`")
    scheduled: bool = Field(description="False when somebody asked for it")
    author: str = Field(description="The name of who asked for it; empty for a scheduled one")
    started_at: datetime
    ended_at: datetime | None = None
    bytes: int | None = Field(None, description="Size of the file; while it is made, so far")
    missing_files: int = Field(description="Stored files that were not there when it was made")
    problem: str = Field(description="Why it failed, and what to do; empty when it did not")

    @classmethod
    def of(cls, row: BackupRow) -> "Backup":
        """A row of the table."""
        return cls.model_validate(row, from_attributes=True)


class Passphrase(Input):
    """The passphrase of a backup."""

    passphrase: SecretStr = Field(min_length=1, max_length=MAX_PASSPHRASE_CHARS)


class RestoreCheck(BaseModel):
    """The contents of a backup that can be restored."""

    made_at: datetime
    version: str = Field(description="Of the program that made it")
    schema_revision: str
    database: str = Field(description="`sqlite` or `postgresql`; either can be restored into either")
    rows: dict[str, int] = Field(description="Rows by table")
    files: int
    missing_files: int


class DatabaseCopy(BaseModel):
    """A copy that was made before a migration."""

    name: str
    schema_revision: str
    made_at: datetime


class Database(BaseModel):
    """The database."""

    kind: str = Field(description="`sqlite` or `postgresql`")
    place: str = Field(description="Its file, or its URL without the password")
    schema_revision: str
    newest_schema_revision: str = Field(description="The newest that this server knows")
    bytes: int = Field(description="Its size on disk")
    problem: str = Field(description="Why the last access failed, and what to do; empty when it did not")
    copies: list[DatabaseCopy]


@router.get("/backups")
async def list_backups(
    services: Services,
    caller: Annotated[Caller, callers(Scope.SETTINGS_READ)],
    limit: Limit = paging.DEFAULT_PAGE,
    cursor: Cursor = None,
) -> Page[Backup]:
    """The backups that the server made, on a schedule or when asked, the newest first."""
    key = paging.key_of(cursor, int)
    found = [Backup.of(row) for row in await services.backups.latest(limit + 1, int(key[0]) if key else None)]
    return paging.page_of(found, limit, found[min(limit, len(found)) - 1].id if found else 0)


@router.post("/backups", status_code=202)
async def start_backup(
    services: Services, caller: Annotated[Caller, callers(Scope.SETTINGS_WRITE)]
) -> Backup:
    """Begins a backup, encrypted with the passphrase of `backup.passphrase_file`."""
    return Backup.of(await services.backups.request(caller.author))


@router.get("/backups/{backup_id}")
async def read_backup(
    backup_id: BackupId, services: Services, caller: Annotated[Caller, callers(Scope.SETTINGS_READ)]
) -> Backup:
    """A backup; while it is made, with the bytes that were written so far."""
    row = await services.backups.get(backup_id)
    told = Backup.of(row)
    if row.state == RUNNING:
        told.bytes = await asyncio.to_thread(services.backups.stored.written, row)
    return told


@router.get(
    "/backups/{backup_id}/content",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The file"}, 206: {}},
)
async def download_backup(
    backup_id: BackupId, services: Services, caller: Annotated[Caller, callers(Scope.SETTINGS_WRITE)]
) -> Response:
    """The file of a backup, as it is: encrypted. It has everything that the server is, for whoever knows the
    passphrase."""
    row, path = await services.backups.stored.download(caller.author, backup_id)
    return FileResponse(
        path, media_type="application/octet-stream", filename=row.name, headers={"Cache-Control": "no-store"}
    )


@router.post("/backups/{backup_id}/check")
async def check_backup(
    backup_id: BackupId,
    given: Passphrase,
    services: Services,
    caller: Annotated[Caller, callers(Scope.SETTINGS_WRITE)],
) -> RestoreCheck:
    """Proves that a backup can be restored: reads all of it with the passphrase, and changes nothing. 422
    with the reason when it can't. The passphrase is neither kept nor logged."""
    stored = services.backups.stored
    manifest, end = await stored.check(caller.author, backup_id, given.passphrase.get_secret_value())
    return RestoreCheck(
        made_at=manifest.made_at,
        version=manifest.version,
        schema_revision=manifest.schema_revision,
        database=manifest.database,
        rows=end.rows,
        files=end.files,
        missing_files=end.missing_files,
    )


@router.delete("/backups/{backup_id}", status_code=204)
async def delete_backup(
    backup_id: BackupId, services: Services, caller: Annotated[Caller, callers(Scope.SETTINGS_WRITE)]
) -> None:
    """Deletes a backup with its file."""
    await services.backups.stored.remove(caller.author, backup_id)


@router.get("/database")
async def read_database(
    services: Services, caller: Annotated[Caller, callers(Scope.SETTINGS_READ)]
) -> Database:
    """The database: its place, schema and size, and the copies made before migrations."""
    store = services.database
    return Database(
        kind="sqlite" if store.is_sqlite else "postgresql",
        place=store.place,
        schema_revision=await store.revision() or "",
        newest_schema_revision=HEAD,
        bytes=await store.size(),
        problem=store.failure,
        copies=[
            DatabaseCopy(name=copy.name, schema_revision=copy.revision, made_at=copy.made_at)
            for copy in await store.copies()
        ],
    )
