"""One turn as the device's user sees it: collects what was heard, said and played, and judges it."""

import asyncio
from dataclasses import replace
from typing import Final

from mimi_mqtt.cli.device.actions import (
    Action,
    AlertShown,
    ChannelClosed,
    GlyphsPushed,
    Heard,
    Play,
    Sentence,
    SpeakingBegan,
    SpeakingEnded,
    ToolCalled,
    Unreadable,
)
from mimi_mqtt.cli.device.device import Device
from mimi_mqtt.cli.device.options import TurnReport
from mimi_mqtt.errors import DeviceFailure

MIN_AUDIBLE_MS: Final = 200


class Turn:
    """A turn that runs. `over` is done when the reply was played to its end, or fails with the reason.

    A reply counts once `all_said` is set: a greeting spoken before is none.
    """

    def __init__(self, number: int, device: Device) -> None:
        self.number = number
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.all_said = False
        self.answering = False
        self.attempts = 1
        self.quiet = asyncio.Event()
        """Set when the device stopped speaking during this turn."""
        self.alert = ""
        self._device = device
        self._before = replace(device.firmware.counters)
        self._heard = ""
        self._sentences: list[str] = []
        self._tools: list[str] = []
        self._glyphs: dict[str, None] = {}
        self._boxes: dict[str, None] = {}
        self._aborted_at: int | None = None
        device.speech_ended_at = None
        self._reset_speaker()

    @property
    def heard(self) -> str:
        """The words the server understood."""
        return self._heard

    def observe(self, action: Action) -> None:
        """Takes in an action of the device."""
        match action:
            case Heard(text):
                self._heard = text
            case Sentence(text):
                self._sentences.append(text)
            case GlyphsPushed(glyphs):
                self._glyphs |= {chr(glyph.codepoint): None for glyph in glyphs}
            case Unreadable(characters):
                self._boxes |= dict.fromkeys(characters)
            case AlertShown(status, message):
                self.alert = f"{status}: {message}"
            case ToolCalled(name):
                self._tools.append(name)
            case SpeakingBegan() if not self.over.done():
                self._sentences.clear()
                self._reset_speaker()
            case Play() if self.all_said:
                self.answering = True
            case SpeakingEnded():
                self.quiet.set()
                if self.all_said and not self.over.done():
                    self.over.set_result(None)
            case ChannelClosed(reason):
                self.fail(DeviceFailure(reason))

    def _reset_speaker(self) -> None:
        if self._device.speaker is not None:
            self._device.speaker.reset()

    def fail(self, failure: DeviceFailure) -> None:
        """Ends the turn without an answer."""
        if not self.over.done():
            self.over.set_exception(failure)

    def carry_over(self, talking: "asyncio.Task[None]") -> None:
        """Ends the turn with what ended the talking, if that failed."""
        if not talking.cancelled() and (error := talking.exception()) and not self.over.done():
            self.over.set_exception(error)

    def again(self) -> None:
        """The device is woken once more for the same words."""
        self.attempts += 1
        self.over = asyncio.get_running_loop().create_future()
        self.all_said = self.answering = False

    def aborted(self) -> None:
        """The button was pressed: from now on what is played is the tail."""
        if self._aborted_at is None:
            self._aborted_at = self._played_ms

    @property
    def was_aborted(self) -> bool:
        """True when the reply was interrupted."""
        return self._aborted_at is not None

    @property
    def _played_ms(self) -> int:
        speaker = self._device.speaker
        return speaker.played_ms if speaker is not None else 0

    @property
    def reply(self) -> str:
        """The words the server said."""
        return " ".join(sentence.strip() for sentence in self._sentences if sentence.strip())

    def report(self, error: str = "") -> TurnReport:
        """The report of this turn; `error` is the reason why there was no answer."""
        counters = self._device.firmware.counters.since(self._before)
        speaker = self._device.speaker
        # The first packets of many voices are silent: what was interrupted at once only has to have begun.
        begun = self.was_aborted and counters.received > 0
        if not error and not begun and (speaker is None or speaker.audible_ms < MIN_AUDIBLE_MS):
            shown = f": {self.reply!r} was shown only" if self.reply else ""
            error = f"the answer could not be heard ({counters.received} audio packets came){shown}"
        return TurnReport(
            number=self.number,
            ok=not error,
            heard=self._heard,
            reply=self.reply,
            first_audio_ms=self._first_audio_ms(),
            audio_ms=self._played_ms,
            received=counters.received,
            overflowed=counters.overflowed,
            lost=counters.lost,
            clipped_start_ms=counters.clipped_start_ms,
            clipped_end_ms=counters.clipped_end_ms,
            tail_ms=None if self._aborted_at is None else self._played_ms - self._aborted_at,
            attempts=self.attempts,
            tools_called=tuple(self._tools),
            glyphs="".join(self._glyphs),
            boxes="".join(self._boxes),
            error=error,
        )

    def _first_audio_ms(self) -> int | None:
        speaker, ended_at = self._device.speaker, self._device.speech_ended_at
        if speaker is None or speaker.first_at is None or ended_at is None:
            return None
        return max(0, round((speaker.first_at - ended_at) * 1000))
