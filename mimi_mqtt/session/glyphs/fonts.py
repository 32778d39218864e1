"""Font files: those of the configuration, and after them the well-known ones that this machine has.

A character is drawn from the first of them that has it. Their order is that of the devices' own fonts (the
bundle `noto-v1` of 78/xiaozhi-fonts): Latin, Chinese as it is written in China, then the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDERS: Final = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
"""Folders of fonts, as Debian and its relatives have them."""

# Paths in those folders, and the face in a collection; as Debian's packages install them.
_WELL_KNOWN: Final = (
    ("truetype/noto/NotoSans-Regular.ttf", 0),
    ("opentype/noto/NotoSansCJK-Regular.ttc", 2),  # simplified Chinese, and all that the others have
    ("truetype/noto/NotoSansThai-Regular.ttf", 0),
    ("truetype/noto/NotoSansArabic-Regular.ttf", 0),
    ("truetype/noto/NotoSansHebrew-Regular.ttf", 0),
    ("truetype/noto/NotoSansDevanagari-Regular.ttf", 0),
    ("truetype/noto/NotoSansBengali-Regular.ttf", 0),
    ("truetype/noto/NotoSansTamil-Regular.ttf", 0),
    ("truetype/noto/NotoSansGeorgian-Regular.ttf", 0),
    ("truetype/noto/NotoSansArmenian-Regular.ttf", 0),
    ("truetype/dejavu/DejaVuSans.ttf", 0),
    ("truetype/wqy/wqy-microhei.ttc", 0),
    ("truetype/droid/DroidSansFallbackFull.ttf", 0),
    ("truetype/wqy/wqy-zenhei.ttc", 0),
    ("opentype/ipafont-gothic/ipag.ttf", 0),
    ("truetype/nanum/NanumGothic.ttf", 0),
    ("truetype/tlwg/Loma.ttf", 0),
    ("truetype/noto/NotoEmoji-Regular.ttf", 0),
    ("truetype/ancient-scripts/Symbola_hint.ttf", 0),
    ("truetype/noto/NotoSansSymbols2-Regular.ttf", 0),
    ("opentype/unifont/unifont.otf", 0),
    ("opentype/unifont/unifont_upper.otf", 0),
)


@dataclass(frozen=True, slots=True)
class FontFile:
    """One face of a font file. `index` counts the faces of a collection (.ttc). `configured`: it is named in
    the configuration, so that it must be there and work."""

    path: Path
    index: int = 0
    configured: bool = False

    def __str__(self) -> str:
        return f"{self.path}#{self.index}" if self.index else str(self.path)

    @classmethod
    def named(cls, text: str) -> "FontFile":
        """The face that the configuration names: a path, for a collection with `#` and the face's number."""
        path, mark, index = text.rpartition("#")
        if mark and index.isdecimal() and len(index) < 4:
            return cls(Path(path), int(index), configured=True)
        return cls(Path(text), configured=True)


def font_files(configured: Sequence[str], folders: Sequence[Path] = FOLDERS) -> Iterator[FontFile]:
    """All faces that characters are looked for in, in order."""
    for text in configured:
        yield FontFile.named(text)
    for relative, index in _WELL_KNOWN:
        for folder in folders:
            if (folder / relative).is_file():
                yield FontFile(folder / relative, index)
                break


@dataclass(frozen=True, slots=True)
class Script:
    """A script, a character that only its fonts have, and the Debian package that draws it well."""

    name: str
    sample: str
    package: str


SCRIPTS: Final = (
    Script("Latin with its accents", "ệ", "fonts-noto-core"),
    Script("Cyrillic", "ж", "fonts-noto-core"),
    Script("Greek", "ώ", "fonts-noto-core"),
    Script("Chinese", "鱻", "fonts-noto-cjk"),
    Script("Japanese", "ぁ", "fonts-noto-cjk"),
    Script("Korean", "뷁", "fonts-noto-cjk"),
    Script("Thai", "ๆ", "fonts-noto-core"),
    Script("Arabic", "ژ", "fonts-noto-core"),
    Script("Hebrew", "א", "fonts-noto-core"),
    Script("Hindi", "क", "fonts-noto-core"),
    Script("emoji", "🚀", "fonts-symbola"),
)
"""Scripts that people use with devices."""
