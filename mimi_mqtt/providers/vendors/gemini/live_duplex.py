"""One connection to Gemini's Live API: the messages to it and their order. https://ai.google.dev/api/live"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall
from mimi_mqtt.providers.contract.s2s import DuplexEvent, Opening, SpeechDuplex
from mimi_mqtt.providers.vendors.gemini.live_turns import Turns

if TYPE_CHECKING:
    from google.genai.live import AsyncSession
    from google.genai.types import Content, FunctionResponse, LiveServerMessage, Tool

INPUT_RATE = 16_000

HOLD_S = 1.0
"""Length of the end of an utterance that is held back until more comes, in s.

All that an utterance may wait for at its end is that this much goes up: 43 kB, or 35 ms at 10 Mbit/s.
"""

SETTLE_S = 0.5
"""Longest lag of the last words and token counts behind the last speech, in s."""

_PIECE = INPUT_RATE // 4  # samples in a message

Errors = Callable[[], AbstractAsyncContextManager[None]]
Changes = Callable[[Opening], "tuple[str | None, list[Tool]]"]


class GeminiDuplex(SpeechDuplex):
    """`opened` closes the connection; `errors` translates its failures.

    `changes` makes of an opening what the service is told of it later; None: it can't be told.
    """

    def __init__(
        self,
        name: str,
        session: "AsyncSession",
        opened: AsyncExitStack,
        errors: Errors,
        changes: Changes | None,
    ) -> None:
        self._name = name
        self._session = session
        self._opened = opened
        self._errors = errors
        self._changes = changes
        self._turns = Turns(name)
        self._asked = asyncio.Event()
        self._utterance = ""  # whose audio was last on its way
        self._active = False  # the service hears it
        self._held: list[Pcm] = []
        self._unsaid: list[Content] = []
        self._recital = ""

    # ── utterances ───────────────────────────────────────────────────────────────────────────────────────

    async def send_audio(self, utterance: str, pcm: Pcm) -> None:
        """Sends audio; holds it back while it may be noise, or would interrupt an answer under way."""
        self._take_up(utterance)
        self._held.append(pcm)
        held_s = sum(chunk.size for chunk in self._held) / INPUT_RATE
        if self._active or (held_s > HOLD_S and self._turns.idle):
            await self._send_held()

    async def send_end(self, utterance: str) -> None:
        """Ends the audio; the service begins its answer, which is kept until it is requested."""
        from google.genai.types import ActivityEnd

        self._take_up(utterance)
        await self._send_held()
        self._active = False
        self._turns.heard()
        async with self._errors():
            await self._session.send_realtime_input(activity_end=ActivityEnd())

    async def send_discard(self, utterance: str) -> bool:
        """True when all of it was held back: audio that was sent can't be forgotten."""
        if self._turns.hearing == utterance:
            return False
        self._take_up("")
        return True

    def _take_up(self, utterance: str) -> None:
        if utterance != self._utterance:
            self._utterance, self._held = utterance, []

    async def _send_held(self) -> None:
        from google.genai.types import ActivityStart, Blob

        async with self._errors():
            if not self._active:
                if self._turns.making:
                    raise ProviderUnavailable(self._name, "an utterance would cut its answer short")
                self._turns.hear(self._utterance)
                self._asked.set()
                if self._unsaid:
                    turns, self._unsaid = self._unsaid, []
                    await self._session.send_client_content(turns=[*turns], turn_complete=False)
                self._active = True
                await self._session.send_realtime_input(activity_start=ActivityStart())
            if not self._held:
                return
            pcm, self._held = np.concatenate(self._held).astype("<i2"), []
            for start in range(0, pcm.size, _PIECE):
                data = pcm[start : start + _PIECE].tobytes()
                piece = Blob(data=data, mime_type=f"audio/pcm;rate={INPUT_RATE}")
                await self._session.send_realtime_input(audio=piece)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────

    async def send_messages(self, messages: Sequence[ChatMessage]) -> None:
        """Sends results of pending calls, with which the service goes on; the rest with the next request."""
        calls = self._turns.calls
        results = [message for message in messages if message.tool_call_id in calls]
        others = [message for message in messages if message.tool_call_id not in calls]
        self._unsaid += contents(message for message in others if not self._was_recited(message))
        if not results:
            return
        responses = [self._response(result) for result in results]
        self._turns.given_results()
        async with self._errors():
            await self._session.send_tool_response(function_responses=responses)

    def _was_recited(self, message: ChatMessage) -> bool:
        """True for a recital, which the service remembers."""
        return message.role == "assistant" and message.content == self._recital and not message.tool_calls

    def _response(self, result: ChatMessage) -> "FunctionResponse":
        from google.genai.types import FunctionResponse

        name = self._turns.calls.pop(result.tool_call_id)
        return FunctionResponse(id=result.tool_call_id, name=name, response={"result": result.content})

    async def send_request(self, answer: str) -> None:
        """Takes the answer that the service is making already, or requests one."""
        if self._unsaid or not self._turns.claim(answer):
            await self._ask(answer)
        self._asked.set()

    async def send_recital(self, answer: str, text: str) -> None:
        """Requests the recital as part of the conversation: the service remembers the instruction too."""
        self._recital = text
        order = f"(Say the following words as they are, and nothing else:)\n{text}"
        self._unsaid += contents([ChatMessage("user", order)])
        await self._ask(answer)

    async def _ask(self, answer: str) -> None:
        self._turns.asked(answer)
        turns, self._unsaid = self._unsaid, []
        async with self._errors():
            await self._session.send_client_content(turns=[*turns] or None, turn_complete=True)

    async def send_cancel(self, answer: str) -> None:
        """Cancels `answer`; no message stops the service: while it still talks the connection is dropped."""
        if self._turns.cancel(answer):
            raise ProviderUnavailable(self._name, "its answer can't be stopped but by hanging up")
        self._asked.set()

    async def send_truncate(self, answer: str, heard_ms: int) -> bool:
        """False: the service can't forget its own speech."""
        return False

    async def send_changes(self, opening: Opening) -> bool:
        """True for newer models, which accept changes."""
        if self._changes is None:
            return False
        prompt, tools = self._changes(opening)
        async with self._errors():
            await self._session.send_context_update(system_instruction=prompt, tools=[*tools])
        return True

    # ── what comes ───────────────────────────────────────────────────────────────────────────────────────

    async def receive(self) -> AsyncIterator[DuplexEvent]:
        """All events; ends early, between two turns, when the service has announced that it will close."""
        turns = self._turns
        reading: asyncio.Task[LiveServerMessage] | None = None
        asking: asyncio.Task[bool] | None = None
        try:
            async with self._errors():
                while turns.ready or self._active or not (turns.leaving and turns.idle):
                    if turns.ready:
                        yield turns.ready.popleft()
                        continue
                    reading = reading or asyncio.create_task(self._next(), name=f"what {self._name} sends")
                    asking = asking or asyncio.create_task(self._asked.wait(), name="a request")
                    done, _ = await asyncio.wait(
                        [reading, asking],
                        timeout=SETTLE_S if turns.settling else None,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if asking in done:
                        asking = None
                        self._asked.clear()
                    if reading in done:
                        message, reading = reading.result(), None
                        turns.take(message)
                    elif not done:
                        turns.settle()
        finally:
            for task in (reading, asking):
                if task is not None:
                    task.cancel()
                    await asyncio.wait([task])

    async def _next(self) -> "LiveServerMessage":
        # The SDK's iterator ends with each turn.
        return await anext(self._session.receive())

    async def aclose(self) -> None:
        """Hangs up."""
        async with self._errors():
            await self._opened.aclose()


def contents(messages: Iterable[ChatMessage]) -> "list[Content]":
    """A dialogue as turns of the service's protocol; calls of other connections are written out as text."""
    from google.genai.types import Blob, Content, Part

    calls: dict[str, ToolCall] = {}
    told: list[Content] = []
    for message in messages:
        calls |= {call.id: call for call in message.tool_calls}
        text = message.content
        if message.role == "tool":
            call = calls.get(message.tool_call_id)
            what = f"The tool {call.name} with {json.dumps(dict(call.arguments))}" if call else "A tool"
            text = f"({what} has answered: {text})"
        parts = [Part(text=text)] if text else []
        parts += [Part(inline_data=Blob(data=image, mime_type="image/jpeg")) for image in message.images]
        if parts and message.role != "system":
            told.append(Content(role="model" if message.role == "assistant" else "user", parts=parts))
    return told
