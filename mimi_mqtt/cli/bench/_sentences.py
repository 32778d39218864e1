"""Sentences of the bench of turn-taking, in two parts that share no sentence and no voice.

Rules and their numbers may be fitted to `TUNED`; `HELD_OUT` was written before the newest of them and only
judges. A bar is where the speaker hesitates; a slash, where the words before it could be all, so that no
rule that knows only words can be right every time. The words of languages written without spaces have some
here, for the times at which they are said.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

_BARS: Final = re.compile(r"[|/]")


@dataclass(frozen=True, slots=True)
class Material:
    """Sentences by language, the variants of the offline voice that say them, and what is said when the
    assistant `replies` in its `voice` and another speaker `interrupts`."""

    sentences: Mapping[str, Sequence[str]]
    variants: Sequence[str]
    voice: str
    replies: Sequence[str]
    interrupts: Sequence[str]


def fluent(material: Material) -> Material:
    """The same sentences, said without a pause."""
    said = {
        language: tuple(" ".join(_BARS.sub(" ", sentence).split()) for sentence in sentences)
        for language, sentences in material.sentences.items()
    }
    return replace(material, sentences=said)


UNSPACED: Final = frozenset({"zh", "ja"})
"""Languages written without spaces."""


TUNED: Final = Material(
    {
        "en": (
            "what is the | weather like tomorrow", "turn on the light in the | kitchen",
            "set a timer for | ten minutes", "could you tell me the | distance to the moon",
            "i would like to | hear some quiet music", "remind me to | call my mother this evening",
            "how do you say | good morning in japanese", "play the news and | then turn off the radio",
            "is there | anything in my calendar today", "what time is it", "stop the music",
            "who wrote the first computer program", "that is all for today",
            "read me the | latest news about | space",
            "why is the sky | blue", "add milk and | bread to my shopping list",
            "tell me a story / about a small dragon", "set an alarm for seven / and another one for eight",
        ),
        "de": (
            "wie wird das | wetter morgen", "mach das licht in der | küche an",
            "stell einen wecker auf | sieben uhr",
            "wie spät ist es", "erzähl mir eine geschichte / von einem drachen",
        ),
        "es": (
            "qué tiempo hará / mañana", "enciende la luz de la | cocina", "pon una alarma a las | siete",
            "qué hora es", "cuéntame un cuento / de dragones",
        ),
        "fr": (
            "quel temps fera-t-il / demain", "allume la lumière dans la | cuisine",
            "mets un réveil à | sept heures",
            "quelle heure est-il", "raconte-moi une histoire / de dragon",
        ),
        "ru": (
            "какая завтра будет | погода", "включи свет на | кухне", "поставь будильник на | семь часов",
            "который сейчас час", "расскажи мне сказку / про дракона",
        ),
        "vi": (
            "thời tiết ngày mai | thế nào", "bật đèn ở | trong bếp", "đặt báo thức lúc | bảy giờ",
            "bây giờ là mấy giờ",
            "kể cho tôi nghe một câu chuyện / về con rồng",
        ),
        "pt": (
            "como vai estar o | tempo amanhã", "acenda a luz da | cozinha", "que horas são",
            "conte uma história / de dragões",
        ),
    },
    ("m1", "m2", "m3", "m4", "m7", "f1", "f2", "f3", "f4", "f5"),
    "en+f2",
    (
        "The weather tomorrow will be mostly sunny, with a light wind from the west and about twenty degrees "
        "in the afternoon. In the evening there may be a little rain, so take an umbrella with you when you "
        "go out.",
        "Once upon a time there was a small dragon who was afraid of fire. Every evening the other dragons "
        "laughed, but one day a great storm came over the mountains, and only he knew the way home.",
    ),
    (
        "stop please", "wait a moment", "no i mean the day after tomorrow", "that is enough thank you",
        "what about the weekend", "turn it off",
    ),
)  # fmt: skip

HELD_OUT: Final = Material(
    {
        "en": (
            "when does the | next train to boston leave", "how many ounces are in | a pound",
            "put a reminder on friday for | the dentist", "close the blinds in the | living room",
            "what should i | cook for dinner tonight", "did the | package arrive",
            "play something by | the beatles", "make it a little | brighter in here",
            "order two | large pizzas with extra cheese", "turn the heating down to | nineteen degrees",
            "text my brother that | i will be late", "what's the capital of | australia",
            "cancel my alarm", "who won the game last night", "good night", "thank you very much",
            "what is um | the square root of eighty one", "open the garage / and switch on the lamp",
            "play some jazz / in the bedroom", "wake me up at six / on weekdays",
            "how far is it / to the nearest station",
        ),
        "de": (
            "kannst du mir | das rezept vorlesen", "schalte die heizung im | bad aus",
            "welcher tag ist | heute", "wie hoch ist der | eiffelturm", "danke das reicht",
            "wann fährt der nächste bus", "spiel ein lied / von den ärzten",
        ),
        "es": (
            "baja las persianas del | dormitorio", "cuántos días faltan para | navidad",
            "recuérdame que | compre leche", "quién ganó el partido", "gracias eso es todo",
            "pon música / para dormir",
        ),
        "fr": (
            "ferme les volets du | salon", "combien de jours avant | noël",
            "rappelle-moi de | sortir la poubelle", "qui a gagné le match", "merci c'est tout",
            "mets de la musique / pour dormir",
        ),
        "ru": (
            "закрой шторы в | спальне", "сколько дней до | нового года", "напомни мне | купить молоко",
            "кто выиграл вчера матч", "спасибо это всё", "включи музыку / для сна",
        ),
        "vi": (
            "đóng rèm trong | phòng ngủ", "còn bao nhiêu ngày nữa thì | đến tết", "nhắc tôi | mua sữa",
            "ai thắng trận đấu tối qua", "cảm ơn thế là đủ", "mở nhạc / cho em bé ngủ",
        ),
        "pt": (
            "feche as cortinas do | quarto", "quantos dias faltam para | o natal",
            "me lembre de | comprar leite", "quem ganhou o jogo ontem", "obrigado é só isso",
            "toque uma música / para dormir",
        ),
        "zh": (
            "明天 的 | 天气 怎么样", "把 | 客厅 的 灯 打开", "请 帮 我 | 定 一个 七点 的 闹钟", "现在 几点",
            "讲 一个 故事 / 关于 小 熊 的",
        ),
        "ko": (
            "내일 | 날씨 어때", "거실 불을 | 켜 줘", "지금 몇 시야", "일곱 시에 | 알람 맞춰 줘",
            "이야기 해 줘 / 작은 곰에 대한",
        ),
    },
    ("m5", "m6", "m8", "Andy", "Annie", "linda", "steph", "klatt4", "adam", "belinda"),
    "en+steph3",
    (
        "Here are three things you could cook: a soup of lentils and carrots, noodles with mushrooms, or "
        "baked potatoes with herbs. The soup takes half an hour, the noodles a quarter of one, and the "
        "potatoes need the oven for about fifty minutes.",
        "The next train leaves at ten past four from platform nine and arrives in Boston at half past six. "
        "There is another one an hour later, which is slower but has a restaurant car and is rarely full.",
    ),
    (
        "hang on", "no not that one", "can you say that again", "okay okay i know", "skip to the end",
        "how much does it cost",
    ),
)  # fmt: skip
