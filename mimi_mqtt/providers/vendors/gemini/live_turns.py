"""Assignment of the turns of Gemini's Live API to answers. Pure: messages go in, events come out.

The service answers when an utterance ends, when it has the results of its calls, and when it is told so. What
it says before anybody has asked for it is kept until then. https://ai.google.dev/api/live
"""

import secrets
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mimi_mqtt.errors import ProviderBadAnswer, ProviderError, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.contract.chat import TextDelta, ToolCall, Usage
from mimi_mqtt.providers.contract.llm import MAX_ANSWER_CHARS
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.s2s import AnswerDone, AnswerPart, DuplexEvent, UserWords
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.http.audio import SampleReader
from mimi_mqtt.providers.vendors.gemini.client import pcm_rate

if TYPE_CHECKING:
    from google.genai.types import (
        FunctionCall,
        LiveServerContent,
        LiveServerMessage,
        ModalityTokenCount,
        Transcription,
        UsageMetadata,
    )

MAX_HELD_PARTS = 10_000
"""Parts of an answer that is not requested yet; more is a broken answer."""

# Why a turn ended, when it was not the model's own wish (TurnCompleteReason of the API).
_BROKEN = {"MALFORMED_FUNCTION_CALL"}
_WISHED = {"TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT"}


_Part = SpeechChunk | TextDelta | ToolCall | Usage


class _Turn:
    """One answer of the service: `answer` is its name, None until it is requested."""

    def __init__(self, answer: str | None) -> None:
        self.answer = answer
        self.held: deque[_Part] = deque()
        self.samples: SampleReader | None = None
        self.usage: Usage | None = None
        self.begun = False
        self.generated = False
        """True when all its speech is there; words and counts may follow."""
        self.over = False
        self.error: ProviderError | None = None
        """The reason why it is not whole, once it is over."""
        self.silent = False
        """True when the model chose to say nothing, as of 3.8 when it judges that it was not talked to or
        that more is to come."""


class Turns:
    """Sorts the service's messages, which come in any order, into `ready` events.

    An answer that is not wanted any more may still come, up to its end; and when it is interrupted, its end
    is announced while the next one is awaited already.
    """

    def __init__(self, name: str) -> None:
        self.ready: deque[DuplexEvent] = deque()
        self.leaving = False
        """True when the service is about to hang up."""
        self.calls: dict[str, str] = {}
        """Names, by id, of the calls whose results the service waits for."""
        self.hearing = ""
        """The utterance to which transcripts belong now."""
        self._name = name
        self._turn: _Turn | None = None
        self._stale = 0  # answers that are not wanted and that the service may still make
        self._tail = False  # the end of an earlier turn may still be announced
        self._words = ""
        self._language: str | None = None
        self._words_due = False  # the utterance has ended, and not all of them were passed on

    # ── what is asked of the service ─────────────────────────────────────────────────────────────────────

    def hear(self, utterance: str) -> None:
        """Notes that the service receives `utterance`; that ends its current turn."""
        self.forget()
        self.hearing, self._words, self._language, self._words_due = utterance, "", None, False

    def heard(self) -> None:
        """Notes the end of the utterance: an answer follows, and the rest of its transcript."""
        self._words_due = True
        self._give_up_turn()
        self._turn = _Turn(None)

    def given_results(self) -> None:
        """Notes that the service goes on with its answer."""
        self._turn = self._turn or _Turn(None)

    def asked(self, answer: str) -> None:
        """Notes the request for `answer`; that ends the service's current turn."""
        self.forget()
        self._turn = _Turn(answer)

    def claim(self, answer: str) -> bool:
        """True when an unrequested turn is under way; it becomes `answer`."""
        turn = self._turn
        if turn is None or turn.answer is not None:
            return False
        turn.answer = answer
        self.ready += [AnswerPart(answer, part) for part in turn.held]
        if turn.over:
            self._end(turn)
        return True

    def cancel(self, answer: str) -> bool:
        """Cancels `answer`; true while the service is still making it."""
        if self._turn is None or self._turn.answer != answer:
            return False
        making = self.making
        self._give_up_turn()
        return making

    @property
    def making(self) -> bool:
        """True while the service is making an answer that was requested."""
        turn = self._turn
        return turn is not None and turn.answer is not None and not turn.generated

    def forget(self) -> None:
        """Drops the next turn of the service, with its calls."""
        self._give_up_turn()
        self.calls.clear()

    def _give_up_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if not turn.over:
            self._stale += not turn.generated
            self._tail |= turn.generated
        if turn.answer is not None:
            self.ready.append(AnswerDone(turn.answer))

    @property
    def idle(self) -> bool:
        """True when the service says nothing and waits for nothing but the user."""
        return self._turn is None and not self.calls

    @property
    def settling(self) -> bool:
        """True when all may have been said, though the service has not announced it."""
        if self._turn is None:
            return self._words_due and bool(self._words)
        return self._turn.generated and not self._turn.over

    def settle(self) -> None:
        """Takes a pause in the messages as the end of turns that are complete but for their announcement."""
        if self._turn is None:
            self._pass_words(final=True)
        else:
            self._tail = True
            self._finish()

    # ── what it says ─────────────────────────────────────────────────────────────────────────────────────

    def take(self, message: "LiveServerMessage") -> None:
        """Sorts one message. Raises ProviderBadAnswer."""
        if not message.model_fields_set:
            raise ProviderBadAnswer(self._name, "sent a message with nothing in it")
        self.leaving |= message.go_away is not None
        if message.tool_call_cancellation is not None:
            for call_id in message.tool_call_cancellation.ids or ():
                self.calls.pop(call_id, None)
        if message.usage_metadata is not None:
            self._take_usage(_usage(message.usage_metadata))
        if message.server_content is not None:
            self._take_content(message.server_content)
        if message.tool_call is not None and not self._stale:
            self._take_calls(message.tool_call.function_calls or ())

    def _take_usage(self, usage: Usage) -> None:
        """Takes token counts: each count of a turn replaces the one before; after its end it stands alone."""
        if self._turn is None or self._turn.over or self._stale or self._tail:
            self.ready.append(AnswerPart("", usage))
        else:
            self._turn.usage = usage

    def _take_calls(self, calls: "Iterable[FunctionCall]") -> None:
        """Takes tool calls: they end the answer; further calls before the results belong to the next one."""
        if self._turn is None:
            self._turn = _Turn(None)
        for call in calls:
            if not call.name:
                raise ProviderBadAnswer(self._name, "a tool call has no name")
            call_id = call.id or f"call_{secrets.token_hex(8)}"
            self.calls[call_id] = call.name
            self._put(ToolCall(call_id, call.name, call.args or {}))
        self._finish()

    def _take_content(self, content: "LiveServerContent") -> None:
        if content.input_transcription is not None:
            self._take_words(content.input_transcription)
        if not self._stale:
            self._take_speech(content)
        if content.interrupted or content.generation_complete:
            self._take_end_of_speech(content)
        status = content.interaction_status
        if content.waiting_for_input or (
            content.turn_complete and (status is None or status.value != "IN_PROGRESS")
        ):
            turn = self._turn
            if self._tail and (self._stale or turn is None or not turn.begun):
                self._tail = False
            elif self._stale:
                self._stale -= 1
            elif turn is not None:
                self._finish(self._failure(content, turn))

    def _take_end_of_speech(self, content: "LiveServerContent") -> None:
        turn = self._turn
        if self._stale:
            self._stale -= 1
            self._tail = True
        elif turn is not None and content.generation_complete:
            turn.generated = True
        elif turn is not None and turn.begun:
            self._tail = not content.turn_complete
            self._finish(ProviderUnavailable(self._name, "broke off in the middle of its answer"))

    def _take_speech(self, content: "LiveServerContent") -> None:
        turn = self._turn
        if turn is None:
            return
        for part in (content.model_turn.parts if content.model_turn is not None else None) or ():
            if (blob := part.inline_data) is None or not blob.data:
                continue
            if turn.samples is None:
                turn.samples = SampleReader(self._name, pcm_rate(self._name, blob.mime_type or ""))
            if (chunk := turn.samples.feed(blob.data)) is not None:
                self._put(chunk)
        if content.output_transcription is not None and content.output_transcription.text:
            self._put(TextDelta(content.output_transcription.text))

    def _take_words(self, words: "Transcription") -> None:
        if not self.hearing:
            return
        self._words += words.text or ""
        if len(self._words) > MAX_ANSWER_CHARS:
            raise ProviderBadAnswer(self._name, "the transcript does not end")
        self._language = words.language_code or self._language
        self._pass_words(final=bool(words.finished) and self._words_due)

    def _pass_words(self, *, final: bool) -> None:
        self._words_due &= not final
        transcript = Transcript(self._words.strip(), final, self._language)
        self.ready.append(UserWords(self.hearing, transcript))

    def _failure(self, content: "LiveServerContent", turn: _Turn) -> ProviderError | None:
        """The error of `turn`, or None."""
        why = content.turn_complete_reason
        if why is not None and why.value in _BROKEN:
            return ProviderBadAnswer(self._name, f"could not end its answer ({why.value})")
        if why is not None and why.value not in _WISHED and not turn.begun:
            return ProviderRefused(self._name, f"withheld its answer ({why.value})")
        return None

    def _finish(self, error: ProviderError | None = None) -> None:
        """Ends the current turn."""
        turn = self._turn
        if turn is None or turn.over:
            return
        if self._words_due and self._words:
            self._pass_words(final=True)
        turn.silent = error is None and not turn.begun
        if turn.usage is not None:
            self._put(turn.usage)
        turn.over, turn.error = True, error
        if turn.answer is not None:
            self._end(turn)

    def _end(self, turn: _Turn) -> None:
        self._turn = None
        self.ready.append(AnswerDone(turn.answer or "", turn.error, turn.silent))

    def _put(self, part: _Part) -> None:
        turn = self._turn
        if turn is None:
            return
        turn.begun = True
        if turn.answer is not None:
            self.ready.append(AnswerPart(turn.answer, part))
            return
        turn.held.append(part)
        if len(turn.held) > MAX_HELD_PARTS:
            raise ProviderBadAnswer(self._name, "says more than anybody has asked for")


def _usage(used: "UsageMetadata") -> Usage:
    return Usage(
        (used.prompt_token_count or 0) + (used.tool_use_prompt_token_count or 0),
        (used.response_token_count or 0) + (used.thoughts_token_count or 0),
        _audio_tokens(used.prompt_tokens_details),
        _audio_tokens(used.response_tokens_details),
    )


def _audio_tokens(details: "Iterable[ModalityTokenCount] | None") -> int:
    return sum(
        detail.token_count or 0
        for detail in details or ()
        if detail.modality is not None and detail.modality.value == "AUDIO"
    )
