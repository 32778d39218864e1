"""The answers of a session as the responses of OpenAI's Realtime API. Pure."""

import base64
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderError, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.contract.chat import TextDelta, ToolCall, Usage
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.realtime.provider import AnswerDone, AnswerPart
from mimi_mqtt.providers.vendors.openai.compatible import parse_arguments
from mimi_mqtt.providers.vendors.openai.realtime_uplink import RATE
from mimi_mqtt.providers.vendors.openai.realtime_wire import ErrorOf, keep

if TYPE_CHECKING:
    from openai.types.realtime import (
        RealtimeResponse,
        RealtimeResponseUsage,
        RealtimeServerEvent,
        ResponseOutputItemDoneEvent,
    )


@dataclass(slots=True)
class Said:
    """One answer of the session."""

    name: str
    remembered: bool
    """True when the service puts it into the conversation."""
    response: str = ""
    """The service's name of it, once it has begun."""
    cancelled: bool = False
    unheard: bool = False
    """True when nothing of it was heard, so that nothing of it is to be remembered."""
    over: bool = False
    spoken_ms: dict[str, float] = field(default_factory=dict)
    """Length of the speech of each of its messages, in order."""
    half_sample: bytes = b""

    def samples(self, delta: str) -> Pcm:
        """The samples of a piece of audio; half of one is kept for the next piece."""
        audio = self.half_sample + base64.b64decode(delta, validate=True)
        whole = len(audio) // 2 * 2
        self.half_sample = audio[whole:]
        return np.frombuffer(audio[:whole], "<i2").astype(np.int16)


class Speaking:
    """The answers of one connection, by their names and by the service's responses."""

    def __init__(self, provider: str, error: ErrorOf) -> None:
        self._provider = provider
        self._error = error
        self._answers: dict[str, Said] = {}
        self._responses: dict[str, Said] = {}
        self._requests: deque[Said] = deque()  # asked, and not yet begun

    # ── what we do ───────────────────────────────────────────────────────────────────────────────────────

    def request(self, said: Said) -> None:
        """Notes the request for it."""
        keep(self._answers, said.name, said)
        self._requests.append(said)

    def answer(self, name: str) -> Said | None:
        """The answer of that name, if it is known."""
        return self._answers.get(name)

    # ── what the service says ────────────────────────────────────────────────────────────────────────────

    def unwanted(self, response: str) -> bool:
        """True when the service has begun an answer that was cancelled."""
        said = self._responses.get(response)
        return said is None or said.cancelled

    def stray(self, response: str | None) -> bool:
        """True when this side has not requested it."""
        return response not in self._responses

    def unheard(self, response: str) -> bool:
        """True when nothing of it was heard."""
        said = self._responses.get(response)
        return said is not None and said.unheard

    def refused(self, name: str, error: ProviderError) -> Iterator[AnswerDone]:
        """Notes that the request for `name` (empty: the oldest) was refused."""
        if self._requests:
            said = next((one for one in self._requests if one.name == name), self._requests[0])
            self._requests.remove(said)
            said.over = True
            if not said.cancelled:
                yield AnswerDone(said.name, error)

    def take(self, event: "RealtimeServerEvent") -> Iterator[AnswerPart | AnswerDone]:
        """The events that `event` stands for. Raises ProviderBadAnswer, or as an unexpected shape causes."""
        if event.type == "response.created":
            self._created(event.response)
        elif event.type == "response.output_audio.delta":
            said = self._responses.get(event.response_id)
            if said is not None and not said.cancelled:
                pcm = said.samples(event.delta)
                before = said.spoken_ms.get(event.item_id, 0.0)
                said.spoken_ms[event.item_id] = before + pcm.size * 1000 / RATE
                yield AnswerPart(said.name, SpeechChunk(pcm, RATE))
        elif event.type in ("response.output_audio_transcript.delta", "response.output_text.delta"):
            said = self._responses.get(event.response_id)
            if said is not None and not said.cancelled:
                yield AnswerPart(said.name, TextDelta(str(event.delta)))
        elif event.type == "response.output_item.added":
            said = self._responses.get(event.response_id)
            if said is not None and event.item.type == "message" and event.item.id:
                said.spoken_ms.setdefault(event.item.id, 0.0)
        elif event.type == "response.output_item.done":
            yield from self._called(event)
        elif event.type == "response.done":
            yield from self._done(event.response)

    def _created(self, response: "RealtimeResponse") -> None:
        named = str((response.metadata or {}).get("answer", ""))
        # Servers that give no metadata back begin responses in the order of our requests all the same.
        said = next((one for one in self._requests if one.name == named), None)
        if said is None and not named and self._requests:
            said = self._requests[0]
        if said is not None and response.id:
            self._requests.remove(said)
            said.response = response.id
            keep(self._responses, response.id, said)

    def _called(self, event: "ResponseOutputItemDoneEvent") -> Iterator[AnswerPart]:
        said, item = self._responses.get(event.response_id), event.item
        if said is None or said.cancelled or item.type != "function_call" or item.status == "incomplete":
            return
        arguments = parse_arguments(self._provider, item.arguments)
        yield AnswerPart(said.name, ToolCall(item.call_id or item.id or "", item.name, arguments))

    def _done(self, response: "RealtimeResponse") -> Iterator[AnswerPart | AnswerDone]:
        said = self._responses.get(response.id or "")
        if said is None:
            return
        said.over = True
        if response.usage is not None:
            yield AnswerPart(said.name, _usage(response.usage))
        if not said.cancelled:
            yield AnswerDone(said.name, self._end(response))

    def _end(self, response: "RealtimeResponse") -> ProviderError | None:
        details = response.status_details
        reason = (details.reason if details else None) or ""
        if response.status == "failed":
            error = details.error if details else None
            if error is None:
                return ProviderUnavailable(self._provider, "failed without a reason")
            return self._error(error.type, error.code, error.message)
        if response.status == "incomplete" and reason == "content_filter":
            return ProviderRefused(self._provider, "broke off: its content filter")
        if response.status == "cancelled":
            return ProviderUnavailable(self._provider, f"broke off: {reason or 'cancelled'}")
        return None


def _usage(usage: "RealtimeResponseUsage") -> Usage:
    heard, said = usage.input_token_details, usage.output_token_details
    return Usage(
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        (heard.audio_tokens if heard else None) or 0,
        (said.audio_tokens if said else None) or 0,
    )
