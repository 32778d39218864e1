"""One connection of OpenAI's Realtime API: the messages to it, and the events that come from it.

https://platform.openai.com/docs/api-reference/realtime-client-events and …/realtime-server-events
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.chat import ChatMessage
from mimi_mqtt.providers.runtime.realtime.provider import DuplexEvent, Opening, SpeechDuplex
from mimi_mqtt.providers.vendors.openai.realtime_items import items, tools
from mimi_mqtt.providers.vendors.openai.realtime_reply import Said, Speaking
from mimi_mqtt.providers.vendors.openai.realtime_uplink import UplinkItems, UplinkUtterance
from mimi_mqtt.providers.vendors.openai.realtime_wire import Wire

if TYPE_CHECKING:
    from openai.types.realtime import (
        RealtimeErrorEvent,
        RealtimeResponseCreateParamsParam,
        RealtimeServerEvent,
    )

logger = logging.getLogger(__name__)

_RECITE: Final = (
    "Say the following text aloud, exactly as it is written and in its own language. Say nothing else, and "
    "do not answer it:\n\n"
)


class OpenAiDuplex(SpeechDuplex):
    """See `SpeechDuplex`. An event's id is its purpose and its utterance or answer."""

    def __init__(self, name: str, wire: Wire) -> None:
        self._name = name
        self._wire = wire
        self._uplink = UplinkItems(name, wire.error)
        self._speaking = Speaking(name, wire.error)
        self._idle = asyncio.Event()  # the service refuses a response while there is another
        self._idle.set()

    # ── what is sent ─────────────────────────────────────────────────────────────────────────────────────

    async def send_audio(self, utterance: str, pcm: Pcm) -> None:
        """input_audio_buffer.append"""
        self._uplink.add(utterance, pcm.size)
        await self._wire.send_audio(pcm.astype("<i2").tobytes())

    async def send_end(self, utterance: str) -> None:
        """input_audio_buffer.commit, or clear where the service has made items by itself."""
        heard = self._uplink.utterance(utterance)
        if heard is None:
            raise ProviderBadAnswer(self._name, "an utterance without audio")
        self._uplink.end(heard)
        if self._uplink.all_made(heard):
            await self._clear(heard)
            return
        if heard.lacking:
            await self._wire.send_audio(bytes(2 * heard.lacking))
        self._uplink.commit(heard)
        await self._wire.send({"type": "input_audio_buffer.commit", "event_id": f"commit {utterance}"})

    async def send_discard(self, utterance: str) -> bool:
        """input_audio_buffer.clear and conversation.item.delete, also of what is only on its way."""
        heard = self._uplink.utterance(utterance)
        if heard is None:
            return True
        heard.discarded = True
        if not heard.ended:
            self._uplink.end(heard)
            await self._clear(heard)
        for item in heard.texts:
            await self._delete(item)
        return True

    async def _clear(self, heard: UplinkUtterance) -> None:
        self._uplink.clear(heard)
        await self._wire.send({"type": "input_audio_buffer.clear", "event_id": f"clear {heard.name}"})

    async def _delete(self, item: str) -> None:
        await self._wire.send(
            {"type": "conversation.item.delete", "event_id": f"delete {item}", "item_id": item}
        )

    async def send_messages(self, messages: Sequence[ChatMessage]) -> None:
        """conversation.item.create"""
        for message in messages:
            for item in items(message):
                await self._wire.send(
                    {"type": "conversation.item.create", "event_id": "messages", "item": item}
                )

    async def send_request(self, answer: str) -> None:
        """response.create"""
        await self._request(Said(answer, remembered=True), {})

    async def send_recital(self, answer: str, text: str) -> None:
        """response.create outside of the conversation, whose words would be questions to the model."""
        recital: RealtimeResponseCreateParamsParam = {
            "conversation": "none",
            "input": [],
            "instructions": _RECITE + text,
            "tools": [],
            "tool_choice": "none",
        }
        await self._request(Said(answer, remembered=False), recital)

    async def _request(self, said: Said, response: "RealtimeResponseCreateParamsParam") -> None:
        await self._idle.wait()
        self._idle.clear()
        self._speaking.request(said)
        named: RealtimeResponseCreateParamsParam = {**response, "metadata": {"answer": said.name}}
        await self._wire.send(
            {"type": "response.create", "event_id": f"request {said.name}", "response": named}
        )

    async def send_cancel(self, answer: str) -> None:
        """response.cancel, once there is a response: before that it would be of no effect."""
        said = self._speaking.answer(answer)
        if said is None or said.cancelled or said.over:
            return
        said.cancelled = True
        if said.response:
            await self._cancel(said.response)

    async def _cancel(self, response: str) -> None:
        await self._wire.send(
            {"type": "response.cancel", "event_id": f"cancel {response}", "response_id": response}
        )

    async def send_truncate(self, answer: str, heard_ms: int) -> bool:
        """conversation.item.truncate of what was heard in part, conversation.item.delete of what was not."""
        said = self._speaking.answer(answer)
        if said is None or not said.remembered:
            return True
        said.unheard = heard_ms <= 0
        left = float(heard_ms)
        for item, spoken in said.spoken_ms.items():
            if left <= 0:
                await self._delete(item)
            elif spoken > left or (said.cancelled and spoken >= left):
                # There may be more of a cancelled one than what has come.
                await self._truncate(item, int(left))
            left -= spoken
        return True

    async def _truncate(self, item: str, end_ms: int) -> None:
        await self._wire.send(
            {
                "type": "conversation.item.truncate",
                "event_id": f"truncate {item}",
                "item_id": item,
                "content_index": 0,
                "audio_end_ms": end_ms,
            }
        )

    async def send_changes(self, opening: Opening) -> bool:
        """session.update"""
        await self._wire.send(
            {
                "type": "session.update",
                "event_id": "setup",
                "session": {
                    "type": "realtime",
                    "instructions": opening.prompt,
                    "tools": tools(opening.tools),
                },
            }
        )
        return True

    async def aclose(self) -> None:
        """Hangs up."""
        await self._wire.aclose()

    # ── what comes ───────────────────────────────────────────────────────────────────────────────────────

    async def receive(self) -> AsyncGenerator[DuplexEvent, None]:
        """The service's events as session events; others, and those of unknown answers, are dropped."""
        async for event in self._wire.receive():
            try:
                found = [*self._uplink.take(event), *self._speaking.take(event), *self._blame(event)]
                await self._follow(event)
            except (ValueError, AttributeError, TypeError, LookupError) as error:
                # The SDK doesn't validate: a field that is missing or of another type shows up on use.
                raise ProviderBadAnswer(self._name, f"a {event.type} of an unknown shape") from error
            for one in found:
                yield one

    async def _follow(self, event: "RealtimeServerEvent") -> None:
        """Handles `event`; the events for the session."""
        if event.type == "input_audio_buffer.committed":
            if self._uplink.unwanted(event.item_id):
                await self._delete(event.item_id)
        elif event.type == "response.created":
            if event.response.id and self._speaking.unwanted(event.response.id):
                await self._cancel(event.response.id)
        elif event.type == "response.output_item.added":
            if self._speaking.unheard(event.response_id) and event.item.type == "message" and event.item.id:
                await self._delete(event.item.id)
        elif event.type == "response.done" and not self._speaking.stray(event.response.id):
            self._idle.set()

    def _blame(self, event: "RealtimeServerEvent") -> Iterator[DuplexEvent]:
        """An error: of one request, of nothing that matters, or of the connection, which is raised."""
        if event.type != "error":
            return
        what, name = _cause(event)
        error = self._wire.error(event.error.type, event.error.code, event.error.message)
        if what == "commit":
            yield from self._uplink.refused()
        elif what == "request":
            self._idle.set()
            yield from self._speaking.refused(name, error)
        elif what in ("cancel", "clear", "delete", "truncate"):
            # What was to be undone was over already, or had never been.
            logger.debug("%s: to %s was of no effect: %s", self._name, what, event.error.code)
        else:
            raise error


def _cause(event: "RealtimeErrorEvent") -> tuple[str, str]:
    """The request that caused an error, and its name; by the error's code where it names no event."""
    what, _, name = (event.error.event_id or "").partition(" ")
    code = event.error.code or ""
    if not what:
        what = next((cause for part, cause in _CAUSES.items() if part in code), "")
    return what, name


_CAUSES: Final = {
    "active_response": "request",
    "commit_empty": "commit",
    "cancel": "cancel",
    "truncate": "truncate",
    "delete": "delete",
}
