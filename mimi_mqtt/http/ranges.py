"""Conditional and partial requests for one file (RFC 9110, sections 13 and 14); pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The answer to a request: `status` 200, 206, 304 or 416, and the bytes from `start` to before
    `end`."""

    status: int
    start: int = 0
    end: int = 0

    def content_range(self, size: int) -> str | None:
        """The Content-Range of the answer; None for one without."""
        if self.status == 416:
            return f"bytes */{size}"
        return f"bytes {self.start}-{self.end - 1}/{size}" if self.status == 206 else None


def wanted(headers: Mapping[str, str], etag: str, size: int) -> Wanted:
    """The part that a GET wants of a file with this strong ETag. Several ranges at once, and a range that
    can't be read, are answered with all of it, which section 14.2 allows."""
    tags = headers.get("if-none-match")
    if tags is not None and any(tag.strip().removeprefix("W/") in (etag, "*") for tag in tags.split(",")):
        return Wanted(304)
    match = _RANGE.fullmatch(headers.get("range", "").strip().replace(" ", ""))
    condition = headers.get("if-range")
    # A date is never taken for fresh: this server tells none.
    if match is None or (condition is not None and condition.strip() != etag):
        return Wanted(200, 0, size)
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return Wanted(200, 0, size)
    return Wanted(206, start, end) if start < end else Wanted(416)
