"""Phrases in the speaker's language: apologies when something fails, fillers and greetings."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from mimi_mqtt.config import AgentSettings
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.voice.speech.sentences import spoken_pieces

Phrase = Literal["failed", "moment"]
"""Phrases that are made beforehand, to be spoken while no provider is."""


@dataclass(frozen=True, slots=True)
class Apologies:
    """`status` heads an alert; the others are whole sentences, to show and to speak."""

    status: str
    failed: str
    """A provider failed."""
    no_answer: str
    """The model had nothing to say."""
    moment: str
    """The answer takes longer."""

    def text(self, phrase: Phrase) -> str:
        """The sentence called `phrase`."""
        return self.failed if phrase == "failed" else self.moment


_ENGLISH: Final = Apologies(
    "Error",
    "Sorry, something went wrong. Please try again.",
    "Sorry, I have no answer to that.",
    "One moment, please.",
)

_BY_LANGUAGE: Final = {
    "en": _ENGLISH,
    "de": Apologies(
        "Fehler",
        "Entschuldigung, da ist etwas schiefgegangen. Bitte versuche es noch einmal.",
        "Entschuldigung, darauf habe ich keine Antwort.",
        "Einen Moment, bitte.",
    ),
    "es": Apologies(
        "Error",
        "Lo siento, algo ha salido mal. Inténtalo de nuevo, por favor.",
        "Lo siento, no tengo respuesta para eso.",
        "Un momento, por favor.",
    ),
    "fr": Apologies(
        "Erreur",
        "Désolé, quelque chose s'est mal passé. Réessaie, s'il te plaît.",
        "Désolé, je n'ai pas de réponse à cela.",
        "Un instant, s'il te plaît.",
    ),
    "it": Apologies(
        "Errore",
        "Mi dispiace, qualcosa è andato storto. Riprova, per favore.",
        "Mi dispiace, non ho una risposta.",
        "Un momento, per favore.",
    ),
    "pt": Apologies(
        "Erro",
        "Desculpe, algo deu errado. Tente de novo, por favor.",
        "Desculpe, não tenho resposta para isso.",
        "Um momento, por favor.",
    ),
    "ru": Apologies(
        "Ошибка",
        "Извините, что-то пошло не так. Попробуйте ещё раз.",
        "Извините, у меня нет ответа на это.",
        "Одну минуту, пожалуйста.",
    ),
    "vi": Apologies(
        "Lỗi",
        "Xin lỗi, đã có lỗi xảy ra. Vui lòng thử lại.",
        "Xin lỗi, tôi chưa có câu trả lời.",
        "Xin chờ một chút.",
    ),
    "zh": Apologies("错误", "抱歉，出了点问题，请再试一次。", "抱歉，这个我回答不了。", "请稍等一下。"),
    "ja": Apologies(
        "エラー",
        "すみません、問題が発生しました。もう一度お試しください。",
        "すみません、お答えできません。",
        "少々お待ちください。",
    ),
    "ko": Apologies(
        "오류",
        "죄송합니다. 문제가 생겼어요. 다시 시도해 주세요.",
        "죄송합니다. 답을 드릴 수 없어요.",
        "잠시만 기다려 주세요.",
    ),
}


def apologies(language: str) -> Apologies:
    """For a tag such as `vi` or `zh-CN`; English for a language not known here."""
    return _BY_LANGUAGE[language_of(language)]


def language_of(language: str) -> str:
    """The language of the apologies for a tag, such as `zh` for `zh_CN`."""
    known = primary(language)
    return known if known in _BY_LANGUAGE else "en"


_DEFAULT_GREETING: Final = AgentSettings().greeting

_GREETINGS: Final = {
    "de": "Hallo! Wie kann ich dir helfen?",
    "es": "¡Hola! ¿En qué puedo ayudarte?",
    "fr": "Bonjour ! Que puis-je faire pour toi ?",
    "it": "Ciao! Come posso aiutarti?",
    "pt": "Olá! Como posso ajudar?",
    "ru": "Здравствуйте! Чем я могу помочь?",
    "vi": "Xin chào! Tôi có thể giúp gì cho bạn?",
    "zh": "你好！我能帮你做什么？",
    "ja": "こんにちは！何をしましょうか？",
    "ko": "안녕하세요! 무엇을 도와드릴까요?",
}


def greeting(agent: AgentSettings, language: str) -> str:
    """The agent's own greeting; the default one in `language`, as far as it is known here."""
    if agent.greeting.strip() != _DEFAULT_GREETING:
        return agent.greeting
    return _GREETINGS.get(primary(language), _DEFAULT_GREETING)


def greetings(agents: Iterable[AgentSettings]) -> tuple[str, ...]:
    """All greetings that these agents may say, to tell them from answers."""
    own = {agent.greeting for agent in agents}
    return (*own, *(_GREETINGS.values() if _DEFAULT_GREETING in own else ()))


def fixed_phrases(agents: Iterable[AgentSettings]) -> frozenset[str]:
    """Greetings, apologies and fillers for the speech cache: whole, and in the pieces that a reply speaks."""
    whole = [*greetings(agents)]
    for known in _BY_LANGUAGE.values():
        whole += (known.failed, known.no_answer, known.moment)
    return frozenset((*whole, *(piece for text in whole for piece in spoken_pieces(text))))
