"""The user's utterances as the items that OpenAI's Realtime API makes of them. Pure.

Without its voice activity detection an utterance is one item, made when we say that it has ended. With it the
service makes an item of each stretch of speech by itself, so that an utterance is one or several.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.llm import MAX_ANSWER_CHARS
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.languages import joined
from mimi_mqtt.providers.runtime.realtime.provider import UserWords, WordsFailed
from mimi_mqtt.providers.vendors.openai.realtime_wire import ErrorOf, keep

if TYPE_CHECKING:
    from openai.types.realtime import RealtimeServerEvent

RATE: Final = 24_000
"""Sample rate both ways, in Hz."""

_LEAST_SAMPLES: Final = RATE // 10  # less than 100 ms are not taken as an utterance


@dataclass(slots=True)
class UplinkUtterance:
    """One utterance of the user."""

    name: str
    samples: int = 0
    ended: bool = False
    discarded: bool = False
    committing: bool = False
    """True from our commit until the service names the item."""
    announced: set[str] = field(default_factory=set)
    """Items that the voice detection has begun and not made yet."""
    texts: dict[str, str] = field(default_factory=dict)
    """The text of each item so far."""
    whole: set[str] = field(default_factory=set)
    """Items whose text is final."""

    @property
    def lacking(self) -> int:
        """Number of samples it is too short."""
        return max(_LEAST_SAMPLES - self.samples, 0)

    @property
    def text(self) -> str:
        """The text of all items."""
        return joined([text.strip() for text in self.texts.values()])

    @property
    def final(self) -> bool:
        """True once its text is final."""
        awaited = self.committing or self.announced
        return self.ended and not awaited and self.whole >= self.texts.keys()


class UplinkItems:
    """The utterances of one connection, by their names and by the service's items."""

    def __init__(self, provider: str, error: ErrorOf) -> None:
        self._provider = provider
        self._error = error
        self._speaking = False  # as the voice detection has it
        self._current: UplinkUtterance | None = None
        self._utterances: dict[str, UplinkUtterance] = {}
        self._items: dict[str, UplinkUtterance] = {}
        self._commits: deque[UplinkUtterance] = deque()
        self._clears: deque[UplinkUtterance] = deque()

    # ── what we do ───────────────────────────────────────────────────────────────────────────────────────

    def utterance(self, name: str) -> UplinkUtterance | None:
        """The utterance of that name, if there was any audio of it."""
        return self._utterances.get(name)

    def add(self, name: str, samples: int) -> None:
        """Counts further samples of `name` as sent."""
        if self._current is None or self._current.name != name:
            self._current = UplinkUtterance(name)
            self._speaking = False
            keep(self._utterances, name, self._current)
        self._current.samples += samples

    def end(self, heard: UplinkUtterance) -> None:
        """Notes the end of the audio of `heard`."""
        self._current = None
        heard.ended = True

    def all_made(self, heard: UplinkUtterance) -> bool:
        """True when the service has made, or is making, items of all the speech in `heard`."""
        return bool(heard.texts or heard.announced) and not self._speaking

    def commit(self, heard: UplinkUtterance) -> None:
        """Notes that the rest of `heard` was committed as an item."""
        heard.committing = True
        self._commits.append(heard)

    def clear(self, heard: UplinkUtterance) -> None:
        """Notes that the audio of `heard` that is no item yet was cleared."""
        self._clears.append(heard)

    # ── what the service says ────────────────────────────────────────────────────────────────────────────

    def unwanted(self, item: str) -> bool:
        """True when `item` belongs to no utterance, or to one that was discarded."""
        heard = self._items.get(item)
        return heard is None or heard.discarded

    def refused(self) -> Iterator[UserWords]:
        """Takes the refusal of a commit: the voice detection was faster, or there was no speech."""
        if self._commits:
            heard = self._commits.popleft()
            heard.committing = False
            yield self._words(heard)

    def take(self, event: "RealtimeServerEvent") -> Iterator[UserWords | WordsFailed]:
        """The events that `event` stands for. Raises ProviderBadAnswer, or as an unexpected shape causes."""
        if event.type == "input_audio_buffer.speech_started":
            self._speaking = True
            if self._current is not None:
                self._current.announced.add(str(event.item_id))
                keep(self._items, event.item_id, self._current)
                yield self._words(self._current)
        elif event.type == "input_audio_buffer.speech_stopped":
            self._speaking = False
            if self._current is not None:
                yield self._words(self._current)
        elif event.type == "input_audio_buffer.cleared":
            if self._clears:  # all of it may have been written down before we said that it is all
                yield self._words(self._clears.popleft())
        elif event.type == "input_audio_buffer.committed":
            self._committed(event.item_id)
        elif event.type == "conversation.item.input_audio_transcription.delta":
            if heard := self._items.get(event.item_id):
                heard.texts[event.item_id] = heard.texts.get(event.item_id, "") + (event.delta or "")
                yield self._words(heard)
        elif event.type == "conversation.item.input_audio_transcription.completed":
            if heard := self._items.get(event.item_id):
                heard.texts[event.item_id] = str(event.transcript)
                heard.whole.add(event.item_id)
                yield self._words(heard)
        elif event.type == "conversation.item.input_audio_transcription.failed":
            heard, error = self._items.get(event.item_id), event.error
            if heard is not None:
                said = self._error(error.type, error.code, error.message)
                yield WordsFailed(heard.name, said)

    def _committed(self, item: str) -> None:
        """Assigns `item` to the utterance that was committed, or that the service has ended by itself."""
        heard = self._items.get(item)
        if self._commits and heard in (None, self._commits[0]):
            heard = self._commits.popleft()
            heard.committing = False
            heard.announced.clear()
        heard = heard or self._current
        if heard is not None:
            keep(self._items, item, heard)
            heard.announced.discard(item)
            heard.texts.setdefault(item, "")

    def _words(self, heard: UplinkUtterance) -> UserWords:
        text = heard.text
        if len(text) > MAX_ANSWER_CHARS:
            raise ProviderBadAnswer(self._provider, "the transcript does not end")
        endpoint = self.all_made(heard) and not heard.ended
        return UserWords(heard.name, Transcript(text, final=heard.final, endpoint=endpoint))
