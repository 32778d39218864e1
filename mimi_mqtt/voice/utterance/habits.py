"""Pauses of the people at each device, remembered between its sessions.

A session often has a single turn: what endpointing learned of its speaker would be of no use within it. Kept
are numbers only, in memory, of all agents in one place; those made under other settings are not used again.
"""

from collections.abc import Callable
from typing import Final

from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.providers.runtime.lru import Lru
from mimi_mqtt.voice.utterance.endpointing import Spoken, endpointing

MAX_DEVICES: Final = 1_000
"""Devices whose speakers are remembered, at less than 1 kB each; the longest unused one goes."""


def _no_language() -> str:
    return ""


class _Language:
    """The spoken language, told by whoever has the habits now; without a reference to the habits."""

    def __init__(self, told_by: Callable[[], str]) -> None:
        self.told_by = told_by

    def __call__(self) -> str:
        return self.told_by()


class SpeakerHabits:
    """A strategy of endpointing with what it has learned; used by one conversation at a time.

    `language` tells the one that is spoken now.
    """

    def __init__(self, voice: VoiceSettings, language: Callable[[], str]) -> None:
        self.voice = voice
        """The settings under which it learned."""
        self._language = _Language(language)
        self._strategy = endpointing(voice, self._language)

    def use_language(self, language: Callable[[], str]) -> None:
        """From now on, `language` tells the one that is spoken."""
        self._language.told_by = language

    def paused(self, pause_ms: float) -> None:
        """As the strategy does it."""
        self._strategy.paused(pause_ms)

    def ended(self) -> None:
        """As the strategy does it."""
        self._strategy.ended()

    def end_silence_ms(self, spoken: Spoken, silence_ms: float) -> float:
        """As the strategy does it."""
        return self._strategy.end_silence_ms(spoken, silence_ms)


class HabitsCache:
    """The habits of devices between their sessions."""

    def __init__(self) -> None:
        self._kept: Lru[SpeakerHabits] = Lru(MAX_DEVICES)

    def take(self, device_id: str, voice: VoiceSettings, language: Callable[[], str]) -> SpeakerHabits:
        """The habits of a device's speaker; new ones when it is unknown, in another conversation, or was
        heard under other settings than `voice`."""
        habits = self._kept.get(device_id)
        if habits is not None:
            self._kept.forget(device_id)
        if habits is None or habits.voice != voice:
            return SpeakerHabits(voice, language)
        habits.use_language(language)
        return habits

    def keep(self, device_id: str, habits: SpeakerHabits) -> None:
        """Gives habits back for the device's next session; without an id they are dropped."""
        habits.use_language(_no_language)  # which refers to a conversation that is over
        if device_id:
            self._kept.keep(device_id, habits)
