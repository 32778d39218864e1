"""Faces of font files, drawn by FreeType into glyphs as LVGL's own font converter would make them.

The fonts of devices are made by lv_font_conv: the size in pixels is that of the em square, the auto-hinter is
forced and acts on horizontal stems alone, one bit a pixel is drawn as such and not cut from grey, and the
advance is the unhinted one. The profile of 14 pixels and one bit has no auto-hinter and a line of 16 pixels,
two of them below the baseline, which every glyph must lie in (78/xiaozhi-fonts). Shaping is out of reach: a
device draws one glyph for each character, so that Arabic letters stand alone.
"""

import unicodedata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from mimi_mqtt.errors import ConfigError
from mimi_mqtt.session.glyphs.fonts import FontFile
from mimi_mqtt.wire.glyphs import MAX_BOX, Glyph, pack

ADVICE: Final = "install freetype-py: pip install 'mimi-mqtt[glyphs]'"
MAX_FONT_BYTES: Final = 256 * 1024 * 1024
"""The largest font file that is opened."""

_REGULAR: Final = 400.0  # weight of a variable font
_GRAY: Final = 2  # FT_PIXEL_MODE_GRAY
_MONO: Final = 1  # FT_PIXEL_MODE_MONO
_OLED: Final = (14, 1)
_OLED_LINE: Final = 16
_OLED_BELOW: Final = 2


def freetype() -> ModuleType:
    """The package freetype-py, loaded on use. Raises ConfigError that says how to install it."""
    try:
        import freetype as package
    except (ImportError, OSError, RuntimeError) as error:  # without its library, too
        raise ConfigError(f"glyphs can't be rendered: {error}; {ADVICE}") from error
    return package  # type: ignore[no-any-return,unused-ignore]


class Typeface:
    """One opened face. Used by one thread at a time.

    Raises ConfigError, naming the file, when it can't be opened or has no outlines.
    """

    def __init__(self, file: FontFile) -> None:
        self.file = file
        self._ft = ft = freetype()
        _check_file(file)
        try:
            self._face: Any = ft.Face(str(file.path), index=file.index)
            if not self._face.is_scalable:
                raise ConfigError(
                    _told(file, "has no outlines; colour emoji can't be drawn on devices, use fonts-symbola")
                )
            if not any(charmap.encoding == ft.FT_ENCODING_UNICODE for charmap in self._face.charmaps):
                raise ConfigError(_told(file, "does not say which characters it has"))
            self._face.select_charmap(ft.FT_ENCODING_UNICODE)
            self._make_regular()
        except ft.FT_Exception as error:
            raise ConfigError(_told(file, f"is no font that FreeType can read: {_reason(error)}")) from error
        self._size = 0

    def _make_regular(self) -> None:
        """A variable font begins at its lightest weight."""
        if not self._face.face_flags & self._ft.FT_FACE_FLAG_MULTIPLE_MASTERS:
            return
        axes = self._face.get_variation_info().axes
        self._face.set_var_design_coords(
            [
                min(max(_REGULAR, axis.minimum), axis.maximum) if axis.tag == "wght" else axis.default
                for axis in axes
            ]
        )

    def has(self, codepoint: int) -> bool:
        """True when the face has the character."""
        return bool(self._face.get_char_index(codepoint))

    def render(self, codepoint: int, size: int, bpp: int) -> Glyph | None:
        """The character at `size` pixels; None when this face can't draw it.

        What would be larger than a device takes is drawn smaller.
        """
        index = self._face.get_char_index(codepoint)
        if not index:
            return None
        try:
            glyph = self._render(index, codepoint, size, bpp, size)
        except self._ft.FT_Exception:  # a damaged glyph in a font that is right otherwise
            return None
        if glyph is None or glyph.bitmap or unicodedata.category(chr(codepoint)).startswith(("Z", "C")):
            return glyph
        return None  # an outline that is empty: its picture is in a table of colours

    def _render(self, index: int, codepoint: int, size: int, bpp: int, px: int) -> Glyph | None:
        ft, face = self._ft, self._face
        if self._size != px:
            face.set_pixel_sizes(0, px)
            self._size = px
        flags = ft.FT_LOAD_RENDER | (ft.FT_LOAD_TARGET_MONO if bpp == 1 else ft.FT_LOAD_TARGET_LIGHT)
        oled = (size, bpp) == _OLED
        flags |= ft.FT_LOAD_NO_AUTOHINT if oled else ft.FT_LOAD_FORCE_AUTOHINT
        face.load_glyph(index, flags)
        slot = face.glyph
        bitmap = slot.bitmap
        width, height = int(bitmap.width), int(bitmap.rows)
        over = max(width / MAX_BOX, height / (_OLED_LINE if oled else MAX_BOX))
        if over > 1:
            smaller = int(px / over)
            return self._render(index, codepoint, size, bpp, min(smaller, px - 1)) if smaller > 1 else None
        ofs_y = int(slot.bitmap_top) - height
        if oled:
            ofs_y = min(max(ofs_y, -_OLED_BELOW), _OLED_LINE - _OLED_BELOW - height)
        advance = max(0, (int(slot.linearHoriAdvance) + 2048) >> 12)  # 16.16 to sixteenths of a pixel
        opacities = _opacities(bytes(bitmap.buffer), bitmap.pixel_mode, width, height, int(bitmap.pitch))
        if opacities is None:
            return None
        return Glyph(codepoint, advance, width, height, int(slot.bitmap_left), ofs_y, pack(opacities, bpp))


def _opacities(buffer: bytes, mode: int, width: int, height: int, pitch: int) -> bytes | None:
    """A byte a pixel, row by row; None for a kind of bitmap that is not asked for."""
    if not (width and height):
        return b""
    rows = [buffer[row * pitch : (row + 1) * pitch] for row in range(height)]
    if mode == _GRAY:
        return b"".join([row[:width] for row in rows])
    if mode == _MONO:
        bits = [f"{int.from_bytes(row):0{pitch * 8}b}"[:width] for row in rows]
        return "".join(bits).encode().translate(_BIT_OPACITY)
    return None


_BIT_OPACITY: Final = bytes.maketrans(b"01", b"\x00\xff")


def _reason(error: Exception) -> str:
    return str(error).rpartition(": ")[2].strip(" ()")


def _check_file(file: FontFile) -> None:
    path: Path = file.path
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ConfigError(_told(file, "is no file"))
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigError(_told(file, f"can't be read: {error.strerror}")) from error
    if size > MAX_FONT_BYTES:
        raise ConfigError(_told(file, f"is larger than {MAX_FONT_BYTES // 2**20} MiB"))


def _told(file: FontFile, fault: str) -> str:
    return f"display.fonts: {file} {fault}" if file.configured else f"the font {file} {fault}"
