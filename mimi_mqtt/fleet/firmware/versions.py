"""Versions of firmware: dotted integers, compared as devices do; pure.

Firmware puts each part between dots through `std::stoi`, which aborts the device on a part that does not
begin with digits, or is beyond 31 bits; a suffix (`1.2.3-beta`) is ignored there, so that two builds would
look alike (device contract, section 1). Only versions of plain numbers are registered and sent.
"""

import re
from typing import Final

from mimi_mqtt.errors import Invalid

MAX_PARTS: Final = 8
"""Most numbers of a version."""
MAX_DIGITS: Final = 9
"""Most digits of a number: always within 31 bits."""

_PLAIN: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,7}")
_PART: Final = re.compile(r"[0-9]{1,9}(?![0-9])")


def is_plain(version: str) -> bool:
    """True for dotted integers that every device can compare."""
    return _PLAIN.fullmatch(version) is not None


def check(version: str) -> str:
    """The version of an image to register. Raises Invalid: it is not dotted integers."""
    if not is_plain(version):
        raise Invalid(
            f"the version of this image is {version[:64]!r}: devices compare dotted numbers such as 2.3.1 "
            "(at most "
            f"{MAX_PARTS} numbers of {MAX_DIGITS} digits), and may abort on anything else; set PROJECT_VER "
            "to "
            "such a version and build the image again"
        )
    return version


def numbers(version: str) -> tuple[int, ...] | None:
    """The numbers that a device compares, without what follows the digits of a part; None for a version that
    it can't compare."""
    found = []
    for part in version.split("."):
        match = _PART.match(part)
        if match is None:
            return None
        found.append(int(match[0]))
    return tuple(found)


def is_newer(version: str, than: str) -> bool:
    """True when a device that runs `than` takes `version` for newer: the first number that differs decides,
    and of two that agree the longer one is newer. False when either can't be compared."""
    ours, theirs = numbers(version), numbers(than)
    return ours is not None and theirs is not None and ours > theirs


def is_same(version: str, other: str) -> bool:
    """True when a device sees no difference between the two."""
    ours = numbers(version)
    return ours is not None and ours == numbers(other)
