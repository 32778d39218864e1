"""What Whisper says of its own words, and which of them nobody has said.

Of noise it makes sentences that it has often read at the end of films ("Thank you.", "Thanks for watching!"),
or one word over and over. Each segment tells how probable it is that nothing was said, and how probable the
words are; the measures are those of the model's own decoder.
https://platform.openai.com/docs/api-reference/audio/verbose-json-object
"""

import logging
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

_log = logging.getLogger(__name__)

NO_SPEECH: Final = 0.6
"""Probability that nothing was said, beyond which words must be likelier than DOUBTFUL to count."""

DOUBTFUL: Final = -0.5
"""Mean log probability of words; what is clearly spoken has more, most of what is invented has less."""

SURELY_NO_SPEECH: Final = 0.9
"""Probability that nothing was said, beyond which no words count, however likely."""

REPEATED: Final = 2.4
"""By how much words can be compressed, beyond which they go in circles: the decoder's own limit."""


class Segment(BaseModel):
    """A part of a transcript; a server that does not tell a measure is believed."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    text: str = ""
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    compression_ratio: float = 0.0

    @property
    def invented(self) -> bool:
        """Whether nobody has said it, most likely."""
        return (
            self.no_speech_prob > SURELY_NO_SPEECH
            or (self.no_speech_prob > NO_SPEECH and self.avg_logprob < DOUBTFUL)
            or self.compression_ratio > REPEATED
        )


_SEGMENTS: Final = TypeAdapter(list[Segment])


def segments_of(told: object) -> Sequence[Segment]:
    """What a server or a library tells of segments; none when it makes no sense."""
    try:
        return _SEGMENTS.validate_python(told)
    except ValidationError:
        return ()


def spoken(segments: Sequence[Segment]) -> Sequence[Segment]:
    """Those of `segments` that somebody has said."""
    kept = [segment for segment in segments if not segment.invented]
    if invented := len(segments) - len(kept):
        _log.debug("%d of %d segments are left out: nobody has said them", invented, len(segments))
    return kept
