"""Conversation of a simulated device with a real server: boots, connects, and talks turn after turn.

`converse` is the whole of it; the command line, the doctor and end-to-end tests call it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device.actions import Action, AlertShown, ChannelOpened, NoticePlayed, ToolCalled
from mimi_mqtt.cli.device.booting import (
    TLS_PORT,
    MqttAccess,
    WebSocketAccess,
    boot,
    client_for,
    over_websocket,
)
from mimi_mqtt.cli.device.camera import read_picture
from mimi_mqtt.cli.device.checks import check
from mimi_mqtt.cli.device.device import Device
from mimi_mqtt.cli.device.identity import canonical_mac, client_id_for, default_mac
from mimi_mqtt.cli.device.interactive import talk_as_typed
from mimi_mqtt.cli.device.network import Impairment
from mimi_mqtt.cli.device.notice import RATE
from mimi_mqtt.cli.device.options import DeviceOptions as DeviceOptions
from mimi_mqtt.cli.device.options import NoticeReport, TurnReport
from mimi_mqtt.cli.device.options import Summary as Summary
from mimi_mqtt.cli.device.profiles import PROFILES, Profile
from mimi_mqtt.cli.device.script import COMMANDS, Spoken, typed_lines
from mimi_mqtt.cli.device.speech import Loudspeaker, cut_frames, read_wav, synthesise, write_wav
from mimi_mqtt.cli.device.talking import Talking
from mimi_mqtt.cli.device.tools import UPGRADE
from mimi_mqtt.cli.device.trust import Trust
from mimi_mqtt.cli.device.updating import Lost, Updates
from mimi_mqtt.errors import ConfigError, DeviceFailure, MimiError
from mimi_mqtt.wire.messages import AudioParams


@dataclass(frozen=True, slots=True)
class Note:
    """A remark for the person who runs the device."""

    text: str


Told = Action | TurnReport | Note
Tell = Callable[[Told], None]


async def converse(
    options: DeviceOptions, tell: Tell | None = None, lines: AsyncGenerator[str] | None = None
) -> Summary:
    """Boots, connects and talks; each turn ends when its answer was played, or `options.timeout_s` passed.

    What goes wrong on the way is in the summary's `error`; ConfigError is raised for options that can't be
    met, such as an unreadable recording. `tell` is given what the device does, as it happens. `lines` are
    what is typed in interactive mode, by default standard input.
    """
    check(options)
    run = _Run(options, tell or (lambda _: None), lines)
    error = ""
    try:
        await run.story()
    except (ConfigError, asyncio.CancelledError):
        raise
    except MimiError as failure:
        error = str(failure)
    finally:
        run.device.close()
    return run.summary(error)


class _Run:
    """The state of one run. Everything happens on the running loop."""

    def __init__(self, options: DeviceOptions, tell: Tell, lines: AsyncGenerator[str] | None) -> None:
        self._options = options
        self._tell = tell
        self._lines = lines
        self._loop = asyncio.get_running_loop()
        self._profile = PROFILES[options.like]
        if options.firmware is not None:
            self._profile = self._profile.running(options.firmware)
        self._updates = Updates(lost=options.lost)
        self._told_to_update = asyncio.Event()
        self._mac = canonical_mac(options.mac or default_mac())
        self._trust = Trust(options.tls_ca, options.tls_insecure)
        audio = AudioParams(options.sample_rate, 1, options.frame_ms)
        impairment = Impairment(options.loss_percent, options.jitter_ms, options.seed)
        self.device = Device(
            audio, self._profile, impairment, options.reconnect_after_s, self._on_action, self._on_failure,
            options.source, options.glyphs, self._trust,
            read_picture(options.camera) if options.camera is not None else None,
            {"Device-Id": self._mac, "Client-Id": client_id_for(self._mac)},
        )  # fmt: skip
        if options.mic:
            self.device.use_loudspeaker(Loudspeaker())
        self._talking = Talking(options, self.device, lambda text: self._tell(Note(text)))
        self._sessions = 0
        self._code = ""
        self._alert = ""
        self._notices: list[NoticeReport] = []

    # ── the story ────────────────────────────────────────────────────────────────────────────────────────

    async def story(self) -> None:
        """From boot to goodbye, and again when the device was told to update itself. Raises MimiError."""
        try:
            while await self._life():
                pass
        except Lost:
            self._tell(Note("the update was taken, and the device does not come back (--lost)"))

    async def _life(self) -> bool:
        """From one boot to goodbye; True when the device starts anew. Raises MimiError and Lost."""
        deadline = self._loop.time() + self._options.timeout_s + self._options.idle_s
        try:
            async with asyncio.timeout_at(deadline):
                turns = await self._prepare()
                access = await boot(
                    self._options.ota, self._mac, self._options.language, self._profile, self._show_code,
                    self._options.source, self._trust, self._updates if self._options.update else None,
                )  # fmt: skip
        except TimeoutError as error:
            raise DeviceFailure(self._why_not_booted()) from error
        if self._options.transport == "websocket":
            if isinstance(access, MqttAccess):
                self._tell(Note("OTA told this device to use MQTT; it connects over WebSocket all the same"))
            access = over_websocket(access, self._options.ota, self._mac)
        elif self._options.transport == "mqtt" and isinstance(access, WebSocketAccess):
            raise DeviceFailure(
                f"OTA told this device to use {access.url}, not MQTT: see ota.transport and the device's own"
            )
        elif self._profile.needs_port_8883 and isinstance(access, MqttAccess) and not access.tls:
            self._tell(Note(_needs_8883(self._profile, access)))
        self.device.provision(access, self._options.websocket_version)
        connection = self._loop.create_task(self.device.run())
        try:
            await _while_running(connection, self._conversation(turns, deadline))
        finally:
            connection.cancel()
            await asyncio.wait([connection])
        return await self._upgrade()

    async def _upgrade(self) -> bool:
        """Takes the image that the device was told to start with. False: there is none, or it was refused."""
        tools = self.device.firmware.tools
        url, tools.upgrade_url = tools.upgrade_url, ""
        if not url:
            return False
        async with client_for(url, self._options.source, self._trust) as http:
            version = await self._updates.fetch(http, url)
        if version is None:
            return False
        self._profile = self._profile.running(version)
        self._told_to_update.clear()
        return True

    async def _idle(self) -> None:
        """Is idle, until it is told to update itself."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.idle_s):
                await self._told_to_update.wait()

    async def _conversation(self, turns: list[Spoken], deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self.device.connected()
                if self._options.drop_control == "idle":
                    self._talking.drop()
                    await self.device.connected()
        except TimeoutError as error:
            raise DeviceFailure(f"no connection within {self._options.timeout_s:g} s") from error
        if self._options.idle_s:
            await self._idle()
        if self._options.interactive:
            await self._talk_as_typed()
        for spoken in turns:
            if await self._turn(spoken, deadline):
                break
            deadline = self._loop.time() + self._options.timeout_s
        await self.device.goodbye()

    async def _turn(self, spoken: Spoken, deadline: float) -> bool:
        """One turn, told when it is over; True when there was no answer, so that another makes no sense."""
        report = await self._talking.have_turn(spoken, deadline)
        self._tell(report)
        return not report.ok and not report.audio_ms

    async def _talk_as_typed(self) -> None:
        self._tell(Note(COMMANDS))

        async def have_turn(spoken: Spoken) -> None:
            await self._turn(spoken, self._loop.time() + self._options.timeout_s)

        async with aclosing(self._lines if self._lines is not None else typed_lines()) as lines:
            await talk_as_typed(
                lines, self._talking, self._speech, have_turn, lambda text: self._tell(Note(text))
            )

    # ── what it speaks ───────────────────────────────────────────────────────────────────────────────────

    async def _prepare(self) -> list[Spoken]:
        """The turns; speech is made beforehand, so that a text that can't be spoken is told at once."""
        options = self._options
        if options.interactive:
            return []
        if options.text is not None:
            return [Spoken(None, wake_word=options.text)]
        if options.mic:
            return [Spoken(None, microphone=True)]
        if options.say:
            return [await self._speech(text) for text in options.say]
        pcm = options.pcm
        if options.wav is not None:
            pcm = read_wav(options.wav, options.sample_rate)
        return [] if pcm is None else [self._cut(pcm)]

    async def _speech(self, text: str) -> Spoken:
        """`text` spoken. Raises ConfigError: it can't be; ProviderError: the voice failed."""
        options = self._options
        return self._cut(await synthesise(text, options.sample_rate, options.language, options.voice))

    def _cut(self, pcm: Pcm) -> Spoken:
        samples = self._options.sample_rate * self._options.frame_ms // 1000
        return Spoken(tuple(cut_frames(pcm, samples)))

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────

    def _on_action(self, action: Action) -> None:
        match action:
            case ChannelOpened():
                self._sessions += 1
            case ToolCalled(name) if name == UPGRADE:
                self._told_to_update.set()
            case AlertShown(status, message):
                self._alert = f"{status}: {message}"
            case NoticePlayed(audio_ms, texts, error):
                self._notices.append(NoticeReport(audio_ms, texts, error))
        self._talking.observe(action)
        self._tell(action)

    def _on_failure(self, failure: DeviceFailure) -> None:
        self._talking.audio_failed(failure)

    def _show_code(self, code: str) -> None:
        if code != self._code:
            self._tell(Note(f"this device must be activated first; it shows the code {code}. {self._cure}"))
        self._code = code

    @property
    def _cure(self) -> str:
        return f"Whoever runs the server allows it with `mimi-mqtt devices allow {self._mac}`"

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def _why_not_booted(self) -> str:
        within = f"within {self._options.timeout_s:g} s"
        if self._code:
            return f"this device was not activated {within}; it shows the code {self._code}. {self._cure}"
        return f"OTA at {self._options.ota} was not answered {within}"

    def summary(self, error: str) -> Summary:
        """The report of the run; writes `--save` when asked for. Raises ConfigError: it can't be written."""
        options, reports = self._options, self._talking.reports
        speaker = self.device.speaker
        if options.save is not None and speaker is not None and self._talking.replies:
            write_wav(options.save, np.concatenate(self._talking.replies), speaker.sample_rate)
        elif options.save is not None and self._notices:
            write_wav(options.save, np.frombuffer(bytes(self.device.notice_pcm), np.int16), RATE)
        answered = [report for report in reports if report.ok]
        if not error and len(reports) < len(options.expect):
            error = f"--expect is given {len(options.expect)} times, but there were {len(reports)} turns"
        if not error and options.update and not reports and not self._notices and not self._updates.reports:
            error = "no update was offered: the device's log of OTA requests on the server says why"
        never = all(report.tail_ms is None for report in reports)
        if not error and options.abort_after_ms is not None and answered and never:
            error = (
                f"--abort-after {options.abort_after_ms:g}: nothing was interrupted, "
                f"the longest reply took {max(report.audio_ms for report in reports)} ms"
            )
        return Summary.of(
            tuple(reports),
            error,
            self._sessions,
            self.device.times_lost,
            tuple(self._notices),
            tuple(self._updates.reports),
        )


async def _while_running(connection: "asyncio.Task[None]", work: Coroutine[Any, Any, None]) -> None:
    """Awaits `work`, unless the device's connection fails before. Raises what either raises."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait([connection, task], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            connection.result()
        await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


def _needs_8883(profile: Profile, access: MqttAccess) -> str:
    return (
        f"a real {profile.name} device can't be served like this: it connects to port {TLS_PORT} with TLS "
        f"and a publicly trusted certificate whatever OTA announces, or to a WebSocket. The simulator "
        f"connects to the announced {access.host}:{access.port} all the same"
    )
