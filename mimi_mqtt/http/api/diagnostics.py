"""One archive with what somebody needs who helps: redacted, so that it can be sent to him."""

import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import IO, Annotated, Final, Protocol

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/diagnostics", tags=["health"])

_IN_MEMORY: Final = 1_000_000
_CHUNK: Final = 65_536


class MakesArchives(Protocol):
    """The maker of the archive: `app.diagnostics.Diagnostics`."""

    async def write(self, file: IO[bytes]) -> None:
        """Writes it. Raises LimitReached while another one is made, StoreError."""


@router.get(
    "",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def read_diagnostics(
    caller: Annotated[Caller, callers(Scope.LOGS)], services: Services
) -> StreamingResponse:
    """A zip with versions, settings, health, problems, the last lines of the log, facts about the database,
    devices and last sessions. It holds no secret, no name of a person or device, and nothing that was said; a
    MAC address keeps its first half, and a number that is of this archive alone."""
    del caller
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the response closes it
    try:
        await services.diagnostics.write(file)
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)
    name = f"mimi-diagnostics-{datetime.now(UTC):%Y%m%d-%H%M%S}.zip"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(size),
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_chunks(file), media_type="application/zip", headers=headers)


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        while chunk := await run_in_threadpool(file.read, _CHUNK):
            yield chunk
    finally:
        file.close()
