"""Durations as they are said in the languages that the server's own sentences are in. Pure."""

from collections.abc import Mapping
from typing import Final

from mimi_mqtt.providers.languages import primary

_SIZES: Final = (3_600, 60, 1)

_Unit = tuple[str, ...]
"""The forms of a unit: for one and for several; in Russian for 1, for 2 to 4 and for 5; or always one."""

_UNITS: Final[Mapping[str, tuple[_Unit, _Unit, _Unit]]] = {
    "en": (("hour", "hours"), ("minute", "minutes"), ("second", "seconds")),
    "de": (("Stunde", "Stunden"), ("Minute", "Minuten"), ("Sekunde", "Sekunden")),
    "es": (("hora", "horas"), ("minuto", "minutos"), ("segundo", "segundos")),
    "fr": (("heure", "heures"), ("minute", "minutes"), ("seconde", "secondes")),
    "pt": (("hora", "horas"), ("minuto", "minutos"), ("segundo", "segundos")),
    "ru": (("час", "часа", "часов"), ("минута", "минуты", "минут"), ("секунда", "секунды", "секунд")),
    "vi": (("giờ",), ("phút",), ("giây",)),
    "ja": (("時間",), ("分",), ("秒",)),
    "zh": (("小时",), ("分钟",), ("秒",)),
    "ko": (("시간",), ("분",), ("초",)),
}
_AND: Final[Mapping[str, str]] = {
    "de": " und ",
    "es": " y ",
    "fr": " et ",
    "pt": " e ",
    "ja": "",
    "zh": "",
}
_NATIVE: Final = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_UNSPACED: Final = frozenset(("ja", "zh", "ko"))


def spoken_duration(seconds: int, language: str = "en") -> str:
    """`3725` as `1 hour 2 minutes 5 seconds`; in English for a language that is not among ours."""
    code = primary(language) if primary(language) in _UNITS else "en"
    space = "" if code in _UNSPACED else " "
    parts: list[str] = []
    for size, unit in zip(_SIZES, _UNITS[code], strict=True):
        number, seconds = divmod(seconds, size)
        if number or (size == 1 and not parts):
            parts.append(f"{_counted(number, size, code)}{space}{plural(number, unit)}")
    return _AND.get(code, " ").join(parts)


def _counted(number: int, size: int, language: str) -> str:
    """`number` in digits, or in words where digits would be read as another word than people count with."""
    if language == "ko" and size == 3_600 and 1 <= number <= 24:
        return f"{native(number)} "
    return "两" if language == "zh" and number == 2 else str(number)


def native(number: int) -> str:
    """A number from 1 to 24 as Koreans count hours: 한, 두, 열두, 스물네."""
    if number == 20:
        return "스무"
    return f"{('', '열', '스물')[number // 10]}{_NATIVE[number % 10]}"


def plural(number: int, forms: tuple[str, ...]) -> str:
    """The form that a noun has after `number`."""
    if len(forms) < 3:
        return forms[0 if number == 1 else -1]
    if number % 10 == 1 and number % 100 != 11:
        return forms[0]
    return forms[1 if 2 <= number % 10 <= 4 and not 12 <= number % 100 <= 14 else 2]
