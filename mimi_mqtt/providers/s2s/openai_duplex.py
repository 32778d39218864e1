"""One connection of OpenAI's Realtime API: our utterances and answers as its items and responses.

https://platform.openai.com/docs/api-reference/realtime-client-events and …/realtime-server-events
"""

import asyncio
import base64
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.base import (
    MAX_ANSWER_CHARS,
    ChatMessage,
    SpeechChunk,
    TextDelta,
    ToolCall,
    Transcript,
    Usage,
)
from mimi_mqtt.providers.openai_compatible import parse_arguments
from mimi_mqtt.providers.s2s.openai_items import items, tools
from mimi_mqtt.providers.s2s.openai_wire import Wire
from mimi_mqtt.providers.speech_to_speech import (
    AnswerDone,
    AnswerPart,
    DuplexEvent,
    Opening,
    SpeechDuplex,
    UserWords,
    WordsFailed,
)
from mimi_mqtt.providers.stt.pieces import joined

if TYPE_CHECKING:
    from openai.types.realtime import (
        RealtimeErrorEvent,
        RealtimeResponse,
        RealtimeResponseCreateParamsParam,
        RealtimeServerEvent,
        ResponseOutputItemDoneEvent,
    )

logger = logging.getLogger(__name__)

T = TypeVar("T")

RATE: Final = 24_000
"""Sample rate both ways, in Hz."""

MAX_KEPT: Final = 100
"""Utterances, items and answers of one connection that are known by name; the oldest is forgotten."""

_LEAST_SAMPLES: Final = RATE // 10  # less than 100 ms are not taken as an utterance
_RECITE: Final = (
    "Say the following text aloud, exactly as it is written and in its own language. Say nothing else, and "
    "do not answer it:\n\n"
)


@dataclass(slots=True)
class _Heard:
    """One of our utterances: the service's voice detection may make several items of it."""

    name: str
    samples: int = 0
    ended: bool = False
    discarded: bool = False
    committing: bool = False
    announced: set[str] = field(default_factory=set)
    """Items that its voice detection has begun and not made yet."""
    texts: dict[str, str] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        return joined([text.strip() for text in self.texts.values()])

    @property
    def final(self) -> bool:
        awaited = self.committing or self.announced
        return self.ended and not awaited and self.whole >= self.texts.keys()


@dataclass(slots=True)
class _Said:
    """One of our answers, as a response."""

    name: str
    remembered: bool
    response: str = ""
    cancelled: bool = False
    over: bool = False
    half_sample: bytes = b""
    spoken_ms: dict[tuple[str, int], float] = field(default_factory=dict)
    """By item and its content index, in order."""


class OpenAiDuplex(SpeechDuplex):
    """See `SpeechDuplex`."""

    def __init__(self, name: str, wire: Wire) -> None:
        self._name = name
        self._wire = wire
        self._speaking = False
        self._hearing: _Heard | None = None
        self._utterances: dict[str, _Heard] = {}
        self._items: dict[str, _Heard] = {}
        self._commits: deque[_Heard] = deque()
        self._clears: deque[_Heard] = deque()
        self._answers: dict[str, _Said] = {}
        self._responses: dict[str, _Said] = {}
        self._requests: deque[_Said] = deque()  # asked, and not yet created
        self._idle = asyncio.Event()
        self._idle.set()

    # ── what is sent ─────────────────────────────────────────────────────────────────────────────────────

    async def send_audio(self, utterance: str, pcm: Pcm) -> None:
        """input_audio_buffer.append"""
        heard = self._hearing
        if heard is None or heard.name != utterance:
            heard = self._hearing = _Heard(utterance)
            _keep(self._utterances, utterance, heard)
            self._speaking = False
        heard.samples += pcm.size
        audio = base64.b64encode(pcm.astype("<i2").tobytes()).decode()
        await self._wire.send({"type": "input_audio_buffer.append", "audio": audio})

    async def send_end(self, utterance: str) -> None:
        """input_audio_buffer.commit, or clear where the service has done that by itself."""
        heard = self._utterances[utterance]
        self._hearing = None
        heard.ended = True
        if (heard.texts or heard.announced) and not self._speaking:
            await self._clear(heard)
            return
        if heard.samples < _LEAST_SAMPLES:
            silence = base64.b64encode(bytes(2 * (_LEAST_SAMPLES - heard.samples))).decode()
            await self._wire.send({"type": "input_audio_buffer.append", "audio": silence})
        heard.committing = True
        self._commits.append(heard)
        await self._wire.send({"type": "input_audio_buffer.commit", "event_id": f"commit {utterance}"})

    async def send_discard(self, utterance: str) -> bool:
        """input_audio_buffer.clear and conversation.item.delete, also of what is only on its way."""
        heard = self._utterances.get(utterance)
        if heard is None:
            return True
        heard.discarded = True
        if not heard.ended:
            self._hearing = None
            heard.ended = True
            await self._clear(heard)
        for item in heard.texts:
            await self._delete(item)
        return True

    async def _clear(self, heard: _Heard) -> None:
        self._clears.append(heard)
        await self._wire.send({"type": "input_audio_buffer.clear", "event_id": "clear"})

    async def _delete(self, item: str) -> None:
        await self._wire.send({"type": "conversation.item.delete", "event_id": "delete", "item_id": item})

    async def send_messages(self, messages: Sequence[ChatMessage]) -> None:
        """conversation.item.create"""
        for message in messages:
            for item in items(message):
                await self._wire.send(
                    {"type": "conversation.item.create", "event_id": "messages", "item": item}
                )

    async def send_request(self, answer: str) -> None:
        """response.create"""
        await self._request(_Said(answer, remembered=True), {})

    async def send_recital(self, answer: str, text: str) -> None:
        """response.create outside of the conversation, whose words would be questions to the model."""
        recital: RealtimeResponseCreateParamsParam = {
            "conversation": "none",
            "input": [],
            "instructions": _RECITE + text,
            "tools": [],
            "tool_choice": "none",
        }
        await self._request(_Said(answer, remembered=False), recital)

    async def _request(self, said: _Said, response: "RealtimeResponseCreateParamsParam") -> None:
        await self._idle.wait()
        self._idle.clear()
        _keep(self._answers, said.name, said)
        self._requests.append(said)
        named: RealtimeResponseCreateParamsParam = {**response, "metadata": {"answer": said.name}}
        await self._wire.send(
            {"type": "response.create", "event_id": f"request {said.name}", "response": named}
        )

    async def send_cancel(self, answer: str) -> None:
        """response.cancel, once there is a response: before that it would be of no effect."""
        said = self._answers.get(answer)
        if said is None or said.cancelled or said.over:
            return
        said.cancelled = True
        if said.response:
            await self._cancel(said.response)

    async def _cancel(self, response: str) -> None:
        await self._wire.send({"type": "response.cancel", "event_id": "cancel", "response_id": response})

    async def send_truncate(self, answer: str, heard_ms: int) -> bool:
        """conversation.item.truncate of each item that was not heard to its end."""
        said = self._answers.get(answer)
        if said is None or not said.remembered:
            return True
        left = float(heard_ms)
        for (item, index), spoken in said.spoken_ms.items():
            if spoken > left or (said.cancelled and left <= spoken):
                await self._wire.send(
                    {
                        "type": "conversation.item.truncate",
                        "event_id": "truncate",
                        "item_id": item,
                        "content_index": index,
                        "audio_end_ms": int(max(left, 0)),
                    }
                )
            left -= spoken
        return True

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
        """The service's events as ours; those of no interest, and of nobody's answers, are dropped."""
        async for event in self._wire.receive():
            try:
                found = [*self._heard_of(event), *self._said(event)]
                await self._tidy(event)
            except (ValueError, AttributeError, TypeError, LookupError) as error:
                # The SDK doesn't validate: a field that is missing or of another type shows up on use.
                raise ProviderBadAnswer(self._name, f"a {event.type} of an unknown shape") from error
            for one in found:
                yield one

    async def _tidy(self, event: "RealtimeServerEvent") -> None:
        """Says to the service what follows from `event`."""
        if event.type == "input_audio_buffer.committed":
            heard = self._items.get(event.item_id)
            if heard is None or heard.discarded:
                await self._delete(event.item_id)
        elif event.type == "response.created":
            said = self._responses.get(event.response.id or "")
            if event.response.id and (said is None or said.cancelled):
                await self._cancel(event.response.id)

    def _heard_of(self, event: "RealtimeServerEvent") -> Iterator[DuplexEvent]:
        if event.type == "input_audio_buffer.speech_started":
            self._speaking = True
            if self._hearing is not None:
                self._hearing.announced.add(str(event.item_id))
                _keep(self._items, event.item_id, self._hearing)
                yield self._words(self._hearing)
        elif event.type == "input_audio_buffer.speech_stopped":
            self._speaking = False
            if self._hearing is not None:
                yield self._words(self._hearing)
        elif event.type == "input_audio_buffer.cleared":
            if self._clears:  # all of it may have been written down before we said that it is all
                yield self._words(self._clears.popleft())
        elif event.type == "input_audio_buffer.committed":
            self._committed(event.item_id)
        elif event.type == "conversation.item.input_audio_transcription.delta":
            if heard := self._items.get(event.item_id):
                heard.texts[event.item_id] = heard.texts.get(event.item_id, "") + (event.delta or "")
                if len(heard.texts[event.item_id]) > MAX_ANSWER_CHARS:
                    raise ProviderBadAnswer(self._name, "the transcript does not end")
                yield self._words(heard)
        elif event.type == "conversation.item.input_audio_transcription.completed":
            if heard := self._items.get(event.item_id):
                heard.texts[event.item_id] = str(event.transcript)
                heard.whole.add(event.item_id)
                yield self._words(heard)
        elif event.type == "conversation.item.input_audio_transcription.failed":
            heard, said = self._items.get(event.item_id), event.error
            if heard is not None:
                yield WordsFailed(heard.name, self._wire.error(said.type, said.code, said.message))

    def _words(self, heard: _Heard) -> UserWords:
        detected = bool(heard.texts or heard.announced)
        endpoint = detected and not self._speaking and not heard.ended
        return UserWords(heard.name, Transcript(heard.text, final=heard.final, endpoint=endpoint))

    def _committed(self, item: str) -> None:
        """`item` is an utterance whose end we have told, or one that the service has seen itself."""
        heard = self._items.get(item)
        if self._commits and heard in (None, self._commits[0]):
            heard = self._commits.popleft()
            heard.committing = False
            heard.announced.clear()
        heard = heard or self._hearing
        if heard is not None:
            _keep(self._items, item, heard)
            heard.announced.discard(item)
            heard.texts.setdefault(item, "")

    def _said(self, event: "RealtimeServerEvent") -> Iterator[DuplexEvent]:
        if event.type == "response.created":
            self._created(event.response)
        elif event.type == "response.output_audio.delta":
            said = self._responses.get(event.response_id)
            if said is not None and not said.cancelled:
                pcm = _samples(said, event.delta)
                where = (event.item_id, int(event.content_index))
                said.spoken_ms[where] = said.spoken_ms.get(where, 0.0) + pcm.size * 1000 / RATE
                yield AnswerPart(said.name, SpeechChunk(pcm, RATE))
        elif event.type in ("response.output_audio_transcript.delta", "response.output_text.delta"):
            said = self._responses.get(event.response_id)
            if said is not None and not said.cancelled:
                yield AnswerPart(said.name, TextDelta(str(event.delta)))
        elif event.type == "response.output_item.done":
            yield from self._called(event)
        elif event.type == "response.done":
            yield from self._done(event.response)
        elif event.type == "error":
            yield from self._failed(event)

    def _created(self, response: "RealtimeResponse") -> None:
        named = str((response.metadata or {}).get("answer", ""))
        # Servers that give no metadata back create responses in the order of our requests all the same.
        said = next((one for one in self._requests if one.name == named), None)
        if said is None and not named and self._requests:
            said = self._requests[0]
        if said is not None and response.id:
            self._requests.remove(said)
            said.response = response.id
            _keep(self._responses, response.id, said)

    def _called(self, event: "ResponseOutputItemDoneEvent") -> Iterator[DuplexEvent]:
        said, item = self._responses.get(event.response_id), event.item
        if said is None or said.cancelled or item.type != "function_call" or item.status == "incomplete":
            return
        arguments = parse_arguments(self._name, item.arguments)
        yield AnswerPart(said.name, ToolCall(item.call_id or item.id or "", item.name, arguments))

    def _done(self, response: "RealtimeResponse") -> Iterator[DuplexEvent]:
        said = self._responses.get(response.id or "")
        if said is None:
            return
        said.over = True
        self._idle.set()
        if response.usage is not None:
            usage = response.usage
            heard, spoken = usage.input_token_details, usage.output_token_details
            yield AnswerPart(
                said.name,
                Usage(
                    usage.input_tokens or 0,
                    usage.output_tokens or 0,
                    (heard.audio_tokens if heard else None) or 0,
                    (spoken.audio_tokens if spoken else None) or 0,
                ),
            )
        if not said.cancelled:
            yield AnswerDone(said.name, self._end(response))

    def _end(self, response: "RealtimeResponse") -> ProviderError | None:
        details = response.status_details
        reason = (details.reason if details else None) or ""
        if response.status == "failed":
            error = details.error if details else None
            if error is None:
                return ProviderUnavailable(self._name, "failed without a reason")
            return self._wire.error(error.type, error.code, error.message)
        if response.status == "incomplete" and reason == "content_filter":
            return ProviderRefused(self._name, "broke off: its content filter")
        if response.status == "cancelled":
            return ProviderUnavailable(self._name, f"broke off: {reason or 'cancelled'}")
        return None

    def _failed(self, event: "RealtimeErrorEvent") -> Iterator[DuplexEvent]:
        """An error: of one request, of nothing that matters, or of the connection, which is raised."""
        error = event.error
        what, _, name = (error.event_id or "").partition(" ")
        found = self._wire.error(error.type, error.code, error.message)
        if not what:
            what = _blamed(error.code or "")
        if what == "commit" and self._commits:
            heard = self._commits.popleft()
            heard.committing = False
            yield self._words(heard)
        elif what == "request" and self._requests:
            said = next((one for one in self._requests if one.name == name), self._requests[0])
            self._requests.remove(said)
            said.over = True
            self._idle.set()
            if not said.cancelled:
                yield AnswerDone(said.name, found)
        elif what in ("commit", "request", "cancel", "clear", "delete", "truncate"):
            # What was to be undone was over already, or had never been.
            logger.debug("%s: %s was of no effect: %s", self._name, what, error.code)
        else:
            raise found


def _keep(known: dict[str, T], name: str, value: T) -> None:
    known[name] = value
    while len(known) > MAX_KEPT:
        del known[next(iter(known))]


def _blamed(code: str) -> str:
    """Whose fault an error is that names no event of ours."""
    for part, what in {
        "active_response": "request",
        "commit_empty": "commit",
        "cancel": "cancel",
        "truncate": "truncate",
        "delete": "delete",
    }.items():
        if part in code:
            return what
    return ""


def _samples(said: _Said, delta: str) -> Pcm:
    """The samples of a piece of audio; half of one is kept for the next piece."""
    audio = said.half_sample + base64.b64decode(delta, validate=True)
    whole = len(audio) // 2 * 2
    said.half_sample = audio[whole:]
    return np.frombuffer(audio[:whole], "<i2").astype(np.int16)
