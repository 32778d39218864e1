"""Emotions: emoji in a reply become the face of the device and leave speech and text. Pure."""

import re
from typing import Final

NEUTRAL: Final = "neutral"

_EMOJI_BY_EMOTION: Final = {
    "neutral": "😶😐😑🫥🙂",
    "happy": "😊😀😃😄☺🙋👍🎉",
    "laughing": "😆😅",
    "funny": "😂🤣",
    "sad": "😔😞😟🙁☹😥",
    "angry": "😠😡😤🤬",
    "crying": "😭😢",
    "loving": "😍🥰❤💕💖",
    "embarrassed": "😳🫣",
    "surprised": "😯😮😲",
    "shocked": "😱🤯😨",
    "thinking": "🤔🧐🤓",
    "winking": "😉",
    "cool": "😎",
    "relaxed": "😌🧘",
    "delicious": "🤤😋",
    "kissy": "😘😗😚😙",
    "confident": "😏💪",
    "sleepy": "😴😪🥱",
    "silly": "😜😝😛🤪",
    "confused": "🙄😕🫤🤷",
}
"""The first emoji of each is the one shown with the emotion."""

_EMOTION_BY_EMOJI: Final = {
    emoji: emotion for emotion, emojis in _EMOJI_BY_EMOTION.items() for emoji in emojis
}

# One pictograph with its variation selectors, skin tones, joined further ones; flags; a keycap's frame (but
# not its digit, which is worth saying).
_PICTOGRAPH: Final = (
    "[\U0001f300-\U0001f5ff\U0001f600-\U0001f64f\U0001f680-\U0001f6ff\U0001f7e0-\U0001f7eb\U0001f900-\U0001f9ff"
    "\U0001fa70-\U0001faff\u2600-\u27bf\u231a\u231b\u23e9-\u23f3\u2b50\u2b55\u2b1b\u2b1c\u2934\u2935\u3030\u303d]"
)
_SUFFIX: Final = "[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\u20e3]*"
EMOJI: Final = re.compile(
    f"(?:[\U0001f1e6-\U0001f1ff]{{2}}|{_PICTOGRAPH}{_SUFFIX}(?:\u200d{_PICTOGRAPH}{_SUFFIX})*"
    "|[\ufe0e\ufe0f\u20e3\u200d])"
)
"""Matches one emoji, however many code points it takes."""

_MOOD: Final = re.compile(rf"(?P<before>[ \t]*)(?P<emoji>{EMOJI.pattern})(?P<after>[ \t]*)")
_CLOSING: Final = ".,!?…:;)"


def emoji_for(emotion: str) -> str:
    """The emoji shown with one of `wire.messages.EMOTIONS`."""
    return _EMOJI_BY_EMOTION[emotion][0]


def emotion_of(text: str) -> tuple[str, str] | None:
    """The (emotion, emoji) of the first emoji in `text` that shows a mood; None when there is none."""
    for match in EMOJI.finditer(text):
        emoji = match[0][0]
        if emoji in _EMOTION_BY_EMOJI:
            return _EMOTION_BY_EMOJI[emoji], emoji
    return None


def leading_emotion(text: str) -> tuple[str, str] | None:
    """The mood a reply begins with, as soon as `text`, its beginning, tells: None while it is blank.

    A reply that begins with anything else than a mood's emoji begins neutral.
    """
    start = text.lstrip()
    if not start:
        return None
    emotion = _EMOTION_BY_EMOJI.get(start[0], NEUTRAL)
    return emotion, start[0] if start[0] in _EMOTION_BY_EMOJI else emoji_for(emotion)


def without_moods(text: str) -> str:
    """`text` without the emoji that show a mood, and without the gaps they leave; others stay."""
    return _MOOD.sub(_gap, text).strip()


def _gap(match: re.Match[str]) -> str:
    if match["emoji"][0] not in _EMOTION_BY_EMOJI:
        return match[0]
    follower = match.string[match.end() : match.end() + 1]
    return " " if (match["before"] or match["after"]) and follower not in _CLOSING else ""


def without_emoji(text: str) -> str:
    """`text` without its emoji."""
    return EMOJI.sub("", text)
