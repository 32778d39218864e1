"""Fuzz targets of what devices post: forms with a picture, and tokens of cameras."""

import asyncio
from collections.abc import AsyncIterator

from mimi_mqtt.commands.vision import VisionTokens
from mimi_mqtt.errors import Invalid
from mimi_mqtt.files.forms import MAX_PARTS, read_form
from mimi_mqtt.files.images import media_type
from tests.fuzz.target import Target, pieces, told_briefly

_TYPE = "multipart/form-data; boundary=B"
_FIELDS = {"question": 64}
_FORM = (
    b'--B\r\nContent-Disposition: form-data; name="question"\r\n\r\nwhat?\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="camera.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n\xff\xd8\xff\xe0picture\r\n--B--\r\n"
)


def _form(data: bytes) -> bool:
    """A form is read the same in any pieces, or is refused; what it gives is bounded."""
    whole, cut = _read(data, [data]), _read(data, list(pieces(data)))
    assert (whole is None) == (cut is None), "pieces decide whether a form is good"
    assert whole == cut, "pieces change what a form has"
    return whole is not None


def _read(data: bytes, cut: list[bytes]) -> tuple[dict[str, str], bytes | None] | None:
    async def source() -> AsyncIterator[bytes]:
        for piece in cut:
            yield piece

    async def take(parts: AsyncIterator[bytes]) -> bytes:
        return b"".join([part async for part in parts])

    async def read() -> tuple[dict[str, str], bytes | None] | None:
        try:
            form = await read_form(_TYPE, source(), fields=_FIELDS, file="file", take=take)
        except Invalid as error:
            told_briefly(error)
            return None
        assert set(form.fields) <= set(_FIELDS)
        assert all(len(value.encode()) <= 64 for value in form.fields.values())
        assert form.file is None or form.file in data
        assert data.count(b"Content-Disposition") <= MAX_PARTS * 9
        media_type(form.file or b"")
        return form.fields, form.file

    return asyncio.run(read())


_TOKENS = VisionTokens(lambda: (b"k" * 32,), lambda device: "s-1" if device == "d" else "")
_TOKEN = _TOKENS.grant("d", 0.0)


def _token(data: bytes) -> bool:
    """No token but those that were granted is good, and none for another device."""
    token = data.decode("utf-8", "replace")
    assert _TOKENS.session(token, "other", 1.0) is None
    good = _TOKENS.session(token, "d", 1.0)
    assert (good is None) == (token != _TOKEN), "a token that was not granted is good"
    return good is not None


TARGETS = (
    Target(
        "files-form",
        _form,
        (_FORM, _FORM.replace(b"question", b"other")),
        (b"--B", b"--B--", b"\r\n", b"Content-Disposition: form-data; name=", b'"file"', b'filename="', b":"),
    ),
    Target("files-token", _token, (_TOKEN.encode(),), (b".", b"s-1", b"86400")),
)
