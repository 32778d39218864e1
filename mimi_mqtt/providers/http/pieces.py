"""Putting together text that comes in pieces: with spaces in scripts that have them."""

from collections.abc import Iterable


def joined(pieces: Iterable[str]) -> str:
    """`pieces` as one text; no space where Chinese or Japanese meets anything, nor before punctuation."""
    text = ""
    for piece in map(str.strip, pieces):
        if text and piece and not (_unspaced(text[-1]) or _unspaced(piece[0]) or piece[0] in ",.!?;:"):
            text += " "
        text += piece
    return text


def _unspaced(char: str) -> bool:
    """Whether words of this script (and its full-width punctuation) stand next to each other."""
    return (
        "\u3000" <= char <= "\u30ff"  # CJK punctuation, hiragana, katakana
        or "\u3400" <= char <= "\u9fff"  # CJK ideographs
        or "\uf900" <= char <= "\ufaff"
        or "\uff00" <= char <= "\uffef"
        or "\U00020000" <= char <= "\U0003ffff"
    )
