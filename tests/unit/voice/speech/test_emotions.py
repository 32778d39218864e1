"""Emoji and faces."""

import pytest

from mimi_mqtt.voice.speech.emotions import emoji_for, emotion_of, leading_emotion, without_emoji
from mimi_mqtt.wire.messages import EMOTIONS


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_emotion_of_the_device_has_an_emoji_that_leads_back_to_it(emotion: str) -> None:
    assert leading_emotion(emoji_for(emotion)) == (emotion, emoji_for(emotion))


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("", None),
        ("  \n", None),
        ("😊 Hello", "happy"),
        (" 😭", "crying"),
        ("Hello 😊", "neutral"),
        ("🚲 A bicycle", "neutral"),
        ("❤️ yes", "loving"),
    ],
)
def test_a_reply_begins_with_a_mood(text: str, mood: str | None) -> None:
    begins = leading_emotion(text)
    assert (begins[0] if begins else None) == mood


def test_the_first_mood_in_a_sentence_counts() -> None:
    assert emotion_of("A bicycle 🚲 is fun 😂 and fast 😎.") == ("funny", "😂")
    assert emotion_of("No mood.") is None


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Hi 😀!", "Hi !"),
        ("👩‍👩‍👧 family", " family"),
        ("👍🏽 ok", " ok"),
        ("🇩🇪 flag", " flag"),
        ("❤️", ""),
        ("key 1️⃣", "key 1"),
        ("4 > 3, 20 °C, 5 € and 你好。", "4 > 3, 20 °C, 5 € and 你好。"),
    ],
)
def test_emoji_leave_the_speech_whole(text: str, bare: str) -> None:
    assert without_emoji(text) == bare
