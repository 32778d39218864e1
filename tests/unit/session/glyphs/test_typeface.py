"""Drawing: to the bit what a rectangle looks like, and fonts that are not as they should be."""

import struct
from pathlib import Path

import pytest

from mimi_mqtt.errors import ConfigError
from mimi_mqtt.session.glyphs.fonts import FontFile
from mimi_mqtt.session.glyphs.typeface import Typeface
from mimi_mqtt.wire.glyphs import Glyph
from tests.fonts import BLOCKS, NOTHING, UNITS, Block, make_collection, make_font
from tests.unit.wire.test_glyphs import pixels_of


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Typeface:
    return Typeface(
        FontFile(
            make_font(
                tmp_path_factory.mktemp("fonts") / "blocks.ttf",
                {
                    **BLOCKS,
                    "\u3000": NOTHING,
                    "A": Block(0, 0, 2000, 100, 2000),
                    "|": Block(0, -800, 100, 1200, 200),
                    "_": NOTHING,
                },
            )
        )
    )


def drawn(face: Typeface, character: str, size: int = 20, bpp: int = 4) -> Glyph:
    glyph = face.render(ord(character), size, bpp)
    assert glyph is not None
    return glyph


def screen(glyph: Glyph, bpp: int) -> dict[tuple[int, int], int]:
    """The pixels that LVGL sets with the cursor at (0, 0): x to the right, y up from the baseline."""
    rows = pixels_of(glyph.bitmap, glyph.box_w, glyph.box_h, bpp)
    top = glyph.ofs_y + glyph.box_h - 1
    return {
        (glyph.ofs_x + column, top - row): value
        for row, values in enumerate(rows)
        for column, value in enumerate(values)
        if value
    }


def reference(block: Block, size: int, bpp: int) -> dict[tuple[int, int], int]:
    """The same by geometry: each pixel as far as the rectangle covers it."""
    px = UNITS / size

    def covered(low: int, high: int, pixel: int) -> float:
        return max(0.0, min(high / px, pixel + 1) - max(low / px, pixel))

    values = {}
    for x in range(-70, 140):
        for y in range(-70, 140):
            share = covered(block.left, block.right, x) * covered(block.bottom, block.top, y)
            opacity = min(255, int(share * 256))
            if opacity >> (8 - bpp):
                values[x, y] = opacity >> (8 - bpp)
    return values


@pytest.mark.parametrize("bpp", [2, 4, 8])
@pytest.mark.parametrize("character", BLOCKS)
def test_a_glyph_is_the_picture_that_geometry_tells(face: Typeface, character: str, bpp: int) -> None:
    assert screen(drawn(face, character, bpp=bpp), bpp) == reference(BLOCKS[character], 20, bpp)


@pytest.mark.parametrize("character", ["ế", "界", "😀"])
def test_one_bit_is_black_or_white(face: Typeface, character: str) -> None:
    assert screen(drawn(face, character, bpp=1), 1) == reference(BLOCKS[character], 20, 1)


def test_the_box_is_as_small_as_its_picture(face: Typeface) -> None:
    glyph = drawn(face, "ế")
    assert (glyph.box_w, glyph.box_h, glyph.ofs_x, glyph.ofs_y) == (8, 14, 2, 0)
    assert glyph.bitmap == bytes([0xFF]) * 56
    assert (drawn(face, "界").ofs_y, drawn(face, "😀").ofs_x) == (-4, -1)


def test_advances_are_in_sixteenths_of_a_pixel(face: Typeface) -> None:
    advances = {character: drawn(face, character).adv_w for character in BLOCKS}
    assert advances == {"ế": 192, "Ж": 205, "界": 320, "😀": 336}  # 12, 12.8, 20 and 21 pixels


@pytest.mark.parametrize("size", range(6, 65))
@pytest.mark.parametrize("bpp", [1, 2, 4, 8])
def test_every_size_and_depth_is_within_what_devices_take(face: Typeface, size: int, bpp: int) -> None:
    for character in (*BLOCKS, "A", "|"):
        glyph = drawn(face, character, size, bpp)
        assert len(glyph.bitmap) == -(-glyph.box_w * glyph.box_h * bpp // 8)
        assert 0 < glyph.box_w <= 64
        assert 0 < glyph.box_h <= 64


def test_what_is_wider_than_64_pixels_is_drawn_smaller(face: Typeface) -> None:
    assert drawn(face, "A", 60).box_w <= 64
    assert drawn(face, "A", 30).box_w == 60


def test_the_line_of_an_oled_holds_every_glyph(face: Typeface) -> None:
    """14 pixels of one bit: a line of 16, two of them below the baseline."""
    for character in (*BLOCKS, "|"):
        glyph = drawn(face, character, 14, 1)
        assert glyph.ofs_y >= -2
        assert glyph.ofs_y + glyph.box_h <= 14


def test_a_space_has_a_width_and_no_picture(face: Typeface) -> None:
    glyph = drawn(face, "\u3000")
    assert (glyph.adv_w, glyph.box_w, glyph.bitmap) == (96, 0, b"")


def test_an_empty_letter_is_no_glyph(face: Typeface) -> None:
    """Its picture may be in a table of colours."""
    assert face.render(ord("_"), 20, 4) is None


def test_a_character_that_the_font_lacks_is_no_glyph(face: Typeface) -> None:
    assert not face.has(ord("x"))
    assert face.render(ord("x"), 20, 4) is None


def test_a_variable_font_is_drawn_in_its_regular_weight(tmp_path: Path) -> None:
    face = Typeface(FontFile(make_font(tmp_path / "variable.ttf", weights=True)))
    assert screen(drawn(face, "ế"), 4) == reference(BLOCKS["ế"], 20, 4)


def test_each_face_of_a_collection_can_be_named(tmp_path: Path) -> None:
    path = make_collection(tmp_path / "faces.ttc", [{"a": BLOCKS["ế"]}, {"界": BLOCKS["界"]}])
    assert not Typeface(FontFile.named(str(path))).has(ord("界"))
    assert Typeface(FontFile.named(f"{path}#1")).has(ord("界"))
    with pytest.raises(ConfigError, match=r"faces\.ttc#2"):
        Typeface(FontFile.named(f"{path}#2"))


def test_a_name_with_a_hash_is_a_name(tmp_path: Path) -> None:
    assert FontFile.named("/a/b#c.ttf").path == Path("/a/b#c.ttf")
    assert FontFile.named("/a/b.ttc#3").index == 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", "FreeType"),
        (b"no font at all", "FreeType"),
        (b"\x00\x01\x00\x00" + bytes(60), "FreeType"),
    ],
)
def test_a_file_that_is_no_font_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "broken.ttf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"display\.fonts: .*broken\.ttf.*{told}"):
        Typeface(FontFile.named(str(path)))


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"display\.fonts.*is no file"):
        Typeface(FontFile.named(str(tmp_path)))


def opened(path: Path) -> Typeface | str:
    try:
        return Typeface(FontFile.named(str(path)))
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize("part", range(1, 10))
def test_a_part_of_a_font_is_refused_or_draws_what_it_can(tmp_path: Path, part: int) -> None:
    whole = make_font(tmp_path / "whole.ttf").read_bytes()
    path = tmp_path / "part.ttf"
    path.write_bytes(whole[: len(whole) * part // 10])
    face = opened(path)
    if isinstance(face, str):
        assert "part.ttf" in face
        return
    for character in BLOCKS:
        glyph = face.render(ord(character), 20, 4)
        assert glyph is None or len(glyph.bitmap) == -(-glyph.box_w * glyph.box_h // 2)


def test_a_damaged_outline_is_no_glyph(tmp_path: Path) -> None:
    path = make_font(tmp_path / "damaged.ttf")
    data = bytearray(path.read_bytes())
    tables = {
        bytes(data[at : at + 4]): struct.unpack(">II", data[at + 8 : at + 16])
        for at in range(12, 12 + 16 * data[5], 16)
    }
    offset, length = tables[b"glyf"]
    data[offset : offset + length] = b"\x7f" * length
    path.write_bytes(data)
    face = Typeface(FontFile(path))
    assert all(face.render(ord(character), 20, 4) is None for character in BLOCKS)
