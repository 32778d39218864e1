"""Removal of what identifies a modem, a SIM card or its place from an OTA report.

Cellular boards report IMEI and ICCID, which are personal data, and the cell they are in. This server needs
none of them (device contract, section 1).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "(masked)"

CELLULAR_FIELDS: Final = frozenset({"revision", "carrier", "csq", "imei", "iccid", "cereg"})
"""Fields of a report's `board` that only cellular boards send."""

_PERSONAL: Final = frozenset({"imei", "imeisv", "iccid", "imsi", "msisdn", "eid", "cereg", "cgreg", "creg"})
# An IMEI has 15 digits, an ICCID 19 or 20, wherever a board may put them; nothing else in a report is so long
# and all digits.
_LONG_NUMBER: Final = re.compile(r"(?<![0-9A-Za-z])[0-9]{14,22}F?(?![0-9A-Za-z])")
_SHORTEST: Final = 8


def is_cellular(report: Mapping[str, Any]) -> bool | None:
    """True for the report of a cellular board, None when the report says nothing of its board."""
    board = report.get("board")
    if not isinstance(board, Mapping) or not board:
        return None
    return "ssid" not in board and not CELLULAR_FIELDS.isdisjoint(board)


class SubscriberMask:
    """Masks the personal values of one report, in it and in other texts of the same request.

    The nesting of `report` is bounded by `strict_json`.
    """

    def __init__(self, report: Mapping[str, Any]) -> None:
        # The longest first: one may contain another.
        longest = sorted(_personal_values(report), key=lambda value: (-len(value), value))
        self._values = re.compile("|".join(map(re.escape, longest)), re.IGNORECASE) if longest else None

    def of_object(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of `value` without personal fields at any depth; their values are masked elsewhere too."""
        return {
            self.of_text(name): self._of(part)
            for name, part in value.items()
            if name.strip().lower() not in _PERSONAL
        }

    def of_text(self, text: str) -> str:
        """`text` with personal values masked."""
        if self._values is not None:
            text = self._values.sub(MASK, text)
        return _LONG_NUMBER.sub(MASK, text)

    def _of(self, value: object) -> object:
        if isinstance(value, Mapping):
            return self.of_object(value)
        if isinstance(value, list):
            return [self._of(part) for part in value]
        if isinstance(value, str):
            return self.of_text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            # 2^53 and more: a float shows its digits too.
            return value if self.of_text(f"{value:.0f}") == f"{value:.0f}" else MASK
        return value


def _personal_values(report: Mapping[str, Any]) -> frozenset[str]:
    """The texts and numbers under personal fields that are long enough to be told apart from others."""
    found: set[str] = set()
    waiting: list[tuple[object, bool]] = [(report, False)]
    while waiting:
        value, personal = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(part, personal or name.strip().lower() in _PERSONAL) for name, part in value.items()]
        elif isinstance(value, list):
            waiting += [(part, personal) for part in value]
        elif personal and isinstance(value, str | int) and len(text := str(value).strip()) >= _SHORTEST:
            found.add(text)
    return frozenset(found)
