"""The types of pictures that are accepted, by their first bytes; pure."""

from typing import Final

HEAD_BYTES: Final = 12
"""Bytes that tell the type of a picture."""


def media_type(head: bytes) -> str | None:
    """The media type of a picture that begins with `head`; None for anything but JPEG, PNG and WebP."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None
