"""The store of drawn glyphs: once for all devices, off the loop, bounded."""

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimi_mqtt.errors import ConfigError
from mimi_mqtt.session.glyphs.fonts import FontFile
from mimi_mqtt.session.glyphs.source import MAX_BATCHES, Drawn, GlyphSource
from mimi_mqtt.wire.glyphs import TextFont
from tests.fonts import BLOCKS, Block, make_font
from tests.unit.session.glyphs.conftest import FONT, source_of

EMOJI, LETTER, LACKING = ord("😀"), ord("Ж"), ord("ღ")


@pytest.fixture
async def source(font_path: Path) -> AsyncIterator[GlyphSource]:
    made = source_of(font_path)
    yield made
    made.close()


async def test_nothing_is_opened_or_drawn_on_the_loop_before_the_thread_has_the_fonts(
    source: GlyphSource,
) -> None:
    assert source.now([LETTER], FONT) == {}
    await source.settled()
    assert set(source.now([LETTER], FONT)) == {LETTER}


async def test_what_was_announced_is_there_when_it_is_shown(font_path: Path) -> None:
    source = source_of(font_path, budget_s=0)
    source.soon([LETTER, EMOJI], FONT)
    await source.settled()
    assert set(source.now([LETTER, EMOJI], FONT)) == {LETTER, EMOJI}
    source.close()


async def test_the_loop_draws_within_its_budget_and_the_thread_the_rest(font_path: Path) -> None:
    source = source_of(font_path, budget_s=0)
    source.warm()
    await source.settled()
    assert source.now([LETTER], FONT) == {}
    await source.settled()
    assert set(source.now([LETTER], FONT)) == {LETTER}
    source.close()


async def test_all_texts_together_have_the_loop_draw_for_a_share_of_its_time(
    font_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1_000.0
    source = source_of(font_path, budget_s=1.0)
    source.warm()
    await source.settled()
    monkeypatch.setattr(time, "perf_counter", lambda: clock)
    source._credited_at, source._credit_s = clock, 5.0
    draw = source._draw

    def slowly(codepoint: int, font: TextFont) -> Drawn:
        nonlocal clock
        clock += 0.5
        return draw(codepoint, font)

    monkeypatch.setattr(source, "_draw", slowly)
    monkeypatch.setattr(source, "_draw_later", lambda *_: None)
    drawn = [len(source.now(range(0x4E00 + at, 0x4E00 + at + 4), FONT)) for at in range(0, 40, 4)]
    assert drawn == [2, 2, 2, 2, 2, 1, 0, 0, 0, 0]
    clock += 20.0  # a second's worth of credit
    assert len(source.now(range(0x4F00, 0x4F04), FONT)) == 2
    source.close()


async def test_a_glyph_is_drawn_once(source: GlyphSource, monkeypatch: pytest.MonkeyPatch) -> None:
    source.warm()
    await source.settled()
    first = source.now([LETTER], FONT)[LETTER].glyph
    monkeypatch.setattr(source, "_draw", lambda *_: pytest.fail("drawn again"))
    assert source.now([LETTER], FONT)[LETTER].glyph is first
    other = TextFont("another", "common", 20, 4)
    assert source.now([LETTER], other)[LETTER].glyph is first


async def test_characters_that_nobody_has(source: GlyphSource) -> None:
    source.warm()
    await source.settled()
    found = source.now([LACKING, ord("🚀"), 0xFE0F], FONT)
    assert found[LACKING].glyph is None
    for unseen in (ord("🚀"), 0xFE0F):
        glyph = found[unseen].glyph
        assert glyph is not None
        assert (glyph.adv_w, glyph.box_w, glyph.box_h, glyph.bitmap) == (0, 0, 0, b"")


async def test_the_first_font_that_has_a_character_draws_it(font_path: Path, tmp_path: Path) -> None:
    narrow = make_font(tmp_path / "narrow.ttf", {"Ж": Block(0, 0, 100, 700, 200)})
    for paths, width in (((narrow, font_path), 2), ((font_path, narrow), 8)):
        source = source_of(*paths)
        source.warm()
        await source.settled()
        glyph = source.now([LETTER], FONT)[LETTER].glyph
        assert glyph is not None
        assert glyph.box_w == width
        assert source.of("Ж") == str(paths[0])
        assert source.of("ღ") is None
        source.close()


async def test_configured_fonts_come_first_and_are_opened_at_once(font_path: Path, tmp_path: Path) -> None:
    narrow = make_font(tmp_path / "narrow.ttf", {"Ж": Block(0, 0, 100, 700, 200)})
    source = GlyphSource([str(narrow)], lambda _: [FontFile(font_path)])
    source.warm()
    await source.settled()
    glyph = source.now([LETTER], FONT)[LETTER].glyph
    assert glyph is not None
    assert glyph.box_w == 2
    assert source.of("界") == str(font_path)
    source.close()
    with pytest.raises(ConfigError, match="broken"):
        GlyphSource([str(narrow), str(tmp_path / "broken.ttf")])


async def test_a_broken_font_of_the_machine_is_left_out(font_path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    source = source_of(broken, font_path)
    source.warm()
    await source.settled()
    assert source.of("Ж") == str(font_path)
    source.close()


async def test_without_freetype_nothing_can_be_drawn_and_a_configured_font_is_an_error(
    font_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "freetype", None)
    source = source_of(font_path)
    source.warm()
    await source.settled()
    assert source.now([LETTER], FONT)[LETTER].glyph is None
    source.close()
    with pytest.raises(ConfigError, match=r"mimi-mqtt\[glyphs\]"):
        GlyphSource([str(font_path)])


async def test_memory_is_bounded(source: GlyphSource, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = source._kept
    monkeypatch.setattr(kept, "_most", 50_000)
    source.warm()
    await source.settled()
    for size in range(1, 65):
        source.now([ord(character) for character in BLOCKS], TextFont("x", "basic", size, 4))
        assert kept.weight <= 50_000


async def test_the_thread_has_a_bounded_number_of_texts_waiting(source: GlyphSource) -> None:
    for size in range(1, 60):
        source.soon([LETTER], TextFont("x", "basic", size, 4))
    assert len(source._batches) == MAX_BATCHES
    await source.settled()
    assert not source._batches


async def test_a_fault_in_the_thread_ends_nothing(
    source: GlyphSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.warm()
    await source.settled()
    with monkeypatch.context() as broken:
        broken.setattr(source, "_draw_all", lambda *_: 1 / 0)
        source.soon([LETTER], FONT)
        await source.settled()
    source.soon([LETTER], FONT)
    await source.settled()
    assert set(source.now([LETTER], FONT)) == {LETTER}
