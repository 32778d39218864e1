"""Spoken language of one conversation, from turn to turn."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from mimi_mqtt.voice.language.languages import Standing, by_script, by_word, by_words, main_script


class TellsLanguages(Protocol):
    """The interface of `language.detector.LanguageDetector` to a conversation."""

    async def probabilities(self, text: str, ours: Iterable[str]) -> Mapping[str, float]:
        """The probability of each language for a text in Latin script; empty when that can't be told."""


class SpokenLanguage:
    """Begins in `language`, a tag such as `en` or `zh-CN`; `certain`: and stays in it whatever is heard.

    `detector` judges texts in Latin script of whose language nothing was told; None: they change nothing.
    """

    def __init__(
        self, language: str, detector: TellsLanguages | None = None, *, certain: bool = False
    ) -> None:
        self.current = language
        self.certain = certain
        self._home = language
        self._detector = detector

    async def of(self, text: str, told: str | None = None) -> str:
        """The language of an utterance, and of its answer; `told` is what the recogniser says it is.

        May wait for the detector, for long only the first time. `settle` makes it the conversation's.
        """
        standing = Standing(self.current, self._home)
        if self.certain:
            return self.current
        if (known := by_script(text, told, standing)) is not None:
            return known
        if told is not None:
            return by_word(text, told, standing)
        if self._detector is None or main_script(text) != "latin":
            return self.current
        return by_words(await self._detector.probabilities(text, (self.current, self._home)), standing)

    def settle(self, language: str) -> None:
        """Makes `language` the conversation's."""
        if not self.certain:
            self.current = language
