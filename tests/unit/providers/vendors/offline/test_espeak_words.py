"""Times, temperatures, percentages and sums of money in words, in ten languages."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.offline.espeak_words import in_words, native_korean

LANGUAGES = ("en", "vi", "ru", "ja", "zh", "ko", "es", "fr", "de", "pt")


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "14 30"), ("vi", "14 giờ 30 phút"), ("ru", "14 часов 30 минут"), ("ja", "14時30分"),
        ("zh", "14点30分"), ("ko", "14 시 30 분"), ("es", "14 y 30"), ("fr", "14 heures 30"),
        ("de", "14 Uhr 30"), ("pt-BR", "14 e 30"),
    ],
)  # fmt: skip
def test_times(language: str, said: str) -> None:
    assert in_words("14:30", language) == said


@pytest.mark.parametrize(
    ("language", "time", "said"),
    [
        ("en", "2:05", "2 oh 5"), ("en", "10:00", "10 o'clock"), ("zh", "2:05", "两点零5分"),
        ("ko", "3:00", "세 시"), ("ru", "1:01", "1 час одна минута"),
        ("ru", "22:52", "22 часа пятьдесят две минуты"), ("fr", "1:00", "1 heure"),
        ("fr", "14h30", "14 heures 30"), ("pt", "14h", "14 horas"), ("de", "14:30 Uhr", "14 Uhr 30"),
        ("es", "10:00", "10 en punto"), ("ja", "9:00", "9時"),
    ],
)  # fmt: skip
def test_times_of_day_have_their_forms(language: str, time: str, said: str) -> None:
    assert in_words(time, language) == said


@pytest.mark.parametrize(
    ("language", "cold", "percent", "price"),
    [
        ("en", "minus 5 degrees Celsius", "50 percent", "3 dollars 50"),
        ("vi", "âm 5 độ xê", "50 phần trăm", "3.50 đô la"),
        ("ru", "минус 5 градусов Цельсия", "50 процентов", "3.50 доллара"),
        ("ja", "マイナス5度", "50パーセント", "3.50ドル"),
        ("zh", "负5度", "百分之50", "3.50美元"),
        ("ko", "마이너스 5 도", "50 퍼센트", "3.50 달러"),
        ("es", "menos 5 grados Celsius", "50 por ciento", "3 dólares 50"),
        ("fr", "moins 5 degrés Celsius", "50 pour cent", "3 dollars 50"),
        ("de", "minus 5 Grad Celsius", "50 Prozent", "3 Dollar 50"),
        ("pt", "menos 5 graus Celsius", "50 por cento", "3 dólares 50"),
    ],
)
def test_temperatures_percentages_and_prices(language: str, cold: str, percent: str, price: str) -> None:
    assert in_words("-5°C", language) == cold
    assert in_words("50%", language) == in_words("50 %", language) == percent
    assert in_words("$3.50", language) == price


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("1 €", "en", "1 euro"),
        ("R$ 100", "pt", "100 reais"),
        ("100.000 ₫", "vi", "100.000 đồng"),
        ("¥100", "zh", "100元"),
        ("¥100", "ja", "100円"),
        ("22 ₽", "ru", "22 рубля"),
        ("11 ₽", "ru", "11 рублей"),
        ("1 %", "ru", "1 процент"),
        ("72°F", "ko", "화씨 72 도"),
        ("今天23°C。", "zh", "今天23度。"),
        ("21 ℃", "en", "21 degrees Celsius"),
        ("90°", "en", "90 degrees"),
        ("am 1. Mai", "de", "am ersten Mai"),
        ("der 21. November", "de", "der einundzwanzigste November"),
        ("2个", "zh", "两个"),
        ("12个", "zh", "12个"),
        ("사과 3개, 20살, 2시간", "ko", "사과 세 개, 스무 살, 두 시간"),
        ("15시", "ko", "15 시"),
        ("it is -7", "en", "it is minus 7"),
        ("lúc 14h30", "vi", "lúc 14 giờ 30 phút"),
        ("um 14.30 Uhr", "de", "um 14 Uhr 30"),
        ("um 8.00 Uhr", "de", "um 8 Uhr"),
        ("2026年", "zh", "二零二六年"),
    ],
)
def test_what_each_language_says_in_its_own_way(text: str, language: str, said: str) -> None:
    assert in_words(text, language) == said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("text", ["10:30:15", "2-3", "3.5.2026", "1:2:3", "A4", "ratio 25:99", "x%", "$"])
def test_what_is_something_else_stays(language: str, text: str) -> None:
    assert in_words(text, language) == text


def test_other_languages_are_left_to_the_library() -> None:
    assert in_words("14:30, -5°C", "sv") == "14:30, -5°C"


@given(st.text(alphabet="0123456789:.,-%°C$€ h月Uhr点", max_size=40), st.sampled_from(LANGUAGES))
def test_no_number_is_lost_but_in_words(text: str, language: str) -> None:
    said = in_words(text, language)
    assert said.strip() or not text.strip()
    assert len(re.findall(r"\d", said)) <= len(re.findall(r"\d", text))


@pytest.mark.parametrize(
    ("number", "said"), [(1, "한"), (11, "열한"), (20, "스무"), (21, "스물한"), (99, "아흔아홉")]
)
def test_korean_counts_in_its_own_numbers(number: int, said: str) -> None:
    assert native_korean(number) == said
