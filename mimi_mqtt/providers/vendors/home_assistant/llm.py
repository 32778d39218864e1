"""The conversation agent of Home Assistant, by its REST API and a long-lived access token.

Home Assistant takes one sentence at a time and answers in one piece. It has its own tools (the house), its
own prompt, and its own memory: each device keeps the conversation id that it was given, and begins a new one
with a dialogue that has no earlier turn.

Protocol: https://developers.home-assistant.io/docs/intent_conversation_api.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar, Final

from pydantic import Field, SecretStr

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolSpec
from mimi_mqtt.providers.http.hosted_agent import HostedAgent, HostedAgentOptions
from mimi_mqtt.providers.http.service import child, text_at
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.providers.runtime.resilience import Limits

_DONE: Final[Mapping[str, str]] = {
    "en": "Done.",
    "de": "Erledigt.",
    "es": "Hecho.",
    "fr": "C'est fait.",
    "it": "Fatto.",
    "pt": "Feito.",
    "ru": "Готово.",
    "vi": "Xong rồi.",
    "zh": "好了。",
    "ja": "完了しました。",
    "ko": "완료했어요.",
}
"""The confirmation where Home Assistant did something and says nothing, by language."""


class HomeAssistantOptions(HostedAgentOptions):
    """Options of `providers.options.home_assistant`."""

    environment: ClassVar[Mapping[str, str | tuple[str, ...]]] = {
        "api_key": "HOME_ASSISTANT_TOKEN",
        "base_url": "HOME_ASSISTANT_URL",
    }
    required: ClassVar[tuple[str, ...]] = ("api_key",)

    api_key: SecretStr | None = None
    """A long-lived access token, from the user's profile page. Empty: the variable HOME_ASSISTANT_TOKEN."""

    base_url: str = Field("http://homeassistant.local:8123", pattern=r"^https?://[^/]")
    """Address of Home Assistant."""

    agent_id: str | None = None
    """The conversation agent, such as conversation.home_assistant. Empty: Home Assistant's default."""

    llm_language: str | None = None
    """Language that the agent is asked in. Empty: the device's; "*" leaves it to Home Assistant."""


class HomeAssistant(HostedAgent):
    """`POST /api/conversation/process`."""

    Options = HomeAssistantOptions

    cures: ClassVar[Mapping[int, str]] = {
        401: "set HOME_ASSISTANT_TOKEN or {where}.api_key",
        404: "see base_url in {where}; is `conversation` part of the configuration there?",
    }

    def __init__(self, name: str, options: HomeAssistantOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        demand(self.name, self._options)
        language = self._options.llm_language or options.language
        body = {
            "text": messages[-1].content if messages else "",
            "language": None if language == "*" else language,
            "conversation_id": self._conversation(messages, options),
            "agent_id": self._options.agent_id,
        }
        given = {key: value for key, value in body.items() if value is not None}
        async with self._http.post("/api/conversation/process", given) as response:
            answer = await self._http.json(response)
        self._keep_conversation(options, text_at(answer, "conversation_id"))
        # Also what it did not understand or could not do (response_type `error`) is said in words.
        speech = text_at(answer, "response", "speech", "plain", "speech")
        if speech or text_at(answer, "response", "response_type") != "action_done":
            yield TextDelta(speech)
        elif child(answer, "response", "data", "failed"):
            raise ProviderBadAnswer(self.name, "could not do all of it, and has nothing to say")
        else:  # of a sentence that was given no response
            yield _confirmation(options.language)


def _confirmation(language: str) -> TextDelta:
    spoken = primary(language)
    return TextDelta(_DONE[spoken]) if spoken in _DONE else TextDelta(_DONE["en"], language="en")
