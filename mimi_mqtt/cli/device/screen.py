"""Screen of the simulated device: the texts it shows, and the glyphs that were pushed for them. Pure.

It takes and keeps glyphs as the firmware with external memory does (device contract, section 7; the
firmware's glyph cache): one fault in a message, and none of its glyphs is taken; 256 of them and 64 KiB of
bitmaps are held, and those that were pushed longest ago go first.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from mimi_mqtt.cli.device.actions import Action, GlyphsPushed, GlyphsRefused, Unreadable
from mimi_mqtt.errors import MessageError
from mimi_mqtt.wire.font_charsets import has
from mimi_mqtt.wire.glyphs import Glyph, TextFont, read_glyph_push, unpack

_MAX_GLYPHS: Final = 256
_MAX_BYTES: Final = 64 * 1024
_SHADES: Final = " .:-=+*#%@"


class Screen:
    """The screen. `font` is what its texts are drawn with; None for a device that takes no glyphs."""

    def __init__(self, font: TextFont | None) -> None:
        self.font = font
        self._held: dict[int, Glyph] = {}  # the oldest first

    def show(self, text: str, message: Mapping[str, Any]) -> list[Action]:
        """Shows `text`, with the glyphs that came in its `message`."""
        if self.font is None:
            return []
        actions: list[Action] = []
        if "glyph_push" in message:
            try:
                glyphs = read_glyph_push(message["glyph_push"], self.font)
            except MessageError as error:
                actions.append(GlyphsRefused(str(error)))
            else:
                self._keep(glyphs)
                actions.append(GlyphsPushed(glyphs, self.font.bpp))
        boxes = "".join(dict.fromkeys(character for character in text if not self._can_draw(character)))
        return [*actions, Unreadable(boxes)] if boxes else actions

    def _keep(self, glyphs: tuple[Glyph, ...]) -> None:
        for glyph in glyphs:
            self._held.pop(glyph.codepoint, None)
            self._held[glyph.codepoint] = glyph
        while len(self._held) > _MAX_GLYPHS or self._bytes > _MAX_BYTES:
            del self._held[next(iter(self._held))]

    @property
    def _bytes(self) -> int:
        return sum(len(glyph.bitmap) for glyph in self._held.values())

    def _can_draw(self, character: str) -> bool:
        font = self.font
        if font is None or ord(character) in self._held or has(font.charset, character):
            return True
        return unicodedata.category(character) == "Cc"  # a new line, a tab


def picture(glyph: Glyph, bpp: int) -> list[str]:
    """The glyph in letters, a line for each row of its box."""
    most = (1 << bpp) - 1
    return [
        "".join(_SHADES[value * (len(_SHADES) - 1) // most] for value in row)
        for row in unpack(glyph.bitmap, glyph.box_w, glyph.box_h, bpp)
    ]
