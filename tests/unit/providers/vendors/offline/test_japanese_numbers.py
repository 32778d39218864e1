"""Japanese numbers and counters, as they sound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.offline.japanese_numbers import number_in_kana, numbers_in_kana


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "ゼロ"),
        (10, "ジュウ"),
        (21, "ニジュウイチ"),
        (300, "サンビャク"),
        (666, "ロッピャクロクジュウロク"),
        (8_800, "ハッセンハッピャク"),
        (10_000, "イチマン"),
        (1_000_000_000_000, "イッチョウ"),
        (1_234_567, "ヒャクニジュウサンマンヨンセンゴヒャクロクジュウナナ"),
    ],
)
def test_numbers(number: int, said: str) -> None:
    assert number_in_kana(number) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4時9分", "ヨジキュウフン"),
        ("7時30分", "シチジサンジュップン"),
        ("9月1日", "クガツツイタチ"),
        ("20日", "ハツカ"),
        ("21日", "ニジュウイチニチ"),
        ("1人2人4人", "ヒトリフタリヨニン"),
        ("20歳", "ハタチ"),
        ("18歳", "ジュウハッサイ"),
        ("1本3本6本10本", "イッポンサンボンロッポンジュッポン"),
        ("100個", "ヒャッコ"),
        ("100歳", "ヒャクサイ"),
        ("1000個", "センコ"),
        ("8回", "ハッカイ"),
        ("3時間", "サンジカン"),
        ("1,980円", "センキュウヒャクハチジュウエン"),
        ("5万円", "ゴマンエン"),
        ("1.5キロ", "イチテンゴキロ"),
        ("1.2億", "イチテンニオク"),
        ("二〇二六年", "ニセンニジュウロクネン"),
        ("三百円", "サンビャクエン"),
        ("一番", "一番"),
        ("日本一", "日本一"),
        ("十分", "十分"),
        ("一日", "一日"),
        ("99999999999999999999", "99999999999999999999"),
    ],
)
def test_numbers_in_a_text(text: str, said: str) -> None:
    assert numbers_in_kana(text) == said


@given(st.integers(0, 10**16 - 1))
def test_every_number_has_a_sound(number: int) -> None:
    said = number_in_kana(number)
    assert said
    assert all("ァ" <= character <= "ー" for character in said)


@given(st.text(alphabet="0123456789.,一二三十百千万億〇時分日本人円個あ", max_size=30))
def test_any_text_can_be_read(text: str) -> None:
    numbers_in_kana(text)
