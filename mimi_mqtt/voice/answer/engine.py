"""The interface between a conversation and what answers it.

That is the STT-LLM-TTS pipeline or a speech-to-speech service.
"""

from typing import Protocol

from mimi_mqtt.voice.answer.context import TurnContext
from mimi_mqtt.voice.answer.reply import OpenSpeech
from mimi_mqtt.voice.utterance.transcription import Transcriber
from mimi_mqtt.voice.utterance.utterance import UserUtterance


class Engine(Protocol):
    """Engine of one conversation (`pipeline`, `realtime.engine`).

    Methods that aren't `async` return at once and don't raise; the others raise no ProviderError: a failure
    is told to the user, and is in `turn.reply`.
    """

    @property
    def answers_early(self) -> bool:
        """True when a preemptive reply may be begun before the utterance is over."""

    def prepare(self) -> None:
        """The device listens: gets ready to transcribe."""

    def transcribe(self) -> Transcriber:
        """Begins to transcribe an utterance."""

    def speech_paused(self, turn: TurnContext, utterance: UserUtterance) -> None:
        """The utterance may be over: begins a preemptive reply."""

    def speech_went_on(self) -> None:
        """The utterance was not over: drops the preemptive reply."""

    def words_changed(self, turn: TurnContext, utterance: UserUtterance) -> None:
        """A further frame was heard: begins the preemptive reply anew when the words are others by now."""

    async def understand(self, turn: TurnContext, utterance: UserUtterance) -> None:
        """Answers an utterance that is over."""

    async def answer(self, turn: TurnContext) -> None:
        """Answers `turn.heard`."""

    async def say(self, turn: TurnContext, text: str, speech: OpenSpeech | None = None) -> None:
        """Speaks `text`, or plays the recording of it that `speech` opens."""

    def concluded(self, turn: TurnContext) -> None:
        """`turn` is over, perhaps in the middle of its reply."""

    async def aclose(self) -> None:
        """Ends the conversation's engine."""
