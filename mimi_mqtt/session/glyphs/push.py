"""Puts glyphs into the messages that show a text: each once for a device, within what its connection takes.

More glyphs than fit beside the text go ahead of it, in messages of the same kind with an empty text: the
firmware takes over their glyphs and shows nothing (an empty line makes no bubble). A device without external
memory holds the glyphs of one message only, so it is sent none ahead. The text is never held back for its
glyphs: what is not drawn in time, or does not fit, is left out, and comes with a later text that needs it.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.providers.runtime.lru import Lru
from mimi_mqtt.session.glyphs.choice import wanted
from mimi_mqtt.session.glyphs.memory import HeldGlyphs
from mimi_mqtt.session.glyphs.source import GlyphSource
from mimi_mqtt.wire.fitting import text_within
from mimi_mqtt.wire.glyphs import Glyph, GlyphPush, TextFont, take_fitting
from mimi_mqtt.wire.messages import DeviceHello, Stt, Tts, encode

_log = logging.getLogger(__name__)

MAX_MESSAGES: Final = 4
"""Messages that the glyphs of one text are spread over, the text's own included."""
MAX_TEXT_BYTES: Final = 16_000
"""Bytes of all messages of one text with its glyphs: they wait with the speech that follows, and are sent
again with it when a connection breaks."""
MAX_BACKLOG_BYTES: Final = 8_000
"""While a device has not acknowledged so many bytes, its texts are sent without glyphs."""
MAX_DEVICES: Final = 1_000
"""Devices whose glyphs are remembered; those of one beyond are sent again."""

_pushed = Counter("mimi_glyphs_pushed_total", "Glyphs sent to devices.")
_left_out = Counter(
    "mimi_glyphs_left_out_total", "Glyphs a text needed and did not get, by reason.", ["reason"]
)


class TextGlyphs:
    """Glyphs of one session's texts. Made by `GlyphPusher.session`."""

    __slots__ = ("_device_id", "_font", "_held", "_source", "_told")

    def __init__(self, device_id: str, font: TextFont, held: HeldGlyphs, source: GlyphSource) -> None:
        self._device_id = device_id
        self._font = font
        self._held = held
        self._source = source
        self._told = False

    def announce(self, text: str) -> None:
        """`text` will be shown in a while: its glyphs are drawn meanwhile."""
        lacking = [each for each in wanted(text, self._font.charset) if each not in self._held]
        if lacking:
            self._source.soon(lacking, self._font)

    def messages(
        self, message: Stt | Tts, session_id: str, max_bytes: int, spare_bytes: int | None = None
    ) -> list[bytes]:
        """`message`, encoded and cut to `max_bytes`, with the glyphs that it needs; before it, those that did
        not fit. They count as sent. They add at most `spare_bytes`, if given."""
        shown = replace(message, text=text_within(message, session_id, max_bytes))
        lacking = self._lacking(shown.text)
        if not lacking:
            return [encode(shown, session_id)]
        budget = MAX_TEXT_BYTES - len(encode(shown, session_id))
        if spare_bytes is not None:
            budget = min(budget, spare_bytes)
        batches = self._spread(shown, session_id, max_bytes, budget, lacking)
        for _, glyphs in batches:
            self._held.pushed(glyphs)
            _pushed.inc(len(glyphs))
        missed = len(lacking) - sum(len(glyphs) for _, glyphs in batches)
        if missed:
            self._leave_out("room", missed)
        return [encode(carrier, session_id) for carrier, _ in batches]

    def _lacking(self, text: str) -> list[Glyph]:
        needed = wanted(text, self._font.charset)
        if not needed:
            return []
        drawn = self._source.now(needed, self._font)
        late = sum(each not in drawn and each not in self._held for each in needed)
        if late:
            self._leave_out("time", late)
        glyphs = [drawn[each].glyph for each in needed if each in drawn]
        found = [glyph for glyph in glyphs if glyph is not None]
        if len(found) < len(glyphs):
            _left_out.labels("font").inc(len(glyphs) - len(found))
        return self._held.lacking(found)

    def _spread(
        self, shown: Stt | Tts, session_id: str, max_bytes: int, budget: int, glyphs: Sequence[Glyph]
    ) -> list[tuple[Stt | Tts, list[Glyph]]]:
        """Messages in the order in which they are sent, the text's own last, with the most important. They
        have at most `budget` bytes more than the text alone."""
        text_bytes = len(encode(shown, session_id))
        own = self._filled(shown, session_id, min(max_bytes, text_bytes + budget), glyphs)
        budget -= len(encode(own[0], session_id)) - text_bytes
        ahead: list[tuple[Stt | Tts, list[Glyph]]] = []
        left = _without(glyphs, own[1])
        while left and self._held.keeps and len(ahead) < MAX_MESSAGES - 1:
            batch = self._filled(replace(shown, text=""), session_id, min(max_bytes, budget), left)
            if not batch[1]:
                break
            ahead.append(batch)
            left = _without(left, batch[1])
            budget -= len(encode(batch[0], session_id))
        return [*ahead, own]

    def _filled(
        self, carrier: Stt | Tts, session_id: str, max_bytes: int, glyphs: Sequence[Glyph]
    ) -> tuple[Stt | Tts, list[Glyph]]:
        """`carrier` with the first of `glyphs` that fit into it, which may be none."""
        empty = replace(carrier, push=GlyphPush(self._font, ()))
        taken = take_fitting(glyphs, max_bytes - len(encode(empty, session_id)))
        return (replace(carrier, push=GlyphPush(self._font, tuple(taken))) if taken else carrier), taken

    def _leave_out(self, reason: str, count: int) -> None:
        _left_out.labels(reason).inc(count)
        if not self._told:
            self._told = True
            _log.info(
                "some glyphs of a text were left out: no %s for them; not told again in this session",
                reason,
                extra={"device": self._device_id},
            )


def _without(glyphs: Sequence[Glyph], taken: Sequence[Glyph]) -> list[Glyph]:
    gone = {glyph.codepoint for glyph in taken}
    return [glyph for glyph in glyphs if glyph.codepoint not in gone]


class GlyphPusher:
    """The glyphs of all devices: what was drawn, and what each device holds. Used on the loop's thread."""

    def __init__(self, source: GlyphSource | None = None) -> None:
        self._source = source if source is not None else GlyphSource()
        self._devices: Lru[tuple[TextFont, HeldGlyphs]] = Lru(MAX_DEVICES)

    def session(self, device_id: str, hello: DeviceHello, *, keeps: bool, tester: bool) -> TextGlyphs | None:
        """The glyphs of a session; None for a device that wants none, or does not describe its font.

        `keeps`: the device holds glyphs from one text to the next. What a tester is sent the device has not.
        """
        if not hello.glyph_push:
            return None
        font = hello.text_font
        if font is None:
            _log.warning(
                "the device wants glyphs, but does not describe its font as it should: it is sent none",
                extra={"device": device_id},
            )
            return None
        if tester:
            return TextGlyphs(device_id, font, HeldGlyphs(keeps), self._source)
        known = self._devices.get(device_id)
        if known is not None and known[0] == font and known[1].keeps == keeps:
            return TextGlyphs(device_id, font, known[1], self._source)
        held = HeldGlyphs(keeps)
        self._devices.keep(device_id, (font, held))
        return TextGlyphs(device_id, font, held, self._source)

    def warm(self) -> None:
        """A device that wants glyphs has come: the fonts are opened, off the loop."""
        self._source.warm()

    def forget(self, device_id: str) -> None:
        """The device started anew, or may have missed what it was sent."""
        known = self._devices.get(device_id)
        if known is not None:
            known[1].clear()

    @property
    def remembered(self) -> int:
        """Devices whose glyphs are remembered."""
        return int(self._devices.weight)

    def close(self) -> None:
        """Stops drawing."""
        self._source.close()
