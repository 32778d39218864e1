"""Fuzz target of the log: what devices, vendors and strangers say, as it is written."""

import json
import logging

from mimi_mqtt.log.formatters import MAX_FIELD_CHARS, MAX_MESSAGE_CHARS, JsonFormatter, TextFormatter
from tests.fuzz.target import Target

_TEXT, _JSON = TextFormatter(), JsonFormatter()
_LONGEST = 12 * (MAX_MESSAGE_CHARS + MAX_FIELD_CHARS)  # when each character is escaped


def check_line(data: bytes) -> bool:
    """A message and a field from outside: one printable line in both forms, of bounded length."""
    message, _, field = data.decode(errors="surrogateescape").partition("\n\n")
    record = logging.LogRecord("mimi_mqtt.fuzz", logging.INFO, "f.py", 1, "%s", (message,), None)
    record.device = field
    text, line = _TEXT.format(record), _JSON.format(record)
    assert text.isprintable()
    assert line.isprintable()
    assert max(len(text), len(line)) <= _LONGEST
    told = json.loads(line)
    assert told["message"].startswith(message[:MAX_MESSAGE_CHARS])
    line.encode()
    text.encode()
    return True


TARGETS = (
    Target(
        "log-line",
        check_line,
        (b'wrong password\x1b[2J\r\n12:00:00 INFO faked\n\nid=1 x="2"', "grüße\u2028\u202e\n\n\x07".encode()),
        (
            b"\x1b[",
            b"\r\n",
            "\u2028".encode(),
            "\u202e".encode(),
            b"=",
            b'"',
            b"\\",
            b"\xed\xa0\x80",
            b"\n\n",
        ),
        6_000,
    ),
)
