"""Numbers in words of Vietnamese, Chinese, Japanese and Korean, written in another way than they are read."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.offline.assistant.languages import pack, pack_for
from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import unmarked
from mimi_mqtt.providers.vendors.offline.assistant.languages.numerals import CHINESE, HAN, HANGUL

NUMBERS = st.one_of(st.integers(1, 999), st.integers(1, 10**8 - 1))
VIETNAMESE = ("không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín")


def placed(number: int, digits: str, units: str, myriad: str, one: bool, zero: str) -> str:
    """`number` below a hundred million; `one`: 一百 and not 百, `zero` fills the places that are left out."""
    if number >= 10_000:
        high, low = divmod(number, 10_000)
        filled = zero if low and low < 1_000 else ""
        return (
            placed(high, digits, units, myriad, one, zero)
            + myriad
            + filled
            + placed(low, digits, units, myriad, one, zero)
        )
    written = ""
    skipped = False
    for place in (3, 2, 1, 0):
        digit = number // 10**place % 10
        if not digit:
            skipped = bool(written)
            continue
        written += zero if skipped else ""
        skipped = False
        said = digits[digit] if digit > 1 or one or not place else ""
        written += said + (units[3 - place] if place else "")
    return written


def vietnamese(number: int) -> str:
    """`number` below a thousand."""
    hundreds, tens, ones = number // 100, number // 10 % 10, number % 10
    words = [VIETNAMESE[hundreds], "trăm"] if hundreds else []
    if tens == 1:
        words.append("mười")
    elif tens:
        words += [VIETNAMESE[tens], "mươi"]
    elif hundreds and ones:
        words.append("lẻ")
    last = VIETNAMESE[ones]
    if tens and ones == 5:
        last = "lăm"
    elif tens > 1 and ones in (1, 4):
        last = "mốt" if ones == 1 else "tư"
    return " ".join([*words, *([last] if ones else [])])


@given(NUMBERS)
def test_chinese_numbers_are_read(number: int) -> None:
    written = placed(number, "零一二三四五六七八九", "千百十", "万", one=True, zero="零")
    assert CHINESE.replaced(written) == HAN.replaced(written) == str(number)


@given(NUMBERS)
def test_japanese_numbers_are_read(number: int) -> None:
    written = placed(number, "〇一二三四五六七八九", "千百十", "万", one=False, zero="")
    assert HAN.replaced(written) == str(number)
    assert pack("ja").read().digits(written) == str(number)


@given(NUMBERS)
def test_korean_numbers_are_read_before_what_is_done_with_them(number: int) -> None:
    written = placed(number, "영일이삼사오육칠팔구", "천백십", "만", one=False, zero="")
    assert HANGUL.replaced(f"{written} 더하기") == f"{number} 더하기"
    apart = written.replace("만", "만 ").strip()
    assert HANGUL.replaced(f"{apart} 더하기") == f"{number} 더하기"


@given(st.integers(1, 999), st.integers(0, 999))
def test_vietnamese_numbers_are_read(thousands: int, rest: int) -> None:
    read = pack("vi").read()
    assert read.digits(vietnamese(thousands)) == str(thousands)
    words = [vietnamese(thousands), "nghìn"]
    if rest:
        words += ["không trăm"] if rest < 100 else []
        words += ["lẻ"] if rest < 10 else []
        words.append(vietnamese(rest))
    assert read.digits(" ".join(words)) == str(thousands * 1_000 + rest)


@given(st.integers(1, 999))
def test_vietnamese_numbers_are_read_without_their_marks(number: int) -> None:
    written = f"hen gio {unmarked(vietnamese(number))} phut"
    found = pack_for("vi", written)
    assert found.seconds(found.plain(written)) == number * 60


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("一百二", 120),
        ("两千五", 2_500),
        ("三万五", 35_000),
        ("二百五", 250),
        ("一百零二", 102),
        ("十二", 12),
        ("3万5千", 35_000),
        ("一亿", 100_000_000),
    ],
)
def test_the_last_unit_of_a_chinese_number_may_be_left_out(written: str, value: int) -> None:
    assert CHINESE.replaced(written) == str(value)


def test_of_a_japanese_number_no_unit_is_left_out() -> None:
    assert HAN.replaced("百二") == "102"


@pytest.mark.parametrize("text", ["만두 먹고 싶어", "이사를 가고 싶어", "천천히 걸어가", "오이를 좋아해요"])
def test_syllables_of_korean_words_are_no_numbers(text: str) -> None:
    assert HANGUL.replaced(text) == text


@pytest.mark.parametrize(
    ("language", "text", "plain"),
    [
        ("ja", "７：３０", "7:30"),
        ("zh", "（２＋３）×４", "( 2 + 3 ) * 4"),
        ("ko", "５²", "5 ^ 2"),
        ("vi", "1½ giờ", "1.5 giờ"),
        ("vi", "¾ giờ", "0.75 giờ"),
        ("vi", unicodedata.normalize("NFD", "mười phút"), "10 phút"),
        ("ko", unicodedata.normalize("NFD", "오 분"), "5 분"),
    ],
)
def test_characters_are_read_however_they_are_encoded(language: str, text: str, plain: str) -> None:
    assert pack(language).plain(text) == plain
