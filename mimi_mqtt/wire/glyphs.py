"""Glyphs for the screens of devices: the font that a device has, and the characters that it lacks. Pure.

A device that says `features.glyph_push` in hello is sent bitmaps with `stt` and `tts sentence_start`.
Sources: the device contract, section 7; the firmware's description of glyph_push and its checks; LVGL's font
format, as its converter lv_font_conv writes it: advances in sixteenths of a pixel, `ofs_y` from the baseline
up to the lower edge of the box, pixels row by row from the upper left, most significant bit first, without
padding between rows.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from json.encoder import encode_basestring
from typing import Any, Final

from mimi_mqtt.errors import MessageError

VERSION: Final = 1
MAX_GLYPHS: Final = 64
"""Glyphs in one message; a device refuses all of a message with more."""
MAX_BOX: Final = 64
"""Width and height of a glyph's bitmap, in pixels."""
MAX_BITMAP_BYTES: Final = 65_536
"""Bytes of all bitmaps in one message."""
MAX_FONT_PX: Final = 64
"""The largest size of a font that is believed, in pixels."""
MAX_NAME_CHARS: Final = 64
"""The longest name of a font's bundle or character set."""
BITS_PER_PIXEL: Final = frozenset((1, 2, 4, 8))

_OFFSETS: Final = range(-32_768, 32_768)
_ADVANCES: Final = range(1 << 32)
_CODE_POINTS: Final = range(1, 0x110000)


@dataclass(frozen=True, slots=True)
class TextFont:
    """The font that a device shows text in.

    `bundle` names its release, `charset` the characters it has; `size` is in pixels, `bpp` the bits of one.
    """

    bundle: str
    charset: str
    size: int
    bpp: int


def read_text_font(value: object) -> TextFont | None:
    """The `text_font` of a hello; None when it is not described in full and within the bounds.

    A font that can't be believed costs the device its glyphs, never its conversation.
    """
    if type(value) is not dict:
        return None
    bundle, charset, size, bpp = (value.get(name) for name in ("bundle", "charset", "size", "bpp"))
    if not (_is_name(bundle) and _is_name(charset)) or type(size) is not int or type(bpp) is not int:
        return None
    if not 0 < size <= MAX_FONT_PX or bpp not in BITS_PER_PIXEL:
        return None
    return TextFont(str(bundle), str(charset), size, bpp)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS and value.isprintable()


def bitmap_bytes(width: int, height: int, bpp: int) -> int:
    """The exact length of a bitmap, in bytes."""
    return (width * height * bpp + 7) // 8


def pack(opacities: bytes, bpp: int) -> bytes:
    """A bitmap of `opacities`, a byte a pixel, row by row: the `bpp` most significant bits of each."""
    if bpp == 8 or not opacities:
        return opacities
    pixels = int(opacities.translate(_DIGITS[bpp]), 1 << bpp)  # each pixel is a digit: linear in C
    size = bitmap_bytes(len(opacities), 1, bpp)
    return (pixels << (size * 8 - len(opacities) * bpp)).to_bytes(size)


_DIGITS: Final = {
    bpp: bytes([b"0123456789abcdef"[opacity >> (8 - bpp)] for opacity in range(256)]) for bpp in (1, 2, 4)
}


def unpack(bitmap: bytes, width: int, height: int, bpp: int) -> list[list[int]]:
    """The rows of a bitmap, from the upper one down: values from 0 to 2**bpp - 1."""
    bits, most = int.from_bytes(bitmap), (1 << bpp) - 1
    first = len(bitmap) * 8 - bpp
    return [
        [(bits >> (first - (row * width + column) * bpp)) & most for column in range(width)]
        for row in range(height)
    ]


@dataclass(frozen=True)  # without slots: `json` is kept in its place
class Glyph:
    """One character as LVGL draws it.

    `adv_w` in sixteenths of a pixel; the box and its offsets in pixels, `ofs_y` from the baseline up to its
    lower edge.
    """

    codepoint: int
    adv_w: int
    box_w: int
    box_h: int
    ofs_x: int
    ofs_y: int
    bitmap: bytes

    @cached_property
    def json(self) -> str:
        """The glyph as an object in a message; kept, as many devices get the same."""
        return (
            f'{{"codepoint":{self.codepoint},"adv_w":{self.adv_w},"box_w":{self.box_w},"box_h":{self.box_h},'
            f'"ofs_x":{self.ofs_x},"ofs_y":{self.ofs_y},"bitmap":"{base64.b64encode(self.bitmap).decode()}"}}'
        )


@dataclass(frozen=True, slots=True)
class GlyphPush:
    """Glyphs that go with a text: `font` is the device's own description."""

    font: TextFont
    glyphs: tuple[Glyph, ...]

    @property
    def json(self) -> str:
        """The value of `glyph_push`."""
        font = self.font
        return (
            f'{{"v":{VERSION},"bundle":{encode_basestring(font.bundle)},"size":{font.size},"bpp":{font.bpp},'
            f'"glyphs":[{",".join([glyph.json for glyph in self.glyphs])}]}}'
        )


def take_fitting(glyphs: Iterable[Glyph], max_bytes: int) -> list[Glyph]:
    """The first of `glyphs` that one message may carry, with at most `max_bytes` of JSON for all of them.

    One that is too large is passed over, those after it are not.
    """
    pixels = MAX_BITMAP_BYTES
    taken: list[Glyph] = []
    for glyph in glyphs:
        size = len(glyph.json) + len(",")
        if size <= max_bytes and len(glyph.bitmap) <= pixels:
            taken.append(glyph)
            max_bytes -= size
            pixels -= len(glyph.bitmap)
            if len(taken) == MAX_GLYPHS:
                break
    return taken


# ── as the device reads it ───────────────────────────────────────────────────────────────────────────────


def read_glyph_push(value: object, font: TextFont) -> tuple[Glyph, ...]:
    """The glyphs of a `glyph_push`, checked as the firmware does: one fault, and none is taken. Raises
    MessageError."""
    push = _object(value, "glyph_push")
    for name, own in (("v", VERSION), ("bundle", font.bundle), ("size", font.size), ("bpp", font.bpp)):
        if push.get(name) != own or type(push.get(name)) is not type(own):
            raise MessageError(f"glyph_push is for {name} {push.get(name)!r:.40}, this device has {own!r}")
    glyphs = push.get("glyphs")
    if type(glyphs) is not list or len(glyphs) > MAX_GLYPHS:
        raise MessageError(f"glyph_push has no list of at most {MAX_GLYPHS} glyphs")
    read = tuple([_read_glyph(_object(glyph, "a glyph"), font.bpp) for glyph in glyphs])
    if sum([len(glyph.bitmap) for glyph in read]) > MAX_BITMAP_BYTES:
        raise MessageError(f"glyph_push has more than {MAX_BITMAP_BYTES} bytes of bitmaps")
    return read


def _read_glyph(fields: Mapping[str, Any], bpp: int) -> Glyph:
    box = range(MAX_BOX + 1)
    bounds: Sequence[tuple[str, range]] = (
        ("codepoint", _CODE_POINTS), ("adv_w", _ADVANCES), ("box_w", box), ("box_h", box),
        ("ofs_x", _OFFSETS), ("ofs_y", _OFFSETS),
    )  # fmt: skip
    for name, allowed in bounds:
        if type(fields.get(name)) is not int or fields[name] not in allowed:
            raise MessageError(
                f"field {name!r} of a glyph must be a whole number from {allowed[0]} to {allowed[-1]}"
            )
    codepoint, adv_w, box_w, box_h, ofs_x, ofs_y = (fields[name] for name, _ in bounds)
    encoded = fields.get("bitmap")
    expected = bitmap_bytes(box_w, box_h, bpp)
    if type(encoded) is not str or len(encoded) > (expected + 2) // 3 * 4 + 4:
        raise MessageError(f"the bitmap of U+{codepoint:04X} is not {expected} bytes in base64")
    try:
        bitmap = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MessageError(f"the bitmap of U+{codepoint:04X} is not base64: {error}") from error
    if len(bitmap) != expected:
        raise MessageError(f"the bitmap of U+{codepoint:04X} has {len(bitmap)} bytes, not {expected}")
    return Glyph(codepoint, adv_w, box_w, box_h, ofs_x, ofs_y, bitmap)


def _object(value: object, what: str) -> Mapping[str, Any]:
    if type(value) is not dict:
        raise MessageError(f"{what} is not an object")
    return value
