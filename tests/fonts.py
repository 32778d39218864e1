"""Small fonts made for tests: rectangles, whose pixels can be worked out without a renderer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont
from fontTools.ttLib.tables.TupleVariation import TupleVariation

UNITS = 1000
"""Units of the em square: at 20 pixels, a pixel is 50 of them."""


@dataclass(frozen=True)
class Block:
    """A glyph: an upright rectangle from (left, bottom) to (right, top) and its advance, in units."""

    left: int
    bottom: int
    right: int
    top: int
    advance: int


NOTHING = Block(0, 0, 0, 0, 300)
BLOCKS: Mapping[str, Block] = {
    "ế": Block(100, 0, 500, 700, 600),  # on whole pixels at 20: x 2 to 10, y 0 to 14
    "Ж": Block(125, 0, 475, 700, 640),  # half a pixel on both sides
    "界": Block(0, -200, 1000, 800, 1000),  # the whole em square, below the baseline too
    "😀": Block(-50, -100, 900, 600, 1050),  # begins before the cursor
}


def make_font(path: Path, blocks: Mapping[str, Block] = BLOCKS, *, weights: bool = False) -> Path:
    """Writes a TrueType font. `weights`: a variable one, whose default weight, 100, has very thin blocks."""
    _build(blocks, weights=weights).save(path)
    return path


def make_collection(path: Path, faces: Sequence[Mapping[str, Block]]) -> Path:
    """Writes a collection with a face for each of `faces`."""
    collection = TTCollection()
    collection.fonts = [_build(blocks) for blocks in faces]
    collection.save(path)
    return path


def _build(blocks: Mapping[str, Block], *, weights: bool = False) -> TTFont:
    names = {character: f"u{ord(character):05X}" for character in blocks}
    order = [".notdef", *names.values()]
    builder = FontBuilder(UNITS, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap({ord(character): name for character, name in names.items()})
    drawn = {".notdef": _draw(Block(0, 0, 500, 500, 500))}
    drawn |= {
        names[character]: _draw(_thin(block) if weights else block) for character, block in blocks.items()
    }
    builder.setupGlyf(drawn)
    metrics = {".notdef": (500, 0)}
    metrics |= {names[character]: (block.advance, block.left) for character, block in blocks.items()}
    builder.setupHorizontalMetrics(metrics)
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Blocks", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    builder.setupPost()
    if weights:
        builder.setupFvar([("wght", 100, 100, 900, "Weight")], [])
        builder.setupGvar({names[character]: _growth(block) for character, block in blocks.items()})
    return builder.font


def _thin(block: Block) -> Block:
    return Block(block.left, block.bottom, block.left + 1, block.top, block.advance)


def _growth(block: Block) -> list[object]:
    """From one unit at 100 to the block's own at 400, and on in the same measure."""
    wider = (block.right - block.left - 1) * 8 // 3
    points = [(0, 0), (0, 0), (wider, 0), (wider, 0), (0, 0), (0, 0), (0, 0), (0, 0)]
    return [TupleVariation({"wght": (0.0, 1.0, 1.0)}, points)]


def _draw(block: Block) -> object:
    pen = TTGlyphPen(None)
    if block.top > block.bottom:
        pen.moveTo((block.left, block.bottom))
        pen.lineTo((block.left, block.top))
        pen.lineTo((block.right, block.top))
        pen.lineTo((block.right, block.bottom))
        pen.closePath()
    return pen.glyph()
