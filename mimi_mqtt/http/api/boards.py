"""Boards that were seen: types, their chips and flash, the versions that run on them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/boards", tags=["boards"])


class BoardType(BaseModel):
    """A type of board; sizes in bytes, absent when no device reported them."""

    type: str = Field(description="As devices report it, such as bread-compact-wifi")
    name: str
    chip: str
    devices: int
    versions: dict[str, int] = Field(description="Devices by firmware version")
    flash_bytes: int | None
    app_bytes: int | None = Field(description="Room for a firmware")
    assets_bytes: int | None = Field(description="Size of the assets partition")
    first_seen_at: datetime | None
    last_seen_at: datetime | None


class BoardTypes(BaseModel):
    """Every type of board."""

    items: list[BoardType]


@router.get("")
async def list_boards(caller: Annotated[Caller, callers(Scope.FLEET)], services: Services) -> BoardTypes:
    """Every type of board that was seen, by its type."""
    items = []
    for found in await services.devices.boards():
        board = found.board
        items.append(
            BoardType(
                type=found.type,
                name=board.name if board is not None else "",
                chip=board.chip if board is not None else "",
                devices=sum(found.versions.values()),
                versions=dict(found.versions),
                flash_bytes=board.flash_bytes or None if board is not None else None,
                app_bytes=board.app_bytes or None if board is not None else None,
                assets_bytes=board.assets_bytes or None if board is not None else None,
                first_seen_at=board.first_seen_at if board is not None else None,
                last_seen_at=board.last_seen_at if board is not None else None,
            )
        )
    return BoardTypes(items=items)
