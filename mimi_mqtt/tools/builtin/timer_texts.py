"""Sentences for a timer that is due, in the languages that the server's own sentences are in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.providers.durations import spoken_duration
from mimi_mqtt.providers.languages import primary


@dataclass(frozen=True, slots=True)
class _Sentences:
    """With a timer's `name`, or its `duration` where it has none; `ago`: how long it was due before."""

    due: str
    due_unnamed: str
    missed: str
    missed_unnamed: str


_BY_LANGUAGE: Final[Mapping[str, _Sentences]] = {
    "en": _Sentences(
        "Your {name} is done.",
        "Your timer for {duration} is done.",
        "Your {name} was done {ago} ago.",
        "Your timer for {duration} was done {ago} ago.",
    ),
    "de": _Sentences(
        "Dein Timer {name} ist abgelaufen.",
        "Dein Timer für {duration} ist abgelaufen.",
        "Dein Timer {name} ist vor {ago} abgelaufen.",
        "Dein Timer für {duration} ist vor {ago} abgelaufen.",
    ),
    "es": _Sentences(
        "Tu temporizador {name} ha terminado.",
        "Tu temporizador de {duration} ha terminado.",
        "Tu temporizador {name} terminó hace {ago}.",
        "Tu temporizador de {duration} terminó hace {ago}.",
    ),
    "fr": _Sentences(
        "Ton minuteur {name} est terminé.",
        "Ton minuteur de {duration} est terminé.",
        "Ton minuteur {name} s'est terminé il y a {ago}.",
        "Ton minuteur de {duration} s'est terminé il y a {ago}.",
    ),
    "pt": _Sentences(
        "Seu temporizador {name} terminou.",
        "Seu temporizador de {duration} terminou.",
        "Seu temporizador {name} terminou há {ago}.",
        "Seu temporizador de {duration} terminou há {ago}.",
    ),
    "ru": _Sentences(
        "Таймер {name} сработал.",
        "Таймер сработал: {duration}.",
        "Таймер {name} уже сработал. С тех пор прошло: {ago}.",
        "Таймер уже сработал: {duration}. С тех пор прошло: {ago}.",
    ),
    "vi": _Sentences(
        "Hẹn giờ {name} đã hết.",
        "Hẹn giờ {duration} đã hết.",
        "Hẹn giờ {name} đã hết {ago} trước.",
        "Hẹn giờ {duration} đã hết {ago} trước.",
    ),
    "ja": _Sentences(
        "{name}のタイマーが終わりました。",
        "{duration}のタイマーが終わりました。",
        "{name}のタイマーは{ago}前に終わりました。",
        "{duration}のタイマーは{ago}前に終わりました。",
    ),
    "zh": _Sentences(
        "{name}的定时器到时间了。",
        "{duration}的定时器到时间了。",
        "{name}的定时器{ago}前到时间了。",
        "{duration}的定时器{ago}前到时间了。",
    ),
    "ko": _Sentences(
        "{name} 타이머가 끝났어요.",
        "{duration} 타이머가 끝났어요.",
        "{name} 타이머는 {ago} 전에 끝났어요.",
        "{duration} 타이머는 {ago} 전에 끝났어요.",
    ),
}
LANGUAGES: Final = tuple(_BY_LANGUAGE)
_NOUNS: Final = ("timer", "alarm")


def named(label: str) -> str:
    """A labelled timer in English: `pasta timer`; a label that says already what it is stays."""
    return label if label.casefold().endswith(_NOUNS) else f"{label} timer"


def due_sentence(language: str, label: str, seconds: int) -> str:
    """That a timer of so many seconds is due; in English for a language that is not among LANGUAGES."""
    code, sentences = _sentences(language)
    text = sentences.due if label else sentences.due_unnamed
    return _filled(text, code, label, seconds)


def missed_sentence(language: str, label: str, seconds: int, ago: int) -> str:
    """That a timer of so many seconds was due `ago` seconds before."""
    code, sentences = _sentences(language)
    text = sentences.missed if label else sentences.missed_unnamed
    return _filled(text, code, label, seconds, ago)


def _sentences(language: str) -> tuple[str, _Sentences]:
    code = primary(language) if primary(language) in _BY_LANGUAGE else "en"
    return code, _BY_LANGUAGE[code]


def _filled(text: str, code: str, label: str, seconds: int, ago: int = 0) -> str:
    return text.format(
        name=named(label) if code == "en" else label,
        duration=spoken_duration(seconds, code),
        ago=spoken_duration(ago, code),
    )
