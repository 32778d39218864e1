"""The Accept-Language header (RFC 9110, section 12.5.4): which language a device wants most."""

import re
from typing import Final

_MAX_RANGES: Final = 32
"""Languages of one header that are looked at."""

_RANGE: Final = re.compile(
    r"([A-Za-z]{1,8}(?:[-_][A-Za-z0-9]{1,8})*)\s*(?:;\s*[qQ]\s*=\s*([01](?:\.\d{0,3})?)\s*)?"
)


def preferred(header: str) -> str:
    """The language of highest quality, the first of equals, such as `zh-CN`; empty when there is none.

    What is not understood is passed over. `*` (any) and languages of quality 0 (unwanted) are no wish.
    """
    best, wish = 0.0, ""
    for part in header.split(",", _MAX_RANGES)[:_MAX_RANGES]:
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            continue
        quality = 1.0 if match[2] is None else min(float(match[2]), 1.0)
        if quality > best:
            best, wish = quality, match[1].replace("_", "-")
    return wish
