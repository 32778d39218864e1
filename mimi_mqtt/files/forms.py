"""Forms with a file (multipart/form-data, RFC 7578), read while they come: neither the form nor its file is
ever in memory whole, and each part is bounded."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from mimi_mqtt.errors import Invalid

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS: Final = 8
"""Parts of a form."""
MAX_HEADERS: Final = 8
"""Headers of one part."""
MAX_HEADER_BYTES: Final = 1_024
"""Longest header of a part, in bytes."""
OVERHEAD_BYTES: Final = 65_536
"""Bytes that a form may have beside its file."""
_SLICE_BYTES: Final = 16_384

T = TypeVar("T")


class FormFile(Generic[T]):
    """A form that was read: its fields, and what became of its file."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.file: T | None = None


async def read_form(
    content_type: str,
    source: AsyncIterator[bytes],
    *,
    fields: Mapping[str, int],
    file: str,
    take: Callable[[AsyncIterator[bytes]], Awaitable[T]],
) -> FormFile[T]:
    """Reads a form with a file named `file`, whose bytes `take` gets as they come.

    `fields` are the fields that are kept, each with its greatest length in bytes; others are passed over. Of
    several files the first counts. The names that a client gives to files are not read.

    Raises Invalid for what is no such form, and what `take` and `source` raise.
    """
    form = _Form(content_type, source, fields, file)
    found = FormFile[T]()
    while (name := await form.next_part()) is not None:
        if name == file and found.file is None:
            found.file = await take(form.bytes_of_part())
            await form.skip_part()
        elif name in fields:
            found.fields[name] = await form.text_of_part(fields[name])
        else:
            await form.skip_part()
    if not form.ended:
        raise Invalid("the form is cut off: its last boundary is missing")
    return found


class _Form:
    """Pulls the parts of a form out of a parser that is fed with the source."""

    def __init__(
        self, content_type: str, source: AsyncIterator[bytes], fields: Mapping[str, int], file: str
    ) -> None:
        from python_multipart import MultipartParser
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import parse_options_header

        kind, options = parse_options_header(content_type[:500])
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise Invalid(
                f"the body must be multipart/form-data with a boundary, and the picture in {file!r}"
            )
        self._error = FormParserError
        self._options = parse_options_header
        self._known = {*fields, file}
        self._source = source
        self._parts = 0
        self._header = self._value = b""
        self._name = ""
        self._events: deque[str | bytes | None] = deque()
        """Of parts: a name begins one, bytes are of it, None ends it."""
        self.ended = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._part_began,
            "on_header_field": self._header_came,
            "on_header_value": self._value_came,
            "on_header_end": self._header_ended,
            "on_headers_finished": self._headers_ended,
            "on_part_data": self._data_came,
            "on_part_end": self._part_ended,
            "on_end": self._form_ended,
        }
        try:
            self._parser = MultipartParser(
                boundary, callbacks, max_header_count=MAX_HEADERS, max_header_size=MAX_HEADER_BYTES
            )
        except FormParserError as error:
            raise Invalid(f"the body is no form: {error}") from None

    async def next_part(self) -> str | None:
        """The name of the next part, "" for one without; None at the end."""
        while await self._filled():
            event = self._events.popleft()
            if isinstance(event, str):
                return event
        return None

    async def bytes_of_part(self) -> AsyncIterator[bytes]:
        """The bytes of the present part. Raises Invalid when the form ends before it."""
        while await self._filled():
            event = self._events[0]
            if not isinstance(event, bytes):
                return
            self._events.popleft()
            yield event
        raise Invalid("the form is cut off in the middle of its file")

    async def text_of_part(self, max_bytes: int) -> str:
        """The present part as text. Raises Invalid when it is longer, or no UTF-8."""
        gathered = bytearray()
        async for part in self.bytes_of_part():
            gathered += part
            if len(gathered) > max_bytes:
                raise Invalid(f"a field of the form is longer than {max_bytes} bytes")
        try:
            return gathered.decode()
        except UnicodeDecodeError:
            raise Invalid("a field of the form is not UTF-8") from None

    async def skip_part(self) -> None:
        """Passes over the rest of the present part."""
        async for _ in self.bytes_of_part():
            pass

    async def _filled(self) -> bool:
        """True when there is an event; False at the end of the source."""
        while not self._events:
            piece = await anext(self._source, None)
            if piece is None:
                return False
            for start in range(0, len(piece), _SLICE_BYTES):
                try:
                    self._parser.write(piece[start : start + _SLICE_BYTES])
                except self._error as error:
                    raise Invalid(f"the body is no form: {error}") from None
        return True

    # ── what the parser tells ───────────────────────────────────────────────────────────────────────────

    def _part_began(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Invalid(f"the form has more than {MAX_PARTS} parts")
        self._header = self._value = b""
        self._name = ""

    def _header_came(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _value_came(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ended(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = self._options(self._value)
            name = options.get(b"name", b"").decode("utf-8", "replace")
            self._name = name if name in self._known else ""
        self._header = self._value = b""

    def _headers_ended(self) -> None:
        self._events.append(self._name)

    def _data_came(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _part_ended(self) -> None:
        self._events.append(None)

    def _form_ended(self) -> None:
        self.ended = True
