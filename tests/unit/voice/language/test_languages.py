"""The language of a text: what decides, and what leaves a conversation as it is. Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.voice.language.languages import (
    SWITCH_CONFIDENCE,
    Standing,
    by_script,
    by_word,
    by_words,
    main_script,
    of_sentence,
    voice_for,
)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("what time is it", "latin"),
        ("今日はいい天気ですね", "kana"),
        ("今天天气很好", "han"),
        ("불 켜줘", "hangul"),
        ("Сколько времени", "cyrillic"),
        ("播放 Taylor Swift 的歌", None),
        ("播放 Queen 的歌", "han"),
        ("YouTubeで音楽をかけて", "kana"),
        ("Adele の Hello", "latin"),
        ("привет hello", None),
        ("12:30 !", None),
        ("", None),
    ],
)
def test_a_text_has_a_script_when_most_of_it_is_written_so(text: str, script: str | None) -> None:
    assert main_script(text) == script


@pytest.mark.parametrize(
    ("text", "told", "current", "home", "language"),
    [
        ("はい", None, "en", "en", "ja"),
        ("네", None, "en", "en", "ko"),
        ("Да", None, "de", "de", "ru"),
        ("東京", None, "ja-JP", "ja-JP", "ja-JP"),
        ("東京", None, "en", "ja", "ja"),
        ("天气", None, "en", "en", "zh"),
        ("天氣", None, "zh-TW", "zh-TW", "zh-TW"),
        ("天氣", None, "en", "zh-TW", "zh-TW"),
        ("天氣", "yue", "en", "en", "yue"),
        ("大丈夫", "ja", "zh", "zh", "ja"),
        ("天气", "ja", "zh", "zh", "ja"),
        ("Привіт", None, "en", "en", "uk"),
        ("Привет", None, "uk", "en", "uk"),
        ("Добър ден", "bg", "en", "en", "bg"),
        ("Привет", "en", "en", "en", "ru"),
        ("bật đèn lên", None, "zh-CN", "zh-CN", "vi"),
        ("mở nhạc", "en", "en", "en", "vi"),
        ("sicher", None, "en", "en", None),
        ("42", "ja", "en", "en", None),
        ("播放 Taylor Swift 的歌", "zh", "en", "en", "zh"),
        ("播放 Taylor Swift 的歌", "de", "en", "en", None),
        ("播放 Taylor Swift 的歌", None, "en", "en", None),
    ],
)
def test_a_script_decides_where_it_can(
    text: str, told: str | None, current: str, home: str, language: str | None
) -> None:
    assert by_script(text, told, Standing(current, home)) == language


@pytest.mark.parametrize(
    ("text", "told", "current", "home", "language"),
    [
        ("guten Morgen", "de", "en", "en", "de"),
        ("bom dia a todos", "pt", "en", "pt-BR", "pt-BR"),
        ("hello there", "en", "en-GB", "de", "en-GB"),
        ("ok", "cy", "en", "en", "en"),
        ("Hola", "es", "en", "en", "en"),
        ("konnichiwa minna", "ja", "en", "en", "en"),
    ],
)
def test_a_recogniser_is_believed_when_there_is_enough_to_hear(
    text: str, told: str, current: str, home: str, language: str
) -> None:
    assert by_word(text, told, Standing(current, home)) == language


def test_words_change_the_language_only_when_they_are_sure() -> None:
    standing = Standing("en", "de-AT")
    assert by_words({"en": 1 - SWITCH_CONFIDENCE, "de": SWITCH_CONFIDENCE}, standing) == "de-AT"
    assert by_words({"en": 0.35, "de": SWITCH_CONFIDENCE - 0.05}, standing) == "en"
    assert by_words({}, standing) == "en"


def test_a_language_that_the_detector_does_not_know_is_not_left() -> None:
    assert by_words({"en": 0.9}, Standing("haw", "haw")) == "haw"


@pytest.mark.parametrize(
    ("sentence", "language", "spoken"),
    [
        ("おはようございます。", "en", "ja"),
        ("Good morning!", "en", "en"),
        ("Доброе утро!", "de", "ru"),
        ("早上好！", "vi", "zh"),
        ("東京です。", "ja", "ja"),
        ("東京", "ja-JP", "ja-JP"),
        ("좋은 아침이에요.", "zh-CN", "ko"),
        ("Das heißt 早上好 auf Chinesisch.", "de", "de"),
        ("Chào buổi sáng!", "zh", "vi"),
        ("Chào buổi sáng!", "en", "en"),
        ("That is English speech.", "ja", "en"),
        ("OK!", "ja", "ja"),
        ("iPhone", "ru", "ru"),
        ("42", "ja", "ja"),
    ],
)
def test_a_sentence_in_another_script_is_spoken_in_its_own_language(
    sentence: str, language: str, spoken: str
) -> None:
    assert of_sentence(sentence, language) == spoken


@pytest.mark.parametrize(
    ("voice", "language", "kept"),
    [
        (None, "de", False),
        ("alloy", "de", True),
        ("Kore", "vi", True),
        ("af_heart", "de", True),
        ("vi-VN-HoaiMyNeural", "vi", True),
        ("vi-VN-HoaiMyNeural", "de", False),
        ("zh-CN-XiaoxiaoNeural", "zh-TW", True),
        ("en-US-AvaMultilingualNeural", "de", True),
        ("en_US-lessac-medium", "fr", False),
        ("en+f3", "de", False),
        ("en+f3", "en-GB", True),
    ],
)
def test_a_voice_of_one_language_does_not_speak_another(voice: str | None, language: str, kept: bool) -> None:
    assert (voice_for(voice, language) is not None) == kept


@given(st.text(max_size=40), st.sampled_from(["en", "ja", "zh-TW", "ru", "vi", None]))
def test_any_text_leaves_a_language_to_speak(text: str, told: str | None) -> None:
    standing = Standing("en", "pt-BR")
    assert by_script(text, told, standing) != ""
    assert of_sentence(text, "en")
