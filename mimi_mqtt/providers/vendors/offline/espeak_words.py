"""Times, temperatures, percentages and sums of money in words, as espeak-ng reads few of them right. Pure.

For the ten languages that are tested: en, vi, ru, ja, zh, ko, es, fr, de, pt. Numbers themselves are read by
the library, except where a language counts in two ways or joins number and counter.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mimi_mqtt.providers.languages import primary

_NUMBER: Final = r"\d{1,15}(?:[.,\u00a0\u202f]\d{3})*(?:[.,]\d{1,6})?"
_CURRENCIES: Final = r"US\$|R\$|[$€£¥￥₽₩₫]"

_TIME: Final = re.compile(
    r"(?<![\d:.,])([01]?\d|2[0-4]):([0-5]\d)(?![\d:])(?:\s*(?:Uhr\b|giờ\b|heures?\b|horas?\b|h\b))?"
)
_HOURS: Final = re.compile(r"(?<![\w:.,])([01]?\d|2[0-4])h([0-5]\d)?\b")
_DEGREES: Final = re.compile(
    rf"(?<![A-Za-z0-9.,])([-−–]?)\s?({_NUMBER})\s?(?:°\s?([CFcf])?(?![A-Za-z])|([℃℉]))"
)
_PERCENT: Final = re.compile(rf"(?<![A-Za-z0-9.,])([-−]?)({_NUMBER})\s?[%％]")
_MONEY: Final = re.compile(
    rf"(?<![A-Za-z0-9.,])([-−]?)(?:({_CURRENCIES})\s?({_NUMBER})|({_NUMBER})\s?({_CURRENCIES}))(?![A-Za-z0-9])"
)
_MINUS: Final = re.compile(r"(?<![\w.,)\]])[-−](?=\d)")
_WHOLE: Final = re.compile(r"\d{1,2}|\d*\d{3}|\d{1,3}(?:[.\u00a0\u202f]\d{3})+")
_CENTS: Final = re.compile(r"(\d{1,12}(?:[.,\u00a0\u202f]\d{3})*)[.,](\d\d)")


def _one_or_many(number: str, one: str, many: str) -> str:
    return one if number in ("1", "一") else many


def _russian(number: str, one: str, few: str, many: str) -> str:
    """The form of a noun after a number; after a fraction it is the genitive of one, which is `few`."""
    if not _WHOLE.fullmatch(number):
        return few
    last_two = int(number[-2:])
    if 11 <= last_two <= 14:
        return many
    return {1: one, 2: few, 3: few, 4: few}.get(last_two % 10, many)


Noun = Callable[[str], str]
"""A noun as it follows a number."""


def _noun(one: str, many: str | None = None) -> Noun:
    return lambda number: _one_or_many(number, one, many or one)


def _noun_ru(forms: str) -> Noun:
    one, few, many = forms.split()
    return lambda number: _russian(number, one, few, many)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language. `time` takes the hour and the minute; nouns follow their number.

    `before`: what precedes a temperature or a percentage, where the unit comes first. `spaced`: words are.
    `cents`: whether two decimals of a sum are said after the currency.
    """

    time: Callable[[int, int], str]
    minus: str
    percent: Noun
    degrees: Noun
    celsius: str
    fahrenheit: str
    money: Mapping[str, Noun]
    fahrenheit_before: str = ""
    percent_before: str = ""
    cents: bool = True
    spaced: bool = True
    more: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = field(default=())


def _money(**nouns: Noun) -> Mapping[str, Noun]:
    signs = {"usd": ("$", "US$"), "eur": ("€",), "gbp": ("£",), "jpy": ("¥", "￥"), "rub": ("₽",),
             "krw": ("₩",), "vnd": ("₫",), "brl": ("R$",)}  # fmt: skip
    return {sign: noun for code, noun in nouns.items() for sign in signs[code]}


def _time_en(hour: int, minute: int) -> str:
    if minute == 0:
        return f"{hour} o'clock"
    return f"{hour} oh {minute}" if minute < 10 else f"{hour} {minute}"


def _time_ru(hour: int, minute: int) -> str:
    hours = f"{hour} {_russian(str(hour), 'час', 'часа', 'часов')}"
    minutes = {1: "одна минута", 2: "две минуты", 21: "двадцать одна минута", 22: "двадцать две минуты",
               31: "тридцать одна минута", 32: "тридцать две минуты", 41: "сорок одна минута",
               42: "сорок две минуты", 51: "пятьдесят одна минута", 52: "пятьдесят две минуты"}  # fmt: skip
    said = minutes.get(minute, f"{minute} {_russian(str(minute), 'минута', 'минуты', 'минут')}")
    return f"{hours} {said}" if minute else hours


def _year_zh(match: re.Match[str]) -> str:
    return "".join("零一二三四五六七八九"[int(digit)] for digit in match[0])


def _time_zh(hour: int, minute: int) -> str:
    hours = "两点" if hour == 2 else f"{hour}点"
    if minute == 0:
        return hours
    return f"{hours}零{minute}分" if minute < 10 else f"{hours}{minute}分"


_KO_ONES: Final = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_KO_TENS: Final = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")


def native_korean(number: int) -> str:
    """A number from 1 to 99 as things are counted."""
    if number == 20:
        return "스무"
    return _KO_TENS[number // 10] + _KO_ONES[number % 10]


def _counted_ko(match: re.Match[str]) -> str:
    number = int(match[1])
    return f"{native_korean(number)} {match[2]}" if 1 <= number <= 99 else match[0]


def _hour_ko(match: re.Match[str]) -> str:
    hour = int(match[1])
    return f"{native_korean(hour)} 시" if 1 <= hour <= 12 else f"{hour} 시"


def _time_ko(hour: int, minute: int) -> str:
    hours = f"{native_korean(hour)} 시" if 1 <= hour <= 12 else f"{hour} 시"
    return f"{hours} {minute} 분" if minute else hours


_KO_COUNTERS: Final = "개|명|마리|살|잔|병|권|대|시간|달|가지|번째|송이|그루|벌|켤레|곡"

_DE_ONES: Final = (
    *("nullte", "erste", "zweite", "dritte", "vierte", "fünfte", "sechste", "siebte", "achte", "neunte"),
    *("zehnte", "elfte", "zwölfte", "dreizehnte", "vierzehnte", "fünfzehnte", "sechzehnte", "siebzehnte"),
    *("achtzehnte", "neunzehnte"),
)
_DE_ORDINALS: Final = (
    *_DE_ONES,
    "zwanzigste",
    *(f"{unit}undzwanzigste" for unit in
      ("ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")),
    "dreißigste",
    "einunddreißigste",
)  # fmt: skip
_DE_MONTHS: Final = (
    "Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
)
_DE_DATE: Final = re.compile(
    rf"(?:\b(am|vom|zum|beim|bis|ab|seit|den|dem|im|des)\s+)?\b(0?[1-9]|[12]\d|3[01])\.\s?(?={_DE_MONTHS})",
    re.IGNORECASE,
)


_DE_TIME: Final = re.compile(r"(?<![\d.,])([01]?\d|2[0-4])\.([0-5]\d)\s*Uhr\b")


def _time_de(match: re.Match[str]) -> str:
    return f"{int(match[1])} Uhr {int(match[2]) or ''}".strip()


def _date_de(match: re.Match[str]) -> str:
    word, preposition = _DE_ORDINALS[int(match[2])], match[1]
    return f"{preposition} {word}n " if preposition else f"{word} "


def _plain(unit: str) -> Callable[[int, int], str]:
    """Hour, unit, minute; without minutes the unit ends it."""
    return lambda hour, minute: f"{hour} {unit} {minute}" if minute else f"{hour} {unit}"


_WORDS: Final[Mapping[str, Words]] = {
    "en": Words(
        _time_en, "minus", _noun("percent"), _noun("degree", "degrees"), "Celsius", "Fahrenheit",
        _money(
            usd=_noun("dollar", "dollars"), eur=_noun("euro", "euros"), gbp=_noun("pound", "pounds"),
            jpy=_noun("yen"), rub=_noun("rouble", "roubles"), krw=_noun("won"), vnd=_noun("dong"),
            brl=_noun("real", "reais"),
        ),
    ),
    "de": Words(
        _plain("Uhr"), "minus", _noun("Prozent"), _noun("Grad"), "Celsius", "Fahrenheit",
        _money(
            usd=_noun("Dollar"), eur=_noun("Euro"), gbp=_noun("Pfund"), jpy=_noun("Yen"), rub=_noun("Rubel"),
            krw=_noun("Won"), vnd=_noun("Dong"), brl=_noun("Real"),
        ),
        more=((_DE_TIME, _time_de), (_DE_DATE, _date_de)),
    ),
    "es": Words(
        lambda hour, minute: f"{hour} y {minute}" if minute else f"{hour} en punto",
        "menos", _noun("por ciento"), _noun("grado", "grados"), "Celsius", "Fahrenheit",
        _money(
            usd=_noun("dólar", "dólares"), eur=_noun("euro", "euros"), gbp=_noun("libra", "libras"),
            jpy=_noun("yen", "yenes"), rub=_noun("rublo", "rublos"), krw=_noun("won"), vnd=_noun("dong"),
            brl=_noun("real", "reales"),
        ),
    ),
    "fr": Words(
        lambda hour, minute: f"{hour} heure{'s' * (hour > 1)} {minute or ''}".strip(),
        "moins", _noun("pour cent"), _noun("degré", "degrés"), "Celsius", "Fahrenheit",
        _money(
            usd=_noun("dollar", "dollars"), eur=_noun("euro", "euros"), gbp=_noun("livre", "livres"),
            jpy=_noun("yen", "yens"), rub=_noun("rouble", "roubles"), krw=_noun("won", "wons"),
            vnd=_noun("dong"), brl=_noun("réal"),
        ),
    ),
    "pt": Words(
        lambda hour, minute: f"{hour} e {minute}" if minute else f"{hour} hora{'s' * (hour > 1)}",
        "menos", _noun("por cento"), _noun("grau", "graus"), "Celsius", "Fahrenheit",
        _money(
            usd=_noun("dólar", "dólares"), eur=_noun("euro", "euros"), gbp=_noun("libra", "libras"),
            jpy=_noun("iene", "ienes"), rub=_noun("rublo", "rublos"), krw=_noun("won"), vnd=_noun("dong"),
            brl=_noun("real", "reais"),
        ),
    ),
    "vi": Words(
        lambda hour, minute: f"{hour} giờ {minute} phút" if minute else f"{hour} giờ",
        "âm", _noun("phần trăm"), _noun("độ"), "xê", "ép",
        _money(
            usd=_noun("đô la"), eur=_noun("ơ rô"), gbp=_noun("bảng Anh"), jpy=_noun("yên"), rub=_noun("rúp"),
            krw=_noun("uôn"), vnd=_noun("đồng"), brl=_noun("rê an"),
        ),
        cents=False,
    ),
    "ru": Words(
        _time_ru, "минус", _noun_ru("процент процента процентов"), _noun_ru("градус градуса градусов"),
        "Цельсия", "Фаренгейта",
        _money(
            usd=_noun_ru("доллар доллара долларов"), eur=_noun("евро"), gbp=_noun_ru("фунт фунта фунтов"),
            jpy=_noun_ru("иена иены иен"), rub=_noun_ru("рубль рубля рублей"), krw=_noun_ru("вона воны вон"),
            vnd=_noun_ru("донг донга донгов"), brl=_noun_ru("реал реала реалов"),
        ),
        cents=False,
    ),
    "ja": Words(
        lambda hour, minute: f"{hour}時{minute}分" if minute else f"{hour}時",
        "マイナス", _noun("パーセント"), _noun("度"), "", "",
        _money(
            usd=_noun("ドル"), eur=_noun("ユーロ"), gbp=_noun("ポンド"), jpy=_noun("円"),
            rub=_noun("ルーブル"), krw=_noun("ウォン"), vnd=_noun("ドン"), brl=_noun("レアル"),
        ),
        fahrenheit_before="華氏", cents=False, spaced=False,
    ),
    "zh": Words(
        _time_zh, "负", _noun(""), _noun("度"), "", "",
        _money(
            usd=_noun("美元"), eur=_noun("欧元"), gbp=_noun("英镑"), jpy=_noun("元"), rub=_noun("卢布"),
            krw=_noun("韩元"), vnd=_noun("越南盾"), brl=_noun("雷亚尔"),
        ),
        fahrenheit_before="华氏", percent_before="百分之", cents=False, spaced=False,
        more=(
            (re.compile(r"(?<!\d)[12]\d{3}(?=年)"), _year_zh),
            (re.compile(r"(?<![\d.])2(?=[个個点點只隻位次天年本杯张張])"), lambda _: "两"),
        ),
    ),
    "ko": Words(
        _time_ko, "마이너스", _noun("퍼센트"), _noun("도"), "", "",
        _money(
            usd=_noun("달러"), eur=_noun("유로"), gbp=_noun("파운드"), jpy=_noun("엔"), rub=_noun("루블"),
            krw=_noun("원"), vnd=_noun("동"), brl=_noun("헤알"),
        ),
        fahrenheit_before="화씨", cents=False,
        more=(
            (re.compile(r"(?<![\d.,])(\d{1,2})\s?시(?!간)"), _hour_ko),
            (re.compile(rf"(?<![\d.,])(\d{{1,2}})\s?({_KO_COUNTERS})"), _counted_ko),
        ),
    ),
}  # fmt: skip


def in_words(text: str, language: str) -> str:
    """`text` with its times, temperatures, percentages and sums of money written out; unchanged for other
    languages than those above."""
    words = _WORDS.get(primary(language))
    if words is None:
        return text
    gap = " " if words.spaced else ""

    def signed(sign: str, number: str) -> str:
        return f"{words.minus}{gap}{number}" if sign else number

    def time(match: re.Match[str]) -> str:
        return words.time(int(match[1]), int(match[2] or 0))

    def degrees(match: re.Match[str]) -> str:
        scale = {"℃": "C", "℉": "F"}.get(match[4], (match[3] or "").upper())
        after = {"C": words.celsius, "F": words.fahrenheit}.get(scale, "")
        before = words.fahrenheit_before if scale == "F" else ""
        said = f"{signed(match[1], match[2])}{gap}{words.degrees(match[2])}"
        return f"{before}{gap if before else ''}{said}{gap if after else ''}{after}"

    def percent(match: re.Match[str]) -> str:
        if words.percent_before:
            return f"{words.minus if match[1] else ''}{words.percent_before}{match[2]}"
        return f"{signed(match[1], match[2])}{gap}{words.percent(match[2])}"

    def money(match: re.Match[str]) -> str:
        sign, number = match[2] or match[5], match[3] or match[4]
        cents = _CENTS.fullmatch(number) if words.cents else None
        whole = cents[1] if cents else number
        said = f"{signed(match[1], whole)}{gap}{words.money[sign](whole)}"
        return f"{said} {cents[2]}" if cents and cents[2] != "00" else said

    text = _TIME.sub(time, text)
    if primary(language) in ("fr", "pt", "vi"):
        text = _HOURS.sub(time, text)
    text = _PERCENT.sub(percent, _DEGREES.sub(degrees, text))
    text = _MONEY.sub(money, text)
    for pattern, change in words.more:
        text = pattern.sub(change, text)
    return _MINUS.sub(f"{words.minus}{gap}", text)
