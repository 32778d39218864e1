"""Words that recognisers write for sounds are no speech."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.contract.non_speech import words_only


@pytest.mark.parametrize(
    "text",
    [
        *("[BLANK_AUDIO]", "[Music]", "(wind blowing)", "*sighs*", "♪♪", "♪", "(silence)", "[ Silence ]"),
        *("【音楽】", "（拍手）", "...", "…", ".", " - ", "", "[Music] ♪ (applause)"),
    ],
)
def test_a_sound_that_is_described_is_no_speech(text: str) -> None:
    assert words_only(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        *("Thanks for watching!", "Thank you for watching.", "Thanks for watching! Thanks for watching!"),
        *(
            "ご視聴ありがとうございました",
            "ご視聴ありがとうございました。",
            "Продолжение следует...",
            "谢谢观看",
        ),
        *("Subtitles by the Amara.org community", "Untertitel im Auftrag des ZDF für funk, 2020"),
        "ご視聴ありがとうございました ご視聴ありがとうございました",
        *("시청해주셔서 감사합니다!", "[Music] Thanks for watching!", "Sous-titrage Société Radio-Canada"),
        "Hãy subscribe cho kênh Ghiền Mì Gõ Để không bỏ lỡ những video hấp dẫn",
    ],
)
def test_the_end_of_a_film_is_no_speech(text: str) -> None:
    assert words_only(text) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Music] Turn on the light.", "Turn on the light."),
        ("Turn on (coughs) the light.", "Turn on the light."),
        ("♪ Happy birthday ♪", "Happy birthday"),
    ],
)
def test_words_beside_it_are_kept(text: str, said: str) -> None:
    assert words_only(text) == said


@pytest.mark.parametrize(
    "text",
    [
        *("Thank you.", "Call (555) 123 4567.", "What is 5 * 3 * 2?", "mấy giờ rồi", "今何時ですか？", "C#"),
        "Translate to Japanese. Thank you for watching.",
        *("Thanks for watching the dog.", "What does продолжение следует mean?", "Спасибо.", "ありがとう"),
        *("It is 3.5 ... or so!?", "Wait… what?! No."),
        *("7:30", "a [b", "2 * 3", f"({'word ' * 40})"),
    ],
)
def test_what_was_said_is_left_as_it_is(text: str) -> None:
    assert words_only(text) == text


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    said = words_only(text)
    assert said == "" or any(character.isalnum() for character in said)
