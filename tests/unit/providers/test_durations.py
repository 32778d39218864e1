"""Durations as they are said in ten languages."""

import pytest

from mimi_mqtt.providers.durations import plural, spoken_duration


@pytest.mark.parametrize(
    ("language", "seconds", "words"),
    [
        ("en", 3_725, "1 hour 2 minutes 5 seconds"),
        ("en", 0, "0 seconds"),
        ("de", 5_400, "1 Stunde und 30 Minuten"),
        ("de-AT", 61, "1 Minute und 1 Sekunde"),
        ("es", 7_201, "2 horas y 1 segundo"),
        ("fr", 90, "1 minute et 30 secondes"),
        ("pt-BR", 3_660, "1 hora e 1 minuto"),
        ("ru", 3_660, "1 час 1 минута"),
        ("ru", 2 * 3_600 + 22 * 60, "2 часа 22 минуты"),
        ("ru", 5 * 3_600 + 12 * 60 + 15, "5 часов 12 минут 15 секунд"),
        ("vi", 5_400, "1 giờ 30 phút"),
        ("ja", 5_430, "1時間30分30秒"),
        ("zh-TW", 5_430, "1小时30分钟30秒"),
        ("zh", 7_322, "两小时两分钟两秒"),
        ("ko", 5_400, "한 시간 30분"),
        ("ko", 24 * 3_600, "스물네 시간"),
        ("ko", 20 * 3_600 + 122, "스무 시간 2분 2초"),
        ("it", 60, "1 minute"),
    ],
)
def test_durations_are_said_in_the_language(language: str, seconds: int, words: str) -> None:
    assert spoken_duration(seconds, language) == words


@pytest.mark.parametrize(
    ("number", "form"),
    [(1, "час"), (2, "часа"), (5, "часов"), (11, "часов"), (12, "часов"), (21, "час"), (23, "часа")],
)
def test_russian_nouns_have_three_forms(number: int, form: str) -> None:
    assert plural(number, ("час", "часа", "часов")) == form
