"""Facts about a board in an OTA report: chip, flash, partitions; and the boards that are due to be stored."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from mimi_mqtt.store import tables
from mimi_mqtt.store.boards import MAX_BOARDS, BoardReport
from mimi_mqtt.store.devices import Boot
from mimi_mqtt.store.values import bounded

STORED_EVERY: Final = timedelta(minutes=10)
"""Time after which a board that is seen again is stored again, unless it changed."""

_APP_TYPE: Final = 0
_MAX_BYTES: Final = 2**31 - 1


def report_of(boot: Boot) -> BoardReport | None:
    """The board of a device that booted; None when it does not name one."""
    kind = bounded(boot.board, tables.BOARD_CHARS)
    if not kind:
        return None
    report = boot.report or {}
    partitions = [each for each in _list(report.get("partition_table")) if isinstance(each, Mapping)]
    apps = [_size(each.get("size")) for each in partitions if each.get("type") == _APP_TYPE]
    assets = [_size(each.get("size")) for each in partitions if each.get("label") == "assets"]
    chip = report.get("chip_model_name")
    return BoardReport(
        kind,
        bounded(boot.board_name, tables.BOARD_CHARS),
        bounded(chip, tables.CHIP_CHARS) if isinstance(chip, str) else "",
        _size(report.get("flash_size")),
        min((size for size in apps if size), default=0),
        max(assets, default=0),
    )


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _size(value: object) -> int:
    return value if type(value) is int and 0 < value <= _MAX_BYTES else 0


class BoardWatch:
    """Tells the boards whose facts are new: thousands of devices of one type boot at once."""

    def __init__(self) -> None:
        self._stored: dict[str, tuple[BoardReport, datetime]] = {}

    def due(self, boots: Sequence[Boot]) -> list[BoardReport]:
        """The boards of these devices that are to be stored."""
        found = []
        for boot in boots:
            report = report_of(boot)
            if report is None:
                continue
            known = self._stored.get(report.type)
            if known is not None and known[0] == report and boot.at - known[1] < STORED_EVERY:
                continue
            if len(self._stored) >= MAX_BOARDS and known is None:
                continue
            self._stored[report.type] = (report, boot.at)
            found.append(report)
        return found
