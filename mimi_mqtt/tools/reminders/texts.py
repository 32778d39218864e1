"""Sentences for a timer, an alarm or a reminder that is due, in the languages of the server's own. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final

from mimi_mqtt.providers.durations import plural, spoken_duration
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.store.reminders import ReminderRecord

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class _Sentences:
    """With a timer's `name`, or its `duration` where it has none; a `text`; a time of day `at`; `ago`: how
    long it was due before. `days` has the forms of a day as `plural` takes them."""

    timer: str
    timer_unnamed: str
    timer_missed: str
    timer_unnamed_missed: str
    alarm: str
    alarm_named: str
    alarm_missed: str
    alarm_named_missed: str
    reminder: str
    reminder_missed: str
    days: tuple[str, ...]


_BY_LANGUAGE: Final[Mapping[str, _Sentences]] = {
    "en": _Sentences(
        "Your {name} is done.",
        "Your timer for {duration} is done.",
        "Your {name} was done {ago} ago.",
        "Your timer for {duration} was done {ago} ago.",
        "It is {at}. This is your alarm.",
        "It is {at}: {text}.",
        "Your {at} alarm was due {ago} ago.",
        "Your {at} alarm was due {ago} ago: {text}.",
        "Reminder: {text}.",
        "Your {at} reminder was due {ago} ago: {text}.",
        ("day", "days"),
    ),
    "de": _Sentences(
        "Dein Timer {name} ist abgelaufen.",
        "Dein Timer für {duration} ist abgelaufen.",
        "Dein Timer {name} ist vor {ago} abgelaufen.",
        "Dein Timer für {duration} ist vor {ago} abgelaufen.",
        "Es ist {at}. Das ist dein Wecker.",
        "Es ist {at}: {text}.",
        "Dein Wecker für {at} war vor {ago} dran.",
        "Dein Wecker für {at} war vor {ago} dran: {text}.",
        "Erinnerung: {text}.",
        "Deine Erinnerung für {at} war vor {ago} fällig: {text}.",
        ("Tag", "Tagen"),
    ),
    "es": _Sentences(
        "Tu temporizador {name} ha terminado.",
        "Tu temporizador de {duration} ha terminado.",
        "Tu temporizador {name} terminó hace {ago}.",
        "Tu temporizador de {duration} terminó hace {ago}.",
        "Son las {at}. Es tu alarma.",
        "Son las {at}: {text}.",
        "Tu alarma de las {at} sonó hace {ago}.",
        "Tu alarma de las {at} sonó hace {ago}: {text}.",
        "Recordatorio: {text}.",
        "Tu recordatorio de las {at} era hace {ago}: {text}.",
        ("día", "días"),
    ),
    "fr": _Sentences(
        "Ton minuteur {name} est terminé.",
        "Ton minuteur de {duration} est terminé.",
        "Ton minuteur {name} s'est terminé il y a {ago}.",
        "Ton minuteur de {duration} s'est terminé il y a {ago}.",
        "Il est {at}. C'est ton réveil.",
        "Il est {at} : {text}.",
        "Ton réveil de {at} était prévu il y a {ago}.",
        "Ton réveil de {at} était prévu il y a {ago} : {text}.",
        "Rappel : {text}.",
        "Ton rappel de {at} était prévu il y a {ago} : {text}.",
        ("jour", "jours"),
    ),
    "pt": _Sentences(
        "Seu temporizador {name} terminou.",
        "Seu temporizador de {duration} terminou.",
        "Seu temporizador {name} terminou há {ago}.",
        "Seu temporizador de {duration} terminou há {ago}.",
        "São {at}. Este é o seu alarme.",
        "São {at}: {text}.",
        "Seu alarme das {at} era há {ago}.",
        "Seu alarme das {at} era há {ago}: {text}.",
        "Lembrete: {text}.",
        "Seu lembrete das {at} era há {ago}: {text}.",
        ("dia", "dias"),
    ),
    "ru": _Sentences(
        "Таймер {name} сработал.",
        "Таймер сработал: {duration}.",
        "Таймер {name} уже сработал. С тех пор прошло: {ago}.",
        "Таймер уже сработал: {duration}. С тех пор прошло: {ago}.",
        "Сейчас {at}. Это ваш будильник.",
        "Сейчас {at}: {text}.",
        "Будильник на {at} уже прошёл. С тех пор прошло: {ago}.",
        "Будильник на {at} уже прошёл: {text}. С тех пор прошло: {ago}.",
        "Напоминание: {text}.",
        "Напоминание на {at}: {text}. С тех пор прошло: {ago}.",
        ("день", "дня", "дней"),
    ),
    "vi": _Sentences(
        "Hẹn giờ {name} đã hết.",
        "Hẹn giờ {duration} đã hết.",
        "Hẹn giờ {name} đã hết {ago} trước.",
        "Hẹn giờ {duration} đã hết {ago} trước.",
        "Bây giờ là {at}. Báo thức của bạn đây.",
        "Bây giờ là {at}: {text}.",
        "Báo thức lúc {at} đã qua {ago}.",
        "Báo thức lúc {at} đã qua {ago}: {text}.",
        "Nhắc bạn: {text}.",
        "Lời nhắc lúc {at} đã qua {ago}: {text}.",
        ("ngày",),
    ),
    "ja": _Sentences(
        "{name}のタイマーが終わりました。",
        "{duration}のタイマーが終わりました。",
        "{name}のタイマーは{ago}前に終わりました。",
        "{duration}のタイマーは{ago}前に終わりました。",
        "{at}です。アラームの時間です。",
        "{at}です。{text}。",
        "{at}のアラームは{ago}前でした。",
        "{at}のアラームは{ago}前でした。{text}。",
        "リマインダーです。{text}。",
        "{at}のリマインダーは{ago}前でした。{text}。",
        ("日",),
    ),
    "zh": _Sentences(
        "{name}的定时器到时间了。",
        "{duration}的定时器到时间了。",
        "{name}的定时器{ago}前到时间了。",
        "{duration}的定时器{ago}前到时间了。",
        "现在是{at}，您的闹钟响了。",
        "现在是{at}：{text}。",
        "您{at}的闹钟{ago}前就到时间了。",
        "您{at}的闹钟{ago}前就到时间了：{text}。",
        "提醒您：{text}。",
        "您{at}的提醒{ago}前就到时间了：{text}。",
        ("天",),
    ),
    "ko": _Sentences(
        "{name} 타이머가 끝났어요.",
        "{duration} 타이머가 끝났어요.",
        "{name} 타이머는 {ago} 전에 끝났어요.",
        "{duration} 타이머는 {ago} 전에 끝났어요.",
        "{at}이에요. 알람 시간이에요.",
        "{at}이에요. {text}.",
        "{at} 알람은 {ago} 전이었어요.",
        "{at} 알람은 {ago} 전이었어요. {text}.",
        "알림이에요. {text}.",
        "{at} 알림은 {ago} 전이었어요. {text}.",
        ("일",),
    ),
}
LANGUAGES: Final = tuple(_BY_LANGUAGE)
_NOUNS: Final = ("timer", "alarm")
_ENDS: Final = " .!?。！？"


def named(label: str) -> str:
    """A labelled timer in English: `pasta timer`; a label that says already what it is stays."""
    return label if label.casefold().endswith(_NOUNS) else f"{label} timer"


def sentence(record: ReminderRecord, language: str, at: datetime | None, late_s: int | None = None) -> str:
    """That `record` is due, or was `late_s` seconds before; `at` is the wall time at which it was due.

    In English for a language that is not among LANGUAGES.
    """
    code = primary(language) if primary(language) in _BY_LANGUAGE else "en"
    sentences = _BY_LANGUAGE[code]
    due, missed = _pair(sentences, record)
    text = record.text.rstrip(_ENDS)
    return (due if late_s is None else missed).format(
        name=named(text) if code == "en" else text,
        text=text,
        duration=spoken_duration(record.duration_s, code),
        at="" if at is None else clock_time(at.time(), code),
        ago="" if late_s is None else _ago(late_s, code, sentences.days),
    )


def _pair(sentences: _Sentences, record: ReminderRecord) -> tuple[str, str]:
    """The sentences for being due and for having been missed."""
    if record.kind == "timer":
        if record.text:
            return sentences.timer, sentences.timer_missed
        return sentences.timer_unnamed, sentences.timer_unnamed_missed
    if record.kind == "reminder" and record.text:
        return sentences.reminder, sentences.reminder_missed
    if record.text:
        return sentences.alarm_named, sentences.alarm_named_missed
    return sentences.alarm, sentences.alarm_missed


def _ago(seconds: int, code: str, days: tuple[str, ...]) -> str:
    """A time gone by, as exactly as people tell it: seconds within a minute, minutes within some hours,
    days."""
    seconds = max(1, seconds)
    if seconds >= 2 * _DAY_S:
        number = round(seconds / _DAY_S)
        return f"{number}{'' if code in ('ja', 'zh', 'ko') else ' '}{plural(number, days)}"
    size = 1 if seconds < 60 else 60 if seconds < 6 * 3_600 else 3_600
    return spoken_duration(round(seconds / size) * size, code)


def clock_time(at: time, language: str) -> str:
    """A time of day as it is read out: `7:30 pm`, `19 Uhr 30`; in English for a language not among
    LANGUAGES."""
    hour, minute = at.hour, at.minute
    match language:
        case "de":
            return f"{hour} Uhr {minute}" if minute else f"{hour} Uhr"
        case "fr":
            return f"{hour} heures {minute}" if minute else f"{hour} heures"
        case "vi":
            return f"{hour} giờ {minute}" if minute else f"{hour} giờ"
        case "ja":
            return f"{hour}時{minute}分" if minute else f"{hour}時"
        case "zh":
            return f"{hour}点{minute}分" if minute else f"{hour}点"
        case "ko":
            return f"{hour}시 {minute}분" if minute else f"{hour}시"
        case "es" | "pt" | "ru":
            return f"{hour}:{minute:02}"
        case _:
            half = "am" if hour < 12 else "pm"
            return f"{hour % 12 or 12}:{minute:02} {half}"
