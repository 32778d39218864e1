"""Length-prefixed messages over the pipes between the server and a decoding child.

To the child: the number of a request (u32, little-endian), the length in bytes (u32), a byte that is 1 when
the audio may be a command, and that many bytes of mono 16 kHz PCM (s16le). From the child: number and length
likewise, and a JSON object. Number 0 is said once, when the child is ready, or why it can't be.
"""

import json
import struct
from typing import NamedTuple

HEADER = struct.Struct("<II")
REQUEST = struct.Struct("<II?")
READY = 0
MAX_AUDIO_BYTES = 300 * 16_000 * 2
"""Longest utterance: 300 s."""
MAX_ANSWER_BYTES = 64 * 1024


class Heard(NamedTuple):
    """A child's result: the text, true for a sentence of the grammar, and the confidence (0 to 1)."""

    text: str
    command: bool
    confidence: float | None


def pack_request(number: int, pcm: bytes, *, commands: bool) -> bytes:
    """The request to decode `pcm`; `commands`: it may be one of the assistant's."""
    return REQUEST.pack(number, len(pcm), commands) + pcm


def pack_answer(number: int, heard: Heard) -> bytes:
    """The answer to request `number`."""
    body = json.dumps(heard).encode()
    return HEADER.pack(number, len(body)) + body


def pack_ready(failure: str = "") -> bytes:
    """The child's first message: ready, or the reason why not."""
    body = json.dumps(failure).encode()
    return HEADER.pack(READY, len(body)) + body


def parse_answer(body: bytes) -> Heard:
    """The answer in `body`. Raises ValueError for anything else."""
    match json.loads(body):
        case [str(text), bool(command), float() | None as confidence]:
            return Heard(text, command, confidence)
        case other:
            raise ValueError(f"not an answer: {other!r:.80}")


def parse_ready(body: bytes) -> str:
    """The reason why the child is not ready; empty when it is. Raises ValueError."""
    failure = json.loads(body)
    if not isinstance(failure, str):
        raise ValueError("not the word of a child that is ready")
    return failure
