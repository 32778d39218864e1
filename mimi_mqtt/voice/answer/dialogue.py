"""Dialogue of one session, as it was really heard: what a language model is shown of it. Pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.providers.contract.chat import ChatMessage
from mimi_mqtt.providers.contract.tts import MS_PER_CHARACTER

_CUT_OFF: Final = "…"


@dataclass(slots=True)
class SpokenSentence:
    """A sentence of a reply and the frames that speak it, `begin` to `end` (exclusive), so far."""

    text: str
    begin: int
    end: int
    complete: bool = False

    def break_off(self, frame_ms: int) -> None:
        """No further frame follows, as speech failed: cuts the text to about what the frames have said."""
        part = self.text[: (self.end - self.begin) * frame_ms // MS_PER_CHARACTER]
        words, space, _ = part.rpartition(" ")
        self.text = words + space if space else part
        self.complete = True


class Exchange:
    """One turn of a dialogue: what was asked, done and said."""

    def __init__(self, question: str, answer: Sequence[ChatMessage]) -> None:
        self._answer = answer
        self.question = question
        """Empty when the assistant spoke of its own accord, or when the question is not known yet."""

    @property
    def messages(self) -> list[ChatMessage]:
        """The turn as messages for a model."""
        asked = [ChatMessage("user", self.question)] if self.question else []
        return [*asked, *self._answer]


class Dialogue:
    """The last `history_turns` turns of one session."""

    def __init__(self, history_turns: int) -> None:
        self._turns: deque[Exchange] = deque(maxlen=history_turns)

    def history(self) -> list[ChatMessage]:
        """All kept turns as messages for a model."""
        return [message for turn in self._turns for message in turn.messages]

    def messages(self, prompt: str, question: str) -> list[ChatMessage]:
        """Messages that ask a model `question`, with the system prompt `prompt`.

        An empty prompt, which some services refuse, is left out.
        """
        system = [ChatMessage("system", prompt)] if prompt else []
        return [*system, *self.history(), ChatMessage("user", question)]

    def add(self, question: str, rounds: Sequence[ChatMessage], spoken: str, complete: bool) -> Exchange:
        """Keeps a turn: the `rounds` of tool calls and results, and the reply.

        Of a reply that was not `complete` only `spoken`, what the user has heard, is kept. A call whose
        result is missing is dropped with everything after it: models refuse such a dialogue. Empty
        `question`: the assistant spoke of its own accord.
        """
        kept = list(_answered(rounds))
        if not complete:
            kept = [_without_text(message) for message in kept]
            spoken = f"{spoken}{_CUT_OFF}" if spoken else ""
        if spoken:
            kept.append(ChatMessage("assistant", spoken))
        exchange = Exchange(question, kept)
        if exchange.messages:
            self._turns.append(exchange)
        return exchange


def _answered(rounds: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    """`rounds` up to the last message after which every call has its result."""
    open_calls: set[str] = set()
    good = 0
    for index, message in enumerate(rounds):
        open_calls |= {call.id for call in message.tool_calls}
        open_calls.discard(message.tool_call_id)
        if not open_calls:
            good = index + 1
    return rounds[:good]


def _without_text(message: ChatMessage) -> ChatMessage:
    """The calls of `message` without the text before them, which may not have been heard."""
    return ChatMessage("assistant", "", message.tool_calls) if message.tool_calls else message


def heard_part(sentences: Sequence[SpokenSentence], frames_played: int, frame_ms: int) -> str:
    """The text of `sentences` heard after so many frames; the sentence being played is cut at a word."""
    heard = ""
    for sentence in sentences:
        if sentence.complete and frames_played >= sentence.end:
            heard += sentence.text
            continue
        if frames_played > sentence.begin:
            end = sentence.end
            if not sentence.complete:
                end = max(end + 1, sentence.begin + len(sentence.text) * MS_PER_CHARACTER // frame_ms)
            share = len(sentence.text) * (frames_played - sentence.begin) // (end - sentence.begin)
            part = sentence.text[:share]
            words, space, _ = part.rpartition(" ")
            heard += words if space else part
        break
    return heard.strip()
