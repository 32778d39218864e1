"""Echo guard: tells the assistant's own words, come back through the microphone, from what a user says. Pure.

It works on words alone: what a loudspeaker said a moment ago is heard again as the end of the reply, word for
word or nearly.
"""

from typing import Final

from mimi_mqtt.voice.language.words import resembles

WINDOW_S: Final = 2.0
"""Speech that begins later than this after the end of a reply is no echo of it."""

_QUESTION_WINDOW_S: Final = 0.6
"""After a question the answer may well repeat its words: only what begins at once is an echo."""
_KEPT_CHARS: Final = 2_000


class EchoGuard:
    """Memory of the last reply of one session. Times are loop time, in s."""

    def __init__(self) -> None:
        self._said = ""
        self._ended_at: float | None = None

    def said(self, text: str, ended_at: float) -> None:
        """A reply of which `text` was heard has ended."""
        self._said = text[-_KEPT_CHARS:]
        self._ended_at = ended_at

    def repeats(self, heard: str, began_at: float) -> bool:
        """True when `heard`, whose speech began at `began_at`, is an echo of the end of the last reply."""
        if self._ended_at is None:
            return False
        asked = self._said.rstrip().endswith(("?", "？"))
        if began_at - self._ended_at > (_QUESTION_WINDOW_S if asked else WINDOW_S):
            return False
        return resembles(heard, self._said)
