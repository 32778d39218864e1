"""Any message of the service, however broken: ProviderErrors only, and no events of unknown answers."""

import copy
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.exceptions import ConnectionClosedOK

from mimi_mqtt.errors import ProviderError, ProviderUnavailable
from mimi_mqtt.providers.runtime.realtime.provider import AnswerDone, AnswerPart, DuplexEvent, UserWords
from mimi_mqtt.providers.vendors.openai.realtime_duplex import OpenAiDuplex
from mimi_mqtt.providers.vendors.openai.realtime_wire import Wire

WORDS = "conversation.item.input_audio_transcription"
RESPONSE = {"id": "r1", "status": "completed", "metadata": {"answer": "answer-1"}, "output": []}
TOKENS = {"audio_tokens": 1, "text_tokens": 2}
USAGE = {"input_tokens": 3, "output_tokens": 3, "input_token_details": TOKENS, "output_token_details": TOKENS}
CALL = {"id": "i3", "type": "function_call", "call_id": "c", "name": "light", "arguments": "{}"}
PART = {"response_id": "r1", "item_id": "i2", "content_index": 0, "output_index": 0}

GOOD: Sequence[Mapping[str, Any]] = (
    {"type": "input_audio_buffer.speech_started", "item_id": "i1", "audio_start_ms": 0},
    {"type": "input_audio_buffer.speech_stopped", "item_id": "i1", "audio_end_ms": 9},
    {"type": "input_audio_buffer.committed", "item_id": "i1", "previous_item_id": None},
    {"type": "input_audio_buffer.cleared"},
    {"type": f"{WORDS}.delta", "item_id": "i1", "content_index": 0, "delta": "hel"},
    {"type": f"{WORDS}.completed", "item_id": "i1", "content_index": 0, "transcript": "hello"},
    {"type": f"{WORDS}.failed", "item_id": "i1", "error": {"code": "x", "message": "y", "type": "z"}},
    {"type": "response.created", "response": RESPONSE},
    {"type": "response.output_item.added", "item": {"id": "i2", "type": "message"}, **PART},
    {"type": "response.output_audio_transcript.delta", "delta": "good", **PART},
    {"type": "response.output_audio.delta", "delta": "AQIDBAUG", **PART},
    {"type": "response.output_item.done", "item": CALL, **PART},
    {"type": "response.done", "response": {**RESPONSE, "usage": USAGE}},
    {"type": "error", "error": {"type": "x", "code": "y", "message": "z", "event_id": "cancel r1"}},
)


class Socket:
    """Where the SDK reads and writes."""

    def __init__(self, messages: Sequence[str]) -> None:
        self._messages = [*messages]
        self.sent: list[dict[str, Any]] = []

    async def recv(self, decode: bool) -> bytes:
        """The next message; then the end."""
        if not self._messages:
            raise ConnectionClosedOK(None, None)
        return self._messages.pop(0).encode()

    async def send(self, message: str) -> None:
        """Keeps it."""
        self.sent.append(json.loads(message))

    async def close(self, code: int, reason: str) -> None:
        """Nothing."""


async def told(*messages: Mapping[str, Any]) -> tuple[list[DuplexEvent], ProviderError, Socket]:
    """Events, end and sent messages for `messages` after an utterance and a request."""
    socket = Socket([json.dumps(message) for message in messages])
    connection = AsyncRealtimeConnection(socket)  # type: ignore[arg-type]
    duplex = OpenAiDuplex("openai", Wire("openai", "wss://x/v1/realtime", connection, None))
    await duplex.send_audio("utterance-1", np.ones(4800, np.int16))
    await duplex.send_request("answer-1")
    found: list[DuplexEvent] = []
    try:
        async for event in duplex.receive():
            found.append(event)
    except ProviderError as error:
        return found, error, socket
    raise AssertionError("a connection that is lost is an error")


async def test_good_events_are_understood() -> None:
    found, error, _ = await told(*GOOD)
    assert isinstance(error, ProviderUnavailable)
    assert [event.transcript.text for event in found if isinstance(event, UserWords)][-1] == "hello"
    assert len([event for event in found if isinstance(event, AnswerPart)]) == 4
    assert AnswerDone("answer-1") in found


@pytest.mark.parametrize("seed", range(40))
async def test_broken_events_are_provider_errors_at_worst(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        events = [_broken(chance, event) if chance.random() < 0.3 else event for event in GOOD]
        chance.shuffle(events)
        found, error, _ = await told(*events)
        assert isinstance(error, ProviderError)
        assert {event.answer for event in found if isinstance(event, AnswerPart)} <= {"answer-1"}


def _broken(chance: random.Random, event: Mapping[str, Any]) -> dict[str, Any]:
    """`event` with something missing or of another type."""
    copied: dict[str, Any] = copy.deepcopy(dict(event))
    place = copied
    while (deeper := [value for value in place.values() if isinstance(value, dict) and value]) and (
        chance.random() < 0.6
    ):
        place = chance.choice(deeper)
    key = chance.choice([*place])
    if chance.random() < 0.4:
        del place[key]
    else:
        place[key] = chance.choice([None, 7, -1.5, "", "x" * 50, [], ["a"], {}, {"id": 3}, True])
    return copied


async def test_what_belongs_to_nobody_is_dropped_and_stopped() -> None:
    stray = {"type": "response.created", "response": {"id": "r9", "metadata": {"answer": "somebody's"}}}
    audio = {"type": "response.output_audio.delta", "delta": "AQID", **PART, "response_id": "r9"}
    found, _, socket = await told(stray, audio)
    assert found == []
    assert socket.sent[-1] == {"type": "response.cancel", "event_id": "cancel r9", "response_id": "r9"}
