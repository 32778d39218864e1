"""Completeness of an utterance, judged by its last words, in ten languages. Pure.

Recognisers often give interim text without punctuation, so the last words decide. A rule is a few words after
no speaker stops (articles, conjunctions, prepositions), words with which questions begin, endings that make
a sentence a question, and the few phrases that people say to an assistant and nothing after them. A text that
no rule knows is neither finished nor unfinished.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mimi_mqtt.providers.languages import primary


class Clause(Enum):
    """Completeness of an utterance, by its words."""

    UNFINISHED = "unfinished"
    """Further words must follow."""
    OPEN = "open"
    """The words tell nothing."""
    COMPLETE = "complete"
    """The utterance could be over."""
    QUESTION = "question"
    """A whole question."""
    FINAL = "final"
    """A phrase of its own, after which nothing comes: stop, thank you, what time is it."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """Rules of one language.

    `dangling`: words that no utterance ends with. `asking`: words that begin a question. `alone`: whole
    utterances. `least`: words that a complete utterance has at least. In languages written without spaces
    (not `spaced`) they are endings, beginnings and characters.
    """

    dangling: frozenset[str]
    asking: frozenset[str]
    alone: frozenset[str]
    asks_at_end: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()
    least: int = 3
    spaced: bool = True


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(" ".join(phrase.split()) for phrase in text.split(","))


_RULES: Final = {
    "en": _Rules(
        _words("""
                a an the and or but so because if when while although that which who whose than as of to
                in at by for from with without about into between my your his her its our their this
                these those is are was were am be been will would can could should may might must shall
                does did have has had not very really um uh er hmm like just some any every each another
                more i we he she there's it's i'm let's what's where's who's how's tell want need gonna
                wanna called named until after before during near per plus minus times say
            """),
        _words("""
                what what's who who's whose when when's where where's why how how's which is are was
                were do does did can could will would should have has may shall isn't aren't don't
            """),
        _phrases("""
                yes please, no thanks, no thank you, okay, stop, stop it, please stop, cancel, never
                mind, thanks, thank you, thank you very much, good night, goodbye, that's all, that is all,
                what time is it, what's the time, what day is it, who are you, how are you
            """),
    ),
    "vi": _Rules(
        _words("""
                và hoặc hay nhưng vì nếu khi thì mà là của cho với ở trong trên từ đến tại những các một
                cái con rất đang sẽ đã sắp muốn cần phải hãy giúp bằng theo để do bởi ừm à ờ lúc vào
            """),
        _words("ai tại vì sao bao làm mấy có"),
        _phrases("""
                dừng lại, thôi, cảm ơn, tạm biệt, chúc ngủ ngon, mấy giờ rồi, bây giờ là mấy giờ
            """),
        _words("không gì đâu nào sao chưa à hả nhỉ ai mấy nhiêu thế vậy giờ"),
    ),
    "ru": _Rules(
        _words("""
                и или но а что чтобы если когда потому который которая которые как в во на с со к ко по
                из от до для без у о об про под над перед между через не мой моя мое твой ваш этот эта
                эти очень ну ээ эм хочу надо нужно можешь я мы ты вы самый
            """),
        _words("""
                что кто где когда почему зачем как какой какая какое какие сколько куда откуда чей можно
                можешь
            """),
        _phrases("""
                стоп, хватит, отмена, спасибо, большое спасибо, спокойной ночи, пока, это всё,
                который час, который сейчас час, сколько времени, кто ты, как дела
            """),
        _words("ли"),
    ),
    "es": _Rules(
        _words("""
                y o u pero porque si cuando que el la los las un una unos unas de del a al en con sin
                por para sobre entre hasta desde mi tu su nuestro este esta esos muy son quiero puedes
                necesito eh pues como más me te se
            """),
        _words("""
                qué quién dónde cuándo cuánto cuánta cuántos cuántas cómo cuál por puedes es está hay
                tienes sabes
            """),
        _phrases("""
                para ya, basta, cancela, gracias, muchas gracias, buenas noches, adiós, eso es todo,
                qué hora es, quién eres, cómo estás
            """),
    ),
    "fr": _Rules(
        _words("""
                et ou mais parce car si quand que qui le la les un une des du de d à au aux en dans avec
                sans pour sur sous entre chez vers mon ma mes ton ta tes son sa ses ce cette ces très
                est sont je tu il veux peux euh plus ne me te se
            """),
        _words("quel quelle quels quelles qui où quand pourquoi comment combien est-ce que quoi peux-tu"),
        _phrases("""
                stop, arrête, annule, merci, merci beaucoup, bonne nuit, au revoir, c'est tout,
                quelle heure est-il, il est quelle heure, qui es-tu, ça va
            """),
    ),
    "de": _Rules(
        _words("""
                und oder aber weil wenn dass ob als der die das den dem des eine einen einem einer in im
                am bei mit nach seit von vom zum zur für durch ohne gegen unter zwischen mein meine
                meinen dein deine sein ihre sehr ist sind ich du wir möchte will kannst äh ähm mir noch
                auf sage
            """),
        _words("""
                was wer wie wo wann warum weshalb wieso wieviel welche welcher welches wohin woher ist
                kannst gibt hast können haben sind wird
            """),
        _phrases("""
                ja bitte, nein danke, stopp, halt, abbrechen, danke, danke schön, vielen dank, gute
                nacht, tschüss, das ist alles, das reicht, wie spät ist es, wer bist du, wie geht's
            """),
    ),
    "pt": _Rules(
        _words("""
                e ou mas porque se quando que o a os as um uma uns umas de do da dos das em no na nos
                nas com sem por para sobre entre até meu minha seu sua este esta esse muito quero pode
                preciso eh então como me te eu
            """),
        _words("qual quais quem onde quando quanto quantos como por o que pode é está tem você"),
        _phrases("""
                pare, chega, cancele, obrigado, obrigada, muito obrigado, boa noite, tchau, é só
                isso, que horas são, quem é você, tudo bem
            """),
    ),
    "zh": _Rules(
        _words("""
                的 和 跟 与 或 或者 但 但是 因为 如果 把 被 在 到 给 想要 我要 我想 请 帮我 一个 这个
                那个 这 那 很 就 还 然后 嗯 呃 关于
            """),
        _words("什么 谁 哪 怎么 为什么 几 多少 能不能 可不可以 是不是"),
        _phrases("""
                好的, 不用, 不要, 停, 停止, 取消, 谢谢, 晚安, 再见, 现在几点,
                几点了, 现在几点了, 你是谁, 你好
            """),
        _words("吗 呢 吧 什么 谁 哪里 哪儿 怎么样 多少 几点 几度 怎么办 没有 不"),
        _words("了 吧 啊 好 谢谢"),
        least=4,
        spaced=False,
    ),
    "ja": _Rules(
        _words("""
                は が を に で と の へ や も から ので けど けれど が、 たら なら ば て して えっと
                あの その まで
            """),
        _words("なぜ どうして"),
        _phrases("""
                止めて, ストップ, キャンセル, ありがとう, ありがとうございます, おやすみ, おやすみなさい,
                今何時, 今何時ですか, さようなら
            """),
        _words("か かな ですか ますか の？ 何 いつ どこ 誰"),
        _words("です ます ました ません ください して下さい 教えて つけて 消して だ よ ね"),
        least=4,
        spaced=False,
    ),
    "ko": _Rules(
        _words("""
                은 는 이 가 을 를 에 에서 으로 로 와 과 랑 하고 의 그리고 그런데 하지만 그래서 만약
                고 면 서 까지
            """)
        | {" 음", " 어"},  # words of their own: as endings they are the past tense of half the verbs
        _words("뭐 누가 언제 어디 왜 어떻게 몇 얼마"),
        _phrases("""
                그만, 멈춰, 취소, 고마워, 고맙습니다, 감사합니다, 잘자, 지금몇시야, 몇시야, 안녕
            """),
        _words("까 니 나요 까요 어때 뭐야 언제야 어디야 얼마야"),
        _words("요 다 줘 해 세요 주세요"),
        least=4,
        spaced=False,
    ),
}

_WORD: Final = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_OPEN_MARKS: Final = (
    *(",", "，", "、", ";", "；", ":", "：", "…", "...", "-", "–", "—"),
    *("+", "×", "÷", "*", "="),  # Whisper writes sums in signs
)
_QUESTION_MARKS: Final = ("?", "？")
_END_MARKS: Final = (".", "!", "。", "！")


_JOINING: Final = {
    "en": _words("a an the and or but because if my your his our their that i in of say um uh er hmm"),
    "vi": _words("và hoặc nhưng vì nếu các những"),
    "ru": _words("и или но а если чтобы"),
    "es": _words("y o u pero porque el la los las un una mi tu su"),
    "fr": _words("et ou mais parce le la les un une des mon ma mes"),
    "de": _words("und oder aber weil ein eine einen der die das mein meine"),
    "pt": _words("e ou mas porque o a os as um uma meu minha"),
    "zh": _words("和 跟 与 或 或者 但 但是 因为 如果 把 被 给 想要 请 帮我 然后 嗯 呃 关于"),
    "ja": _words("が ので けど けれど たら なら ば て して や えっと あの その"),
    "ko": _words("와 과 랑 하고 의 그리고 그런데 하지만 그래서 만약") | {" 음", " 어"},
}
"""Words that join or determine, or such endings: none of them ends a question, whatever the mark after it.

In English also those with which Whisper ends half a question as if it were whole: of "What is the" it makes
"What is that?", after "How many ounces are in" it puts a question mark. See `bench turns --recogniser`.
"""


def clause(text: str, language: str) -> Clause:
    """The completeness of `text`, in a language such as `en` or `zh-CN`."""
    said = text.strip().lower().replace("’", "'")
    if not said:
        return Clause.OPEN
    if said.endswith(_OPEN_MARKS):
        return Clause.UNFINISHED
    rules = _RULES.get(primary(language))
    words = _WORD.findall(said)
    if rules is None or not words:
        return _by_mark(said)
    if (" " if rules.spaced else "").join(words) in rules.alone:
        return Clause.FINAL
    joining = _JOINING.get(primary(language), frozenset())
    return _spaced(said, words, rules, joining) if rules.spaced else _unspaced(said, rules, joining)


def _by_mark(said: str) -> Clause:
    if said.endswith(_QUESTION_MARKS):
        return Clause.QUESTION
    return Clause.COMPLETE if said.endswith(_END_MARKS) else Clause.OPEN


def _spaced(said: str, words: list[str], rules: _Rules, joining: frozenset[str]) -> Clause:
    # A recogniser that punctuates puts a full stop wherever it must stop: the word before it knows better.
    if words[-1] in rules.asks_at_end and len(words) >= rules.least:
        return Clause.QUESTION
    asked = said.endswith(_QUESTION_MARKS)
    # "Where are you from?" is whole, and a recogniser hears by the voice that it was asked.
    if words[-1] in rules.dangling and (not asked or words[-1] in joining or len(words) < rules.least):
        return Clause.UNFINISHED
    if asked:
        return Clause.QUESTION
    if words[0] in rules.asking:
        return Clause.QUESTION if len(words) >= rules.least else Clause.OPEN
    if len(words) >= rules.least or said.endswith(_END_MARKS):
        return Clause.COMPLETE
    return Clause.OPEN


def _unspaced(said: str, rules: _Rules, joining: frozenset[str]) -> Clause:
    bare = said.rstrip("".join(_QUESTION_MARKS + _END_MARKS) + " ")
    long_enough = len(bare) >= rules.least
    if long_enough and bare.endswith(tuple(rules.asks_at_end)):
        return Clause.QUESTION
    if long_enough and bare.endswith(tuple(rules.ends)):
        return Clause.COMPLETE
    asked = said.endswith(_QUESTION_MARKS)
    # "名前は？" is whole, though the particle is followed by more where nothing is asked.
    if bare.endswith(tuple(joining if asked else rules.dangling)):
        return Clause.UNFINISHED
    if asked:
        return Clause.QUESTION
    if long_enough and bare.startswith(tuple(rules.asking)):
        return Clause.QUESTION
    return _by_mark(said)
