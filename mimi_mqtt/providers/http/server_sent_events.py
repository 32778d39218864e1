"""Reads server-sent events (WHATWG HTML, section 9.2), as services stream their answers."""

import codecs
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.errors import ProviderBadAnswer

MAX_EVENT_CHARS: Final = 1_000_000
"""Longest event, and longest line; more is a broken answer."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event of `text/event-stream`; `kind` is `message` where the server names none."""

    kind: str
    data: str


class EventReader:
    """Cuts the bytes of provider `name`'s answer into events, whatever the pieces they come in.

    Lines end with CR, LF or both, and with nothing else: JSON may hold other line separators unescaped. An
    event that the answer ends in is dropped, as the standard says.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun: list[str] = []  # of a line
        self._begun_chars = 0
        self._after_cr = False  # a LF that follows belongs to it
        self._first = True
        self._kind = ""
        self._data: list[str] = []
        self._data_chars = 0

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """The events that `piece` completes. Raises ProviderBadAnswer for one that does not end."""
        text = self._decoder.decode(piece)
        if self._first and text:
            self._first, text = False, text.removeprefix("\ufeff")
        if self._after_cr and text:
            self._after_cr, text = False, text.removeprefix("\n")
        self._after_cr |= text.endswith("\r")
        *ended, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        events: list[ServerSentEvent] = []
        for end in ended:
            line = "".join((*self._begun, end))
            self._begun.clear()
            self._begun_chars = 0
            if (event := self._take(line)) is not None:
                events.append(event)
        if rest:
            self._begun.append(rest)
            self._begun_chars += len(rest)
            self._bound(self._begun_chars)
        return events

    def _take(self, line: str) -> ServerSentEvent | None:
        """The event that an empty line ends, if it has any data."""
        if not line:
            event = ServerSentEvent(self._kind or "message", "\n".join(self._data)) if self._data else None
            self._kind, self._data, self._data_chars = "", [], 0
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._kind = value
        elif field == "data":
            self._data.append(value)
            self._data_chars += len(value) + 1
            self._bound(self._data_chars)
        return None

    def _bound(self, chars: int) -> None:
        if chars > MAX_EVENT_CHARS:
            raise ProviderBadAnswer(self._name, "an event does not end")
