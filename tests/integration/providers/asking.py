"""Language models built for a fake vendor the way the server builds them, and questions to them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel

QUESTION = (ChatMessage("system", "Be brief."), ChatMessage("user", "hello"))
JPEG = b"\xff\xd8\xff\xe0 a picture"


@asynccontextmanager
async def model(
    name: str, options: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> AsyncIterator[LanguageModel]:
    """The language model `name`, started."""
    settings = ProviderSettings(llm=(name,), retries=0, options={name: dict(options)})
    built = registry.build("llm", settings, environ or {})
    await built.start()
    try:
        yield built
    finally:
        await built.aclose()


async def events(
    llm: LanguageModel,
    messages: Sequence[ChatMessage] = QUESTION,
    tools: Sequence[ToolSpec] = (),
    *,
    device_id: str = "",
    language: str = "en",
) -> list[LlmEvent]:
    """All of one answer."""
    options = ChatOptions(language=language, device_id=device_id)
    return [event async for event in llm.chat(messages, tools, options)]


async def text(llm: LanguageModel, messages: Sequence[ChatMessage] = QUESTION, **options: Any) -> str:
    """The words of one answer."""
    found = await events(llm, messages, **options)
    return "".join(event.text for event in found if isinstance(event, TextDelta))
