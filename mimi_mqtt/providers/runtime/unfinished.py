"""The rest of an answer or a sentence whose provider was lost in the middle, for the next one to go on."""

from collections.abc import Sequence
from typing import Final

from mimi_mqtt.providers.contract.chat import ChatMessage, LlmEvent, TextDelta
from mimi_mqtt.providers.contract.tts import MS_PER_CHARACTER, SpeechChunk

_GO_ON: Final = (
    "(The line broke in the middle of your answer. Go on with the word that comes next: say nothing again, "
    "begin with no greeting and no emoji, and don't mention the line.)"
)


class UnfinishedAnswer:
    """A language model's answer to `messages`, so far."""

    def __init__(self, messages: Sequence[ChatMessage]) -> None:
        self._messages = messages
        self._text = ""

    def add(self, event: LlmEvent) -> None:
        """Adds the next part of the answer."""
        if isinstance(event, TextDelta):
            self._text += event.text

    @property
    def messages(self) -> Sequence[ChatMessage]:
        """The dialogue for the next model: `messages`, and the answer so far with the request to go on."""
        if not self._text:
            return self._messages
        return [*self._messages, ChatMessage("assistant", self._text), ChatMessage("user", _GO_ON)]


class UnfinishedSentence:
    """A sentence that is being spoken at `speed`."""

    def __init__(self, text: str, speed: float) -> None:
        self._text = text
        self._ms_per_character = MS_PER_CHARACTER / speed
        self._ms = 0.0

    def add(self, chunk: SpeechChunk) -> None:
        """Adds the next part of its speech."""
        self._ms += chunk.pcm.size * 1000 / chunk.sample_rate

    @property
    def rest(self) -> str:
        """The estimated unspoken rest, from a word on; the whole text in a script without spaces."""
        words, space, _ = self._text[: int(self._ms / self._ms_per_character)].rpartition(" ")
        return self._text[len(words + space) :]
