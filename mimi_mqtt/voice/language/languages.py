"""Languages of utterances and of sentences of an answer, by what a recogniser tells or by the text. Pure.

Where it is not certain the conversation's language stays: a name or an "ok" must not change the voice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.providers.languages import READER, VIETNAMESE, letters_by_script, primary, script_of

LEAST_SHARE: Final = 0.6
"""Share of a script in a text, by weight, from which the text counts as written in it."""

LEAST_LETTERS: Final = 6
"""In Latin script a recogniser's word on the language counts from so many letters: they hear anything in
an "ok"."""

SWITCH_CONFIDENCE: Final = 0.7
"""Probability from which the words alone change the language. Of 168 utterances of one to six words in seven
languages none was mistaken at 0.6, and of 25 names and interjections none got beyond 0.6."""

_WEIGHT: Final[Mapping[str, int]] = {"han": 3, "kana": 2, "hangul": 3}
"""Weights of characters in scripts that write a word in fewer of them than Latin."""

_LATIN_SENTENCE_WORDS: Final = 3
"""Fewer Latin words in an answer in another script are a name or a term of it."""

_VOICE_LANGUAGE: Final = re.compile(r"([a-z]{2,3})[-_][A-Z]{2}(?![A-Za-z])|([a-z]{2,3})\+")
"""The language in names of voices by Azure, Edge, Piper (`vi-VN-HoaiMyNeural`, `en_US-lessac`) and espeak-ng
(`en+f3`)."""

_BY_LETTERS: Final[Mapping[str, frozenset[str]]] = {"uk": frozenset("іїєґІЇЄҐ"), "be": frozenset("ўЎ")}
"""Letters by which languages in Cyrillic are told from Russian."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The languages of a conversation, as tags: the current one, and the one it began in."""

    current: str
    home: str

    def tag(self, language: str) -> str:
        """`language` with the region that is usual here: `pt` is `pt-BR` for a device from Brazil."""
        for known in (self.current, self.home):
            if primary(known) == primary(language):
                return known
        return language

    def among(self, script: str) -> str | None:
        """The language of ours that is written in `script`, if there is one."""
        for known in (self.current, self.home):
            if script_of(known) == script or (script == "han" and script_of(known) == "kana"):
                return known
        return None


def main_script(text: str) -> str | None:
    """The script that `text` is written in; None without letters, or when it is not one."""
    weights = {script: count * _WEIGHT.get(script, 1) for script, count in letters_by_script(text).items()}
    if not weights:
        return None
    if "kana" in weights:  # without which no Japanese sentence is, and which Chinese has not
        weights["kana"] += weights.pop("han", 0)
    script, weight = max(weights.items(), key=lambda item: item[1])
    return script if weight >= LEAST_SHARE * sum(weights.values()) else None


def by_script(text: str, told: str | None, standing: Standing) -> str | None:
    """The language of `text` where its script decides; None for Latin, or a text without a script."""
    script = main_script(text)
    if script is None:
        mixture = letters_by_script(text).keys() - {"latin"}
        return standing.tag(told) if told is not None and script_of(told) in mixture else None
    if script == "latin":
        return standing.tag("vi") if VIETNAMESE.search(text) else None
    if told is not None and (script_of(told) == script or (script == "han" and primary(told) == "ja")):
        return standing.tag(told)
    for language, letters in _BY_LETTERS.items():
        if script == "cyrillic" and letters & {*text} and standing.among(script) is None:
            return language
    return standing.among(script) or READER[script]


def by_word(text: str, told: str, standing: Standing) -> str:
    """The language of a text in Latin script that a recogniser holds to be in `told`."""
    letters = letters_by_script(text).get("latin", 0)
    if letters < LEAST_LETTERS or script_of(told) != "latin":
        return standing.current
    return standing.tag(told)


def by_words(probabilities: Mapping[str, float], standing: Standing) -> str:
    """The language of a text of which a detector holds the languages to be so probable."""
    if primary(standing.current) not in probabilities:
        return standing.current
    language, probability = max(probabilities.items(), key=lambda item: item[1])
    return standing.tag(language) if probability >= SWITCH_CONFIDENCE else standing.current


def of_sentence(sentence: str, language: str) -> str:
    """The language to speak a sentence of an answer in: `language`, unless the script is another's.

    A few Latin words in a language that isn't written so are left to its voice; a sentence is English.
    """
    script = main_script(sentence)
    if script is None or script == script_of(language) or (script == "han" and primary(language) == "ja"):
        return language
    if VIETNAMESE.search(sentence) and script == "latin":
        return "vi"
    if script == "latin":
        return "en" if len(sentence.split()) >= _LATIN_SENTENCE_WORDS else language
    return by_script(sentence, None, Standing(language, language)) or language


def voice_for(voice: str | None, language: str) -> str | None:
    """`voice`, unless its name says that it is another language's; None is the provider's for `language`."""
    if voice is None or "multilingual" in voice.lower():
        return voice
    of_voice = _VOICE_LANGUAGE.match(voice)
    return voice if of_voice is None or primary(of_voice[1] or of_voice[2]) == primary(language) else None
