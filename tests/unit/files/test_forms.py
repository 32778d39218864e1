"""Forms with a file are read while they come, in whatever pieces, within their bounds."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import Invalid
from mimi_mqtt.files import forms
from mimi_mqtt.files.forms import FormFile, read_form

TYPE = "multipart/form-data; boundary=----ESP32_CAMERA_BOUNDARY"
EDGE = b"------ESP32_CAMERA_BOUNDARY"
PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 20


def part(name: str, content: bytes, extra: str = "", headers: bytes = b"") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"{extra}\r\n'.encode()
    return EDGE + b"\r\n" + head + headers + b"\r\n" + content + b"\r\n"


END = EDGE + b"--\r\n"
FORM = (
    part("question", "What is thіs?".encode())
    + part("file", PHOTO, '; filename="camera.jpg"', b"Content-Type: image/jpeg\r\n")
    + END
)


async def pieces(data: bytes, size: int = 1_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read(data: bytes, size: int = 1_000, content_type: str = TYPE) -> FormFile[bytes]:
    async def take(parts: AsyncIterator[bytes]) -> bytes:
        return b"".join([part async for part in parts])

    return await read_form(content_type, pieces(data, size), fields={"question": 100}, file="file", take=take)


@pytest.mark.parametrize("size", [1, 7, 1_000, 1 << 20])
async def test_a_form_is_read_in_pieces_of_any_size(size: int) -> None:
    found = await read(FORM, size)
    assert found.fields == {"question": "What is thіs?"}
    assert found.file == PHOTO


async def test_the_field_may_come_after_the_file() -> None:
    found = await read(part("file", PHOTO) + part("question", b"later") + END)
    assert (found.fields, found.file) == ({"question": "later"}, PHOTO)


async def test_the_first_of_several_files_counts_and_unknown_fields_are_passed_over() -> None:
    found = await read(part("name", b"x" * 5_000) + part("file", b"1") + part("file", b"2") + END)
    assert (found.fields, found.file) == ({}, b"1")


async def test_a_file_that_was_not_taken_whole_is_passed_over() -> None:
    async def take(parts: AsyncIterator[bytes]) -> int:
        return len(await anext(parts))

    found = await read_form(TYPE, pieces(FORM, 700), fields={"question": 100}, file="file", take=take)
    assert found.file is not None
    assert found.file < 1_000


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\\\..\\\\boot.ini", "\u202egpj.exe", "a" * 700, "/dev/null"]
)
async def test_the_name_of_a_file_changes_nothing(name: str) -> None:
    found = await read(part("file", PHOTO, f'; filename="{name}"') + END)
    assert found.file == PHOTO


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (part("question", b"x" * 101) + END, "longer than 100 bytes"),
        (part("question", b"\xff") + END, "UTF-8"),
        (part("x", b"y") * (forms.MAX_PARTS + 1) + END, "more than 8 parts"),
        (part("file", PHOTO)[:-400], "cut off"),
        (part("file", PHOTO), "cut off"),
        (part("file", PHOTO, headers=b"A: b\r\n" * 9) + END, "header count"),
        (part("file", PHOTO, headers=b"A: " + b"b" * 2_000 + b"\r\n") + END, "header size"),
        (b"nothing of the kind", "no form"),
        (b"", "cut off"),
    ],
)
async def test_a_form_beyond_its_bounds_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        await read(data)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=" + "x" * 300,
        "multipart/mixed; boundary=x",
    ],
)
async def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(Invalid, match=r"multipart/form-data|no form"):
        await read(FORM, content_type=content_type)


async def test_millions_of_parts_are_refused_with_the_first_few() -> None:
    sent = 0

    async def bomb() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield part("x", b"") * 100

    async def take(_: AsyncIterator[bytes]) -> None:
        raise AssertionError

    with pytest.raises(Invalid, match="more than 8 parts"):
        await read_form(TYPE, bomb(), fields={}, file="file", take=take)
    assert sent == 1


async def test_a_header_without_end_is_refused_soon() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield EDGE + b"\r\nX: "
        while True:
            sent += 1_000
            yield b"x" * 1_000

    async def take(_: AsyncIterator[bytes]) -> None:
        raise AssertionError

    with pytest.raises(Invalid, match="header size"):
        await read_form(TYPE, endless(), fields={}, file="file", take=take)
    assert sent <= 4_000


@given(st.binary(max_size=300), st.integers(1, 40))
async def test_any_bytes_are_a_form_or_are_refused(data: bytes, size: int) -> None:
    for body in (data, EDGE + b"\r\n" + data, part("file", data.replace(b"\r", b"")) + data):
        with suppress(Invalid):
            assert set((await read(body, size)).fields) <= {"question"}
