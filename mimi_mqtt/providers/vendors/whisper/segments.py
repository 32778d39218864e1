"""Whisper's confidence in its segments, and the removal of those invented for noise.

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

UNLIKELY: Final = -1.3
"""Mean log probability below which no words count, however surely something was said: of 360 short commands
by three voices, down to 0 dB of noise, tiny.en and base had none right below -1.2. Breath is beyond."""

SURELY_NO_SPEECH: Final = 0.9
"""Probability that nothing was said, beyond which no words count, however likely."""

REPEATED: Final = 2.4
"""Compression ratio beyond which words are repetitions: the decoder's own limit."""


class Segment(BaseModel):
    """A part of a transcript; a measure that the server does not report counts as good."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    text: str = ""
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    compression_ratio: float = 0.0

    @property
    def invented(self) -> bool:
        """True when it is most likely invented."""
        return (
            self.no_speech_prob > SURELY_NO_SPEECH
            or self.avg_logprob < UNLIKELY
            or (self.no_speech_prob > NO_SPEECH and self.avg_logprob < DOUBTFUL)
            or self.compression_ratio > REPEATED
        )


_SEGMENTS: Final = TypeAdapter(list[Segment])


def segments_of(told: object) -> Sequence[Segment]:
    """The segments that a server or a library reports; none when they are malformed."""
    try:
        return _SEGMENTS.validate_python(told)
    except ValidationError:
        return ()


def spoken(segments: Sequence[Segment]) -> Sequence[Segment]:
    """The segments that were most likely spoken."""
    kept = [segment for segment in segments if not segment.invented]
    if invented := len(segments) - len(kept):
        _log.debug("%d of %d segments are left out as noise", invented, len(segments))
    return kept
