"""Turns with a running device: wakes it, speaks, interrupts, drops its connection, awaits the answer."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device.actions import Action, ChannelOpened, Play
from mimi_mqtt.cli.device.device import Device
from mimi_mqtt.cli.device.firmware import State
from mimi_mqtt.cli.device.options import DeviceOptions, DropAt, TurnReport
from mimi_mqtt.cli.device.script import Spoken
from mimi_mqtt.cli.device.speech import Loudspeaker, microphone
from mimi_mqtt.cli.device.turns import Turn
from mimi_mqtt.errors import DeviceFailure

LEAD_SILENCE_S: Final = 0.3
BUTTON_SILENCE_S: Final = 0.2
"""Between the last word and the letting go of the button, in manual mode, in seconds."""
LINGER_S: Final = 0.25
"""Time for late packets after `tts stop`, in seconds."""
THINKING_S: Final = 0.2
"""From the last word to the moment that counts as *thinking*, in seconds."""
AUDIO_FAILURE_S: Final = 1.0
"""From an ICMP error to the end of the turn, in seconds, if the control connection is still there then."""
MAX_ATTEMPTS: Final = 2
"""Attempts at one turn, when the first ended because the control connection was down."""


class Talking:
    """Has one turn after the other. `remark` is given what a person should know of."""

    def __init__(self, options: DeviceOptions, device: Device, remark: Callable[[str], None]) -> None:
        self._options = options
        self._device = device
        self._remark = remark
        self._loop = asyncio.get_running_loop()
        self._silence = np.zeros(options.sample_rate * options.frame_ms // 1000, np.int16)
        self._turn: Turn | None = None
        self._button_released = asyncio.Event()
        self._abort_wanted = False
        self._drop_at = options.drop_control
        self._audio_failure = ""
        self._timers: list[asyncio.TimerHandle] = []
        self.reports: list[TurnReport] = []
        self.replies: list[Pcm] = []

    # ── a turn ───────────────────────────────────────────────────────────────────────────────────────────

    async def have_turn(self, spoken: Spoken, deadline: float) -> TurnReport:
        """One turn, until its answer was played, it failed, or it is `deadline`. Raises ConfigError alone."""
        turn = self._turn = Turn(len(self.reports) + 1, self._device)
        self._abort_wanted = False
        self._button_released.clear()
        self._audio_failure = error = ""
        try:
            async with asyncio.timeout_at(deadline):
                await self._until_answered(turn, spoken)
        except DeviceFailure as failure:
            error = self._with_alert(str(failure), turn)
        except TimeoutError:
            error = self._with_alert(self._why_no_answer(turn, spoken), turn)
        finally:
            self._device.be_quiet()
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()
        if not error:
            await asyncio.sleep(LINGER_S + self._options.jitter_ms / 1000)
        self._device.firmware.settle()
        self._turn = None
        report = self._judged(turn, error)
        self.reports.append(report)
        if self._device.speaker is not None:
            self.replies.append(self._device.speaker.pcm)
        return report

    async def _until_answered(self, turn: Turn, spoken: Spoken) -> None:
        while True:
            talking = self._loop.create_task(self._talk(turn, spoken))
            talking.add_done_callback(turn.carry_over)
            try:
                await turn.over
                return
            except DeviceFailure as failure:
                if turn.attempts == MAX_ATTEMPTS or turn.answering or not self._device.times_lost:
                    raise
                self._remark(f"{failure}; the device is woken again")
            finally:
                talking.cancel()
                await asyncio.wait([talking])
                self._device.be_quiet()
            await self._device.connected()
            turn.again()

    async def _talk(self, turn: Turn, spoken: Spoken) -> None:
        """Wakes the device and speaks, as a person does."""
        device, manual = self._device, self._options.mode == "manual"
        if device.firmware.state is State.SPEAKING:
            # An answer without an end: a person presses the button, and the device waits for the server.
            device.press_button()
            await turn.quiet.wait()
        await device.wake()
        turn.all_said = spoken.frames is None
        if spoken.wake_word:
            device.wake_word(spoken.wake_word)
        device.listen(self._options.mode)
        if spoken.microphone:
            await self._use_microphone()
        elif spoken.frames is not None:
            await device.say(self._timeline(spoken.frames), lambda: self._drop_in("listening"))
            if manual:
                device.release_button()
        else:
            self._drop_in("listening")
        turn.all_said = True
        if self._drop_at == "thinking":
            self._later(THINKING_S, self._drop_in, "thinking")

    def _timeline(self, frames: tuple[Pcm, ...]) -> list[Pcm]:
        frame_s = self._options.frame_ms / 1000
        lead = [self._silence] * round(LEAD_SILENCE_S / frame_s)
        tail = [self._silence] * (round(BUTTON_SILENCE_S / frame_s) if self._options.mode == "manual" else 0)
        return [*lead, *frames, *tail]

    async def _use_microphone(self) -> None:
        """Sends the microphone until the turn is over or, in manual mode, the button is let go."""
        if self._device.loudspeaker is None:
            self._device.use_loudspeaker(Loudspeaker())
        async with microphone(self._options.sample_rate, self._silence.size) as frames:
            self._device.hear_microphone(frames)
            try:
                if self._options.mode == "manual":
                    await self._button_released.wait()
                    self._device.release_button()
                else:
                    await asyncio.Event().wait()
            finally:
                self._device.hear_microphone(None)

    # ── what happens meanwhile ───────────────────────────────────────────────────────────────────────────

    def observe(self, action: Action) -> None:
        """Takes an action of the device into the turn that runs; may interrupt it or drop its connection."""
        turn = self._turn
        if turn is None:
            return
        answering_before = turn.answering
        turn.observe(action)
        match action:
            case ChannelOpened():
                self._drop_in("connecting")
            case Play() if turn.answering and not answering_before:
                self._on_first_audio()

    def audio_failed(self, failure: DeviceFailure) -> None:
        """The audio socket failed: the turn does too, unless the whole server went away and may come back."""
        self._audio_failure = str(failure)
        self._later(AUDIO_FAILURE_S, self._fail_if_connected, failure)

    def _fail_if_connected(self, failure: DeviceFailure) -> None:
        if self._turn is not None and not self._device.times_lost:
            self._turn.fail(failure)

    def _on_first_audio(self) -> None:
        self._drop_in("speaking")
        if self._abort_wanted:
            self._abort()
        elif self._options.abort_after_ms is not None:
            self._later(self._options.abort_after_ms / 1000, self._abort)

    def _later(self, delay_s: float, do: Callable[..., None], *arguments: object) -> None:
        self._timers.append(self._loop.call_later(delay_s, do, *arguments))

    def abort(self) -> bool:
        """Interrupts the answer, or the one to come of the turn that runs; False when there is no turn."""
        if self._turn is None:
            return False
        if self._turn.answering:
            self._abort()
        else:
            self._abort_wanted = True
        return True

    def _abort(self) -> None:
        turn = self._turn
        if turn is not None and not turn.over.done() and self._device.firmware.state is State.SPEAKING:
            turn.aborted()
            self._device.press_button()

    def release_button(self) -> None:
        """Ends what is spoken into the microphone, in manual mode."""
        self._button_released.set()

    def _drop_in(self, state: DropAt) -> None:
        if self._drop_at == state:
            self.drop()

    def drop(self) -> None:
        """Breaks the control connection, once."""
        self._remark(f"the control connection is dropped ({self._drop_at})")
        self._drop_at = None
        self._device.drop_control()

    # ── what came of it ──────────────────────────────────────────────────────────────────────────────────

    def _judged(self, turn: Turn, error: str) -> TurnReport:
        report = turn.report(error)
        wanted = self._options.expect[turn.number - 1 : turn.number]
        if error or not wanted or wanted[0].casefold() in f"{report.heard}\n{report.reply}".casefold():
            return report
        unmet = (
            f"turn {turn.number}: expected {wanted[0]!r}, but {report.heard!r} was heard "
            f"and {report.reply!r} answered"
        )
        return replace(report, ok=False, error="; ".join(filter(None, (report.error, unmet))))

    def _why_no_answer(self, turn: Turn, spoken: Spoken) -> str:
        within = f"within {self._options.timeout_s:g} s"
        if self._audio_failure:
            return self._audio_failure
        if not self._device.firmware.channel_open:
            return f"no audio channel {within}"
        if not turn.heard and spoken.frames is not None:
            return f"the server understood nothing {within}"
        return f"no spoken answer {within}"

    def _with_alert(self, error: str, turn: Turn) -> str:
        lost = self._device.times_lost
        times = "" if not lost else f"; the MQTT connection was lost {lost} time{'s' if lost > 1 else ''}"
        alert = f"; the server showed: {turn.alert}" if turn.alert else ""
        return f"{error}{times}{alert}"
