"""An agent that lives in another service, with its own prompt and its own tools, over plain HTTP."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from pydantic import SecretStr

from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.http.service import HttpService
from mimi_mqtt.providers.runtime.lru import Lru
from mimi_mqtt.providers.runtime.resilience import Limits

_MOST_CONVERSATIONS: Final = 10_000


class HostedAgentOptions(ProviderOptions):
    """The options that all such agents have; a vendor gives them their documentation and defaults."""

    api_key: SecretStr | None = None
    base_url: str


class HostedAgent(LanguageModel):
    """A model that acts by itself: a request may have side effects. It can't continue another's answer."""

    has_side_effects = True
    can_continue = False

    cures: ClassVar[Mapping[int, str]]
    """The cure for an HTTP status; `{where}` stands for the section of the provider's options."""

    def __init__(self, name: str, options: HostedAgentOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        where = f"providers.options.{name}"
        cures = {status: cure.format(where=where) for status, cure in self.cures.items()}
        self._http = HttpService(name, limits, options.base_url, options.api_key, cures)
        self._conversations = Lru[str](_MOST_CONVERSATIONS)

    async def start(self) -> None:
        """Makes the client. Raises ProviderNotConfigured."""
        demand(self.name, self.options)
        await self._http.get()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    def _conversation(self, messages: Sequence[ChatMessage], options: ChatOptions) -> str | None:
        """The id of the device's conversation in the service; None for a dialogue without an earlier turn."""
        earlier = any(message.role in ("user", "assistant") for message in messages[:-1])
        return self._conversations.get(options.device_id) if earlier and options.device_id else None

    def _keep_conversation(self, options: ChatOptions, conversation_id: str) -> None:
        """Remembers the id that the service gave the device's conversation, if both have one."""
        if options.device_id and conversation_id:
            self._conversations.keep(options.device_id, conversation_id)
