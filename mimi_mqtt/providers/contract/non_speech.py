"""Removal of what recognisers write for sounds that are no speech. Pure.

Whisper has learned subtitles: whisper.cpp and servers on it write `[BLANK_AUDIO]`, `(wind blowing)`,
`*sighs*` or `♪♪` for silence, noise and music, and a full stop or an ellipsis for nothing at all. Answered as
words, each would be a turn that nobody began.
https://github.com/ggml-org/whisper.cpp/issues/2420
"""

import re
from typing import Final

_LONGEST: Final = 80
"""Longest description of a sound, in characters: beyond, brackets hold something else."""

_DESCRIBED: Final = re.compile(
    rf"\[[^\[\]]{{0,{_LONGEST}}}\]|【[^【】]{{0,{_LONGEST}}}】|\*[^\W\d][^*\d]{{0,{_LONGEST}}}\*"
    # Round ones with digits are telephone numbers, stars between digits are products.
    rf"|\([^()\d]{{0,{_LONGEST}}}\)|（[^（）\d]{{0,{_LONGEST}}}）"
)
_NOTES: Final = re.compile("[♩-♯🎵🎶🎼]")


def words_only(text: str) -> str:
    """`text` without descriptions of sounds; empty when no word is left."""
    words = _NOTES.sub(" ", _DESCRIBED.sub(" ", text))
    if not any(character.isalnum() for character in words):
        return ""
    return text if words == text else " ".join(words.split())
