"""Messages that fit into what a device can take: long texts end at a sentence. Pure."""

import re
from dataclasses import replace
from typing import Final

from mimi_mqtt.wire.messages import Alert, Notify, ServerMessage, Stt, Tts, encode

_ELLIPSIS: Final = "…"
_SENTENCE_END: Final = re.compile(r"[.!?…](?=\s)|[。！？\n]")


def encode_within(message: ServerMessage, session_id: str, max_bytes: int) -> bytes:
    """`messages.encode`, with the text of `stt`, `tts` and `alert` cut so that all has `max_bytes` at most;
    of a `notify` the last subtitles are left out.

    A message without a text to cut is encoded as it is; so is one whose other fields are too long already.
    """
    payload = encode(message, session_id)
    while isinstance(message, Notify) and message.subtitles and len(payload) > max_bytes:
        message = replace(message, subtitles=message.subtitles[:-1])
        payload = encode(message, session_id)
    if len(payload) <= max_bytes or not isinstance(message, Stt | Tts | Alert):
        return payload
    return encode(_with_text(message, text_within(message, session_id, max_bytes)), session_id)


def text_within(message: Stt | Tts | Alert, session_id: str, max_bytes: int) -> str:
    """The text of `message`, cut where the encoded message would have more than `max_bytes`."""
    text = message.message if isinstance(message, Alert) else message.text
    size = len(encode(message, session_id))
    if size <= max_bytes:
        return text
    # JSON's escapes make a text longer: begin with what would fit if they were spread evenly.
    rest = len(encode(_with_text(message, ""), session_id))
    room = len(text.encode(errors="replace")) * max(0, max_bytes - rest) // max(1, size - rest)
    while True:
        cut = cut_at_sentence(text, room)
        excess = len(encode(_with_text(message, cut), session_id)) - max_bytes
        if excess <= 0 or not cut:
            return cut
        room = min(room, len(cut.encode(errors="replace"))) - excess  # or the same sentence would come again


def _with_text(message: Stt | Tts | Alert, text: str) -> ServerMessage:
    return replace(message, message=text) if isinstance(message, Alert) else replace(message, text=text)


def cut_at_sentence(text: str, max_bytes: int) -> str:
    """The beginning of `text` up to its last sentence end within `max_bytes` of UTF-8.

    Without one: up to the last space, or as it comes, with an ellipsis where there is room for it.
    """
    if len(text.encode(errors="replace")) <= max_bytes:
        return text
    head = text.encode(errors="replace")[: max_bytes + 1].decode(errors="ignore")  # and what follows the end
    ends = [match.end() for match in _SENTENCE_END.finditer(head)]
    while ends and len(head[: ends[-1]].encode()) > max_bytes:
        ends.pop()
    if ends:
        return head[: ends[-1]].rstrip()
    room = max_bytes - len(_ELLIPSIS.encode())
    if room <= 0:
        return ""
    head = text.encode(errors="replace")[:room].decode(errors="ignore")
    words, space, _ = head.rpartition(" ")
    return (words if space and words.strip() else head).rstrip() + _ELLIPSIS
