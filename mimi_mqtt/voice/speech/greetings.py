"""What is said at the wake word, in the language of the conversation. Pure."""

from collections.abc import Iterable
from typing import Final

from mimi_mqtt.config import AgentSettings
from mimi_mqtt.providers.languages import primary

_DEFAULT: Final = AgentSettings().greeting

_BY_LANGUAGE: Final = {
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
    if agent.greeting.strip() != _DEFAULT:
        return agent.greeting
    return _BY_LANGUAGE.get(primary(language), _DEFAULT)


def greetings(agents: Iterable[AgentSettings]) -> tuple[str, ...]:
    """All that may be said by these agents, for the speech cache and to tell greetings from answers."""
    own = {agent.greeting for agent in agents}
    return (*own, *(_BY_LANGUAGE.values() if _DEFAULT in own else ()))
