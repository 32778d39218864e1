"""Fonts and a device's description of its own."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from mimi_mqtt.session.glyphs.fonts import FontFile
from mimi_mqtt.session.glyphs.source import GlyphSource
from mimi_mqtt.wire.glyphs import TextFont
from tests.fonts import BLOCKS, Block, make_font

FONT = TextFont("noto-v1", "basic", 20, 4)
HAN = {chr(0x4E00 + index): Block(0, -200, 1000, 800, 1000) for index in range(600)}


@pytest.fixture(scope="session")
def font_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks for a few letters and 600 Chinese characters."""
    return make_font(tmp_path_factory.mktemp("fonts") / "blocks.ttf", {**HAN, **BLOCKS})


def source_of(*paths: Path, budget_s: float = 60.0) -> GlyphSource:
    """A source that has these fonts and none of the machine's."""

    def files(_: Sequence[str]) -> Iterable[FontFile]:
        return [FontFile(path) for path in paths]

    return GlyphSource(files=files, budget_s=budget_s)
