"""Memory of a device: the pushed glyphs that it holds, kept exactly as the firmware keeps them. Pure.

With external memory a device holds 256 glyphs and 64 KiB of bitmaps between messages, and drops those that
were pushed longest ago; without, it holds those of the newest `stt` or `tts sentence_start` alone. Either way
they are gone when it starts anew. Source: the firmware's description of glyph_push and its glyph cache.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final

from mimi_mqtt.wire.glyphs import Glyph

MAX_HELD: Final = 256
"""Glyphs that a device holds."""
MAX_HELD_BYTES: Final = 65_536
"""Bytes of bitmaps that a device holds."""


class HeldGlyphs:
    """The glyphs that one device holds. `keeps` is False for a device that forgets them with each text."""

    __slots__ = ("_bytes", "_held", "keeps")

    def __init__(self, keeps: bool) -> None:
        self.keeps = keeps
        self._held: OrderedDict[int, int] = OrderedDict()  # bytes by code point, the oldest first
        self._bytes = 0

    def __contains__(self, codepoint: int) -> bool:
        return codepoint in self._held

    def __len__(self) -> int:
        return len(self._held)

    def pushed(self, glyphs: Iterable[Glyph]) -> None:
        """The device was sent these with one text."""
        if not self.keeps:
            return
        for glyph in glyphs:
            self._bytes += len(glyph.bitmap) - self._held.pop(glyph.codepoint, 0)
            self._held[glyph.codepoint] = len(glyph.bitmap)
        while len(self._held) > MAX_HELD or self._bytes > MAX_HELD_BYTES:
            self._bytes -= self._held.popitem(last=False)[1]

    def clear(self) -> None:
        """The device holds nothing any more."""
        self._held.clear()
        self._bytes = 0

    def lacking(self, glyphs: Collection[Glyph]) -> list[Glyph]:
        """Those of `glyphs` that must be sent, in their order, so that the device then holds all of them:
        those it has not, and those that it would drop for them."""
        fresh = [glyph for glyph in glyphs if glyph.codepoint not in self._held]
        if not fresh or len(fresh) == len(glyphs):
            return fresh
        needed = {glyph.codepoint for glyph in glyphs}
        count = len(self._held) + len(fresh) - MAX_HELD
        room = self._bytes + sum(len(glyph.bitmap) for glyph in fresh) - MAX_HELD_BYTES
        again: set[int] = set()
        for codepoint, size in self._held.items():
            if count <= 0 and room <= 0:
                break
            if codepoint in needed:
                again.add(codepoint)  # sent again, it becomes the youngest: another one is dropped
            else:
                count -= 1
                room -= size
        return [glyph for glyph in glyphs if glyph.codepoint not in self._held or glyph.codepoint in again]
