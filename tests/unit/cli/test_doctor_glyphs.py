"""The doctor on fonts for the screens of devices."""

import sys
from pathlib import Path

import pytest

from mimi_mqtt.cli import doctor_glyphs
from mimi_mqtt.session.glyphs import fonts
from tests.fonts import BLOCKS, make_font


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has none of the well-known ones."""
    monkeypatch.setattr(fonts, "_WELL_KNOWN", ())


@pytest.mark.usefixtures("no_fonts")
def test_each_script_has_the_font_that_its_glyphs_come_from(tmp_path: Path) -> None:
    font = make_font(tmp_path / "blocks.ttf", {script.sample: BLOCKS["ế"] for script in fonts.SCRIPTS})
    (found,) = doctor_glyphs.fonts([str(font)])
    assert found.grade == "ok"
    assert all(script.name in found.detail for script in fonts.SCRIPTS)
    assert str(font) in found.detail


@pytest.mark.usefixtures("no_fonts")
def test_scripts_without_a_font_are_told_with_the_package_that_has_them(tmp_path: Path) -> None:
    font = make_font(tmp_path / "blocks.ttf", {"ж": BLOCKS["Ж"]})
    found, missing = doctor_glyphs.fonts([str(font)])
    assert "Cyrillic" in found.detail
    assert "Cyrillic" not in missing.detail
    assert {"Japanese", "emoji"} <= set(missing.detail.removeprefix("no font for ").split(", "))
    assert (missing.grade, missing.cure.split()[:2]) == ("warn", ["apt-get", "install"])
    assert {"fonts-noto-cjk", "fonts-symbola"} <= set(missing.cure.split())


def test_a_configured_font_that_is_none_is_a_failure(tmp_path: Path) -> None:
    (broken,) = doctor_glyphs.fonts([str(tmp_path / "broken.ttf")])
    assert broken.grade == "fail"
    assert "broken.ttf" in broken.detail
    assert "display.fonts" in broken.cure


def test_without_the_package_that_draws_the_advice_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "freetype", None)
    (missing,) = doctor_glyphs.fonts([])
    assert missing.grade == "warn"
    assert "mimi-mqtt[glyphs]" in missing.cure
