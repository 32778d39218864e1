"""Characters of a text that a device needs glyphs for, the most important first. Pure."""

import unicodedata
from collections import Counter
from typing import Final

from mimi_mqtt.wire.font_charsets import has
from mimi_mqtt.wire.glyphs import Glyph

MAX_WANTED: Final = 128
"""Characters of one text that glyphs are looked for; rarer and later ones go without."""

_NEVER: Final = frozenset(("Cc", "Cs", "Co", "Cn", "Zl", "Zp"))
# Controls, halves of characters, unassigned ones; private use is the icons of the device's own font.
_SELECTORS: Final = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
_VISIBLE_FORMATS: Final = (
    (0x0600, 0x0605),
    (0x06DD, 0x06DD),
    (0x070F, 0x070F),
    (0x0890, 0x0891),
    (0x08E2, 0x08E2),
)
_EMOJI: Final = ((0x2600, 0x27BF), (0x2B00, 0x2BFF), (0x1F000, 0x1FBFF))


def wanted(text: str, charset: str) -> list[int]:
    """Code points of `text` that a font with this character set may lack: those used most, then those used
    first; at most `MAX_WANTED`."""
    counts = Counter(text)
    lacking = [
        character
        for character in counts
        if not has(charset, character) and unicodedata.category(character) not in _NEVER
    ]
    lacking.sort(key=lambda character: -counts[character])  # stable: then the order of the text
    return [ord(character) for character in lacking[:MAX_WANTED]]


def is_invisible(codepoint: int) -> bool:
    """True for characters that only act on their neighbours: joiners, directions, variation selectors."""
    if _within(codepoint, _SELECTORS):
        return True
    return unicodedata.category(chr(codepoint)) == "Cf" and not _within(codepoint, _VISIBLE_FORMATS)


def is_emoji(codepoint: int) -> bool:
    """True for emoji and other pictures, whose absence leaves a text readable."""
    return _within(codepoint, _EMOJI)


def nothing(codepoint: int) -> Glyph:
    """The glyph of a character that is not to be seen: without it, devices draw a box."""
    return Glyph(codepoint, 0, 0, 0, 0, 0, b"")


def _within(codepoint: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= codepoint <= last for first, last in ranges)
