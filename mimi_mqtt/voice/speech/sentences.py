"""Sentences of a streamed answer: pieces worth speaking, and the spoken form of each. Pure.

The cutter never changes the text: its pieces, joined, are the answer, and they are the same however the
stream was chunked. What is shown is the text; what is spoken is without markup, links and emoji.
"""

import re
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.voice.speech.emotions import emotion_of, without_emoji, without_moods

# Lengths are weights: a character, or three for one of a script that writes a word in one or two characters.
_MIN_WEIGHT: Final = 12
"""Shorter sentences are spoken together with the next one: each call to a speech provider has its price."""
_MIN_FIRST_CLAUSE: Final = 10
"""The first piece may end at a comma, for early sound, but a shorter one sounds torn off."""
_MAX_WEIGHT: Final = 240

_FULL_STOPS: Final = "。！？；｡"
"""End a sentence wherever they stand."""
_STOPS: Final = ".!?…।॥؟۔"
"""End a sentence before a space; see `_ends_here` for `.` and `…`."""
_COMMAS: Final = ",;:–—،؛"
_FULL_COMMAS: Final = "，、："
_CLOSERS: Final = "\"'”’»)]}」』）】〉》*_`"
_GERMAN_CLOSERS: Final = "“‘"
"""Which open in other languages."""


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TITLES: Final = _words(
    "mr mrs ms dr prof st sr jr vs rev gen col capt lt sgt hon e.g i.e cf approx z.b d.h u.a bzw ca str "
    "hr fr dipl mme mlle mgr tp ths ts gs pgs bs ks tx q p.ex ex sra srta sres dra dras dña núm av avda pza "
    "profa exmo séc sécs mt ft ul ул пл пр наб им акад доц проф"
)
"""A name or an example follows."""
_BEFORE_NUMBERS: Final = _words(
    "no nos nr vol fig p pp art ch sec para eq jan feb mar apr jun jul aug sep sept oct nov dec tel pág págs "
    "cap стр рис табл гл д кв корп стр тел"
)
"""Abbreviations only when a number follows: `No.` is an answer, too."""
_INSIDE_OR_LAST: Final = _words("a.m p.m etc inc ltd co corp bros dept est u.s u.k usw usf v.v al")
"""The sentence goes on if a small letter or a number follows."""

_ORDINAL_BEFORE: Final = _words(
    "der die das den dem des im vom zum zur beim bis ab seit ins jeder jede jeden jedem dein mein sein ihr "
    "unser und"
)
"""German words that a number with a stop follows as an ordinal: im 2. Stock."""
_ORDINAL_AFTER: Final = _words(
    "januar jänner februar märz april mai juni juli august september oktober november dezember jahrhundert "
    "jahrhunderts stock etage klasse platz tag woche monat quartal halbjahr mal weltkrieg kapitel teil "
    "geburtstag hochzeitstag advent liga runde auflage und oder bis"
)
"""And that follow one: am 1. Mai."""
_LOOK_AHEAD: Final = 14
"""Letters of the next word that may tell an ordinal; no month is longer."""
_SHORT_WORD: Final = 4
"""A word of so many letters with a stop, and a small letter after it, is an abbreviation of some language."""
_DOUBLED: Final = re.compile(r"([A-Z])\1")  # Spanish plurals: EE. UU.
_QUOTE_ENDS: Final = "\"'”’»」』》"
_KANA_OR_HANGUL: Final = re.compile(r"[\u3041-\u30ff\uac00-\ud7a3]")
_NEXT_WORD: Final = re.compile(r"\w*")

_WORD_BEFORE: Final = re.compile(r"[^\s(\[\"'“‘«]*$")
_ONE_OR_TWO_DIGITS: Final = re.compile(r"(?<![\d.,:])\d{1,2}$")
_TWO_WORDS: Final = re.compile(r"(\w+)\s+\w*$")
_DOTTED: Final = re.compile(r"(?:\w\.)+\w")
_LIST_NUMBER: Final = re.compile(r"(?:^|\n)\s*\d{1,3}$")


def _weight(char: str) -> int:
    return 3 if "\u2e80" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7af" or char >= "\U00020000" else 1


def spoken_weight(text: str) -> int:
    """Length of `text` as it takes to say: a character of a script that writes a word in one or two counts
    three."""
    return sum(map(_weight, text))


def _is_wide(char: str) -> bool:
    return "\u2e80" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7af" or "\uff00" <= char <= "\uffef"


class SentenceCutter:
    """One answer. `feed` gives the pieces that are certain to be complete, `flush` the rest."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0  # next character to look at; before it nothing can be cut
        self._weight = 0
        self._worth_saying = False
        self._clause = 0  # where a piece that grows too long is cut best
        self._first = True

    def feed(self, delta: str) -> list[str]:
        """Adds a chunk of the answer; the pieces it completes, in order."""
        self._text += delta
        return self._cut(final=False)

    def flush(self) -> list[str]:
        """The answer pauses or ends: everything left."""
        pieces = self._cut(final=True)
        if self._text:
            pieces.append(self._take(len(self._text)))
        return pieces

    def _cut(self, final: bool) -> list[str]:
        pieces: list[str] = []
        while self._at < len(self._text):
            end = self._end_at(self._at, final)
            if end is None:
                break
            if end:
                pieces.append(self._take(end))
            else:
                self._at += 1
        return pieces

    def _take(self, end: int) -> str:
        piece, self._text = self._text[:end], self._text[end:]
        if self._worth_saying:
            self._first = False
        self._at = self._weight = self._clause = 0
        self._worth_saying = False
        return piece

    def _end_at(self, at: int, final: bool) -> int | None:
        """Position to cut at because of the character `at`: 0 for none, None when what follows decides."""
        text, char = self._text, self._text[at]
        if char == "\n" and self._worth_saying:
            return at + 1
        if char in _STOPS or char in _FULL_STOPS or char in _COMMAS or char in _FULL_COMMAS:
            end = at + 1
            while end < len(text) and (
                text[end] in _CLOSERS
                or text[end] in _STOPS
                or text[end] in _FULL_STOPS
                or (text[end] in _GERMAN_CLOSERS and not text[end + 1 : end + 2].isalnum())
            ):
                end += 1
            if (french := self._french_end(end)) == len(text) and not final:
                return None
            end = french if french and not text[french : french + 1].isalnum() else end
            after = end
            while after < len(text) and text[after] in " \t\u3000\u00a0\u202f":
                after += 1
            if after == len(text) and not final:
                return None
            follower = text[after : after + 1]
            unfinished = text[after:].isalnum() and len(text) - after <= _LOOK_AHEAD
            if char == "." and unfinished and not final and _ONE_OR_TWO_DIGITS.search(text, 0, at):
                return None
            apart = after > end or not follower or follower in "\n¿¡" or _is_wide(follower)
            if after == end and text[end - 1] in _QUOTE_ENDS and _KANA_OR_HANGUL.match(follower):
                apart = False  # what was quoted is a part of the sentence: 「はい。」と, “네.”라고
            if self._worth_saying and self._is_end(at, end, apart, after):
                return end
            if apart or char in _FULL_COMMAS:
                self._clause = end
        elif char == " ":
            self._clause = self._clause if self._clause > at // 2 else at
        self._weight += _weight(char)
        self._worth_saying = self._worth_saying or char.isalnum()
        if self._weight >= _MAX_WEIGHT:
            return self._clause or at + 1
        return 0

    def _french_end(self, end: int) -> int:
        """Behind the guillemet that French sets off with a space (« Ici ! »); 0 where there is none. A letter
        after it shows a German one, which opens: Halt! »Nein«."""
        text = self._text
        space = text[end : end + 1]
        return end + 2 if space in (" ", "\u00a0", "\u202f") and text[end + 1 : end + 2] == "»" else 0

    def _is_end(self, at: int, end: int, apart: bool, after: int) -> bool:
        char = self._text[at]
        if char in _FULL_STOPS and (apart or end == at + 1):
            return self._first or self._weight >= _MIN_WEIGHT
        if char in _STOPS and apart and self._ends_here(at, after):
            return self._first or self._weight >= _MIN_WEIGHT
        comma = char in _FULL_COMMAS or (char in _COMMAS and apart)
        return comma and self._first and self._weight >= _MIN_FIRST_CLAUSE

    def _ends_here(self, at: int, after: int) -> bool:
        """True when the stop at `at`, before a space, ends its sentence; the text goes on at `after`."""
        char, follower = self._text[at], self._text[after : after + 1]
        if char not in ".…":
            return True
        around = self._text[max(at - 1, 0) : at + 2]
        if "…" in around or around.count(".") > 1:
            return not follower.islower()
        match = _WORD_BEFORE.search(self._text, 0, at)
        word = match[0] if match else ""
        folded = word.casefold()
        if _LIST_NUMBER.search(self._text, 0, at) or folded in _TITLES:
            return False
        if folded in _BEFORE_NUMBERS:
            return not follower.isdigit()
        if folded in _INSIDE_OR_LAST:
            return not (follower.islower() or follower.isdigit())
        if _ONE_OR_TWO_DIGITS.search(self._text, 0, at) and self._is_ordinal(at, after):
            return False
        if follower.islower() and word.isalpha() and len(word) <= _SHORT_WORD:
            return False
        if _DOUBLED.fullmatch(word) and follower.isupper():
            return False
        initial = len(word) == 1 and word.isupper() and word != "I" and not _is_wide(word)
        return not (initial or _DOTTED.fullmatch(word))

    def _is_ordinal(self, at: int, after: int) -> bool:
        """True when the number before the stop at `at` is a German ordinal."""
        before = _TWO_WORDS.search(self._text, 0, at)
        if before is not None and before[1].casefold() in _ORDINAL_BEFORE:
            return True
        following = _NEXT_WORD.match(self._text, after)
        return following is not None and following[0].casefold() in _ORDINAL_AFTER


@dataclass(frozen=True, slots=True)
class Sentence:
    """A `piece` of an answer, what to speak of it (empty: nothing), and the mood it shows.

    `language` is the one to speak it in; empty: the reply's.
    """

    piece: str
    speech: str
    emotion: tuple[str, str] | None = None
    language: str = ""

    @property
    def text(self) -> str:
        """The text to show: without the mood's emoji, which the device shows as a face."""
        return without_moods(self.piece)


_LINK: Final = re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*\)")
_URL: Final = re.compile(r"\b(?:https?://|www\.)([^\s/?#<>]+)[^\s<>]*?(?=[.,;:!?)]*(?:\s|$))", re.IGNORECASE)
_FENCE: Final = re.compile(r"```\w*")
_LINE_MARK: Final = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]*|[-*+•][ \t]+|\|)", re.MULTILINE)
_RULE: Final = re.compile(r"^[ \t]*(?:[-*_=|:][ \t]*){3,}$", re.MULTILINE)
_STARS: Final = re.compile(r"(?<![\w*])\*+(?=\S)|(?<=\S)\*+(?![\w*])|\*{2,}")
_UNDERLINES: Final = re.compile(r"(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)|~~")
_SPACE: Final = re.compile(r"\s+")


def speakable(text: str) -> str:
    """`text` as it is spoken: no Markdown, no emoji, of a link its words or host. Empty without a letter."""
    text = _LINK.sub(r"\1", text)
    text = _URL.sub(r"\1", text)
    text = _FENCE.sub(" ", without_emoji(text))
    text = _LINE_MARK.sub("", _RULE.sub("", text))
    text = _UNDERLINES.sub("", _STARS.sub("", text)).replace("`", "").replace("|", ", ")
    text = _SPACE.sub(" ", text).strip()
    return text if any(char.isalnum() for char in text) else ""


def prepare(piece: str) -> Sentence:
    """A piece of the cutter's as it is shown and spoken."""
    return Sentence(piece, speakable(piece), emotion_of(piece))


def spoken_pieces(text: str) -> list[str]:
    """The pieces of a whole text, as text to speech is asked for them."""
    cutter = SentenceCutter()
    spoken = [prepare(piece).speech for piece in (*cutter.feed(text), *cutter.flush())]
    return [speech for speech in spoken if speech]
