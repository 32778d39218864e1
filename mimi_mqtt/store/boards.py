"""The boards that were seen, as their last OTA reports tell of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import Board

MAX_BOARDS = 1_000
"""Types of boards that are remembered: devices name them as they like."""


@dataclass(frozen=True, slots=True)
class BoardReport:
    """Facts about a type of board; sizes in bytes, 0 when the report does not tell."""

    type: str
    name: str
    chip: str
    flash_bytes: int
    app_bytes: int
    assets_bytes: int


async def see(session: AsyncSession, reports: Iterable[BoardReport], at: datetime) -> None:
    """Takes note of boards; what a report does not tell stays as it was."""
    latest = {report.type: report for report in reports}
    known = {
        board.type: board
        for board in await session.scalars(
            select(Board).where(col(Board.type).in_(latest)).order_by(col(Board.type))
        )
    }
    free = MAX_BOARDS - (await session.scalars(select(func.count()).select_from(Board))).one()
    for kind in sorted(latest):
        report, board = latest[kind], known.get(kind)
        if board is None:
            if free <= 0:
                continue
            free -= 1
            board = Board(
                type=kind, flash_bytes=0, app_bytes=0, assets_bytes=0, first_seen_at=at, last_seen_at=at
            )
            session.add(board)
        board.last_seen_at = at
        for name in ("name", "chip", "flash_bytes", "app_bytes", "assets_bytes"):
            if value := getattr(report, name):
                setattr(board, name, value)
    await session.flush()
