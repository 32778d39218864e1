"""The interface to a strategy: how much silence ends an utterance. Pure."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Spoken:
    """The words known so far.

    `text` may lag behind the speech or be empty, unless it is the `whole` of what was said up to this
    silence; `endpoint`: the recogniser itself takes the utterance for over.
    """

    text: str = ""
    endpoint: bool = False
    whole: bool = False


class Endpointing(Protocol):
    """Strategy for one speaker."""

    def paused(self, pause_ms: float) -> None:
        """The speaker was silent for so long within an utterance, and went on."""

    def ended(self) -> None:
        """An utterance is over."""

    def end_silence_ms(self, spoken: Spoken, silence_ms: float) -> float:
        """The silence that ends an utterance of which `spoken` is known after `silence_ms` of it."""
