"""One conversation of a simulated device with a real server: OTA, MQTT and UDP around the pure firmware.

`converse` is the whole of it; the command line, the doctor, benches and end-to-end tests call it.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import aiomqtt
import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.cli.device.actions import (
    Action,
    AlertShown,
    ChannelClosed,
    ChannelOpened,
    Heard,
    Play,
    Send,
    Sentence,
    SpeakingBegan,
    SpeakingEnded,
    ToolCalled,
)
from mimi_mqtt.cli.device.booting import MqttAccess, boot
from mimi_mqtt.cli.device.firmware import Firmware
from mimi_mqtt.cli.device.identity import canonical_mac, default_mac
from mimi_mqtt.cli.device.network import AudioSocket, Impairment, Network
from mimi_mqtt.cli.device.options import DeviceOptions as DeviceOptions
from mimi_mqtt.cli.device.options import Summary as Summary
from mimi_mqtt.cli.device.speaker import Speaker, is_audible
from mimi_mqtt.cli.device.speech import Loudspeaker, cut_frames, microphone, read_wav, synthesise, write_wav
from mimi_mqtt.errors import ConfigError, DeviceFailure, MimiError, ProtocolError
from mimi_mqtt.wire.messages import AudioParams

LEAD_SILENCE_S: Final = 0.3
BUTTON_SILENCE_S: Final = 0.2
"""Between the last word and the letting go of the button, in manual mode, in seconds."""
LINGER_S: Final = 0.25
"""Time for late packets after `tts stop`, in seconds."""
MIN_AUDIBLE_MS: Final = 200
CONNECT_TIMEOUT_S: Final = 10.0

Tell = Callable[[Action], None]


async def converse(options: DeviceOptions, tell: Tell | None = None) -> Summary:
    """Boots, connects, speaks and waits for the answer, all within `options.timeout_s`.

    What goes wrong on the way is in the summary's `error`; ConfigError is raised for options that can't be
    met, such as an unreadable recording. `tell` is given what the device does, as it happens.
    """
    _check(options)
    talk = _Talk(options, tell)
    failures: list[MimiError] = []
    try:
        await talk.run()
    except* MimiError as group:
        failures += _flat(group)
    finally:
        talk.close()
    for failure in failures:
        if isinstance(failure, ConfigError):
            raise failure
    return talk.summary("; ".join(map(str, failures[:1])))


def _check(options: DeviceOptions) -> None:
    sources = (options.say, options.wav, options.text, options.pcm, options.mic or None)
    if sum(source is not None for source in sources) != 1:
        raise ConfigError("say exactly one of --say, --wav, --text and --mic")
    if options.text is not None and not options.text.strip():
        raise ConfigError("--text: a wake word has a text")
    if not re.match(r"https?://[^/]", options.ota):
        raise ConfigError(
            f"--ota: {options.ota!r} is no address such as http://192.168.1.10:8003/xiaozhi/ota/"
        )
    if options.save is not None and not options.save.parent.is_dir():
        raise ConfigError(f"--save: there is no folder {options.save.parent}")
    if options.mac is not None:
        try:
            canonical_mac(options.mac)
        except ProtocolError as error:
            raise ConfigError(f"--mac: {error}") from error


def _flat(group: BaseExceptionGroup[MimiError]) -> list[MimiError]:
    found: list[MimiError] = []
    for error in group.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


class _Talk:
    """The state of one conversation. Everything happens on the running loop."""

    def __init__(self, options: DeviceOptions, tell: Tell | None) -> None:
        self._options = options
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._mac = canonical_mac(options.mac or default_mac())
        audio = AudioParams(options.sample_rate, 1, options.frame_ms)
        self._frame_samples = audio.sample_rate * audio.frame_duration // 1000
        self._firmware = Firmware(audio)
        self._encoder = OpusEncoder(audio.sample_rate, application="voip")
        self._network = Network(
            Impairment(options.loss_percent, options.jitter_ms, options.seed), self._loop.call_later
        )
        self._socket = AudioSocket(self._network, self._on_datagram, self._fail)
        self._speaker: Speaker | None = None
        self._loudspeaker = Loudspeaker() if options.mic else None
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._opened: asyncio.Future[ChannelOpened] = self._loop.create_future()
        self._answered: asyncio.Future[None] = self._loop.create_future()
        self._alarm: asyncio.TimerHandle | None = None
        self._speech_ended_at: float | None = None
        self._all_said = False
        self._heard = ""
        self._sentences: list[str] = []
        self._tools: list[str] = []
        self._alert = ""

    # ── the story ────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """From boot to goodbye. Raises MimiError, also in groups."""
        try:
            async with asyncio.timeout(self._options.timeout_s):
                speech = await self._prepare()
                access = await boot(self._options.ota, self._mac, self._options.language)
                async with _connect(access) as mqtt, asyncio.TaskGroup() as tasks:
                    work = [
                        tasks.create_task(self._read(mqtt)),
                        tasks.create_task(self._publish(mqtt, access.publish_topic)),
                    ]
                    self._do(self._firmware.open_channel(self._loop.time()))
                    channel = await self._opened
                    await self._socket.open(channel.server, channel.port)
                    work.append(tasks.create_task(self._talk(speech)))
                    await self._answered
                    await asyncio.sleep(LINGER_S + self._options.jitter_ms / 1000)
                    self._firmware.settle()
                    self._do(self._firmware.close_channel())
                    await self._outbox.join()
                    for task in work:
                        task.cancel()
        except TimeoutError as error:
            raise DeviceFailure(self._why_no_answer()) from error

    async def _prepare(self) -> list[Pcm] | None:
        """The speech in frames; None where there is none or nobody knows it yet."""
        options = self._options
        pcm = options.pcm
        if options.say is not None:
            pcm = await synthesise(options.say, options.sample_rate, options.language, options.voice)
        elif options.wav is not None:
            pcm = read_wav(options.wav, options.sample_rate)
        return None if pcm is None else cut_frames(pcm, self._frame_samples)

    async def _read(self, mqtt: aiomqtt.Client) -> None:
        """Whatever is pushed, on whatever topic: the device never subscribes."""
        with _translated("the MQTT connection was lost"):
            async for message in mqtt.messages:
                if isinstance(message.payload, bytes):
                    self._do(self._firmware.control(message.payload, self._loop.time()))

    async def _publish(self, mqtt: aiomqtt.Client, topic: str) -> None:
        with _translated("the MQTT connection was lost"):
            while True:
                payload = await self._outbox.get()
                await mqtt.publish(topic, payload, qos=0)
                self._outbox.task_done()

    async def _talk(self, speech: list[Pcm] | None) -> None:
        """The microphone in real time: silence, speech, and silence for as long as the device sends."""
        options = self._options
        if options.text is not None:
            self._do(self._firmware.wake_word(options.text))
            self._speech_ended_at = self._loop.time()
            self._all_said = True
        self._do(self._firmware.start_listening(options.mode))
        if options.mic:
            await self._send_microphone()
        began = self._loop.time()
        frame_s = options.frame_ms / 1000
        count = 0
        for frame in self._timeline(speech or []):
            await asyncio.sleep(began + count * frame_s - self._loop.time())
            count += 1
            self._send_frame(frame)
        self._all_said = True
        if options.mode == "manual" and speech is not None:
            self._do(self._firmware.stop_listening())
            return
        silence = np.zeros(self._frame_samples, np.int16)
        while True:
            await asyncio.sleep(began + count * frame_s - self._loop.time())
            count += 1
            self._send_frame(silence)

    def _timeline(self, speech: list[Pcm]) -> list[Pcm]:
        silence = np.zeros(self._frame_samples, np.int16)
        frame_s = self._options.frame_ms / 1000
        lead = [silence] * round(LEAD_SILENCE_S / frame_s)
        tail = [silence] * round(BUTTON_SILENCE_S / frame_s) if self._options.mode == "manual" else []
        return [*lead, *speech, *tail]

    async def _send_microphone(self) -> None:
        """Until the conversation ends; the person says when that is."""
        async with microphone(self._options.sample_rate, self._frame_samples) as frames:
            self._all_said = True
            while True:
                self._send_frame(await frames.get())

    def _send_frame(self, frame: Pcm) -> None:
        datagram = self._firmware.microphone(self._encoder.encode(frame))
        if datagram is None:
            return
        self._socket.send(datagram)
        if is_audible(frame):
            self._speech_ended_at = self._loop.time()

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────

    def _on_datagram(self, datagram: bytes) -> None:
        self._do(self._firmware.datagram(datagram, self._loop.time()))

    def _on_alarm(self) -> None:
        self._do(self._firmware.tick(self._loop.time()))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            self._do_one(action)
            if self._tell is not None:
                self._tell(action)
        if self._alarm is not None:
            self._alarm.cancel()
        due = self._firmware.next_wakeup
        self._alarm = self._loop.call_at(due, self._on_alarm) if due is not None else None

    def _do_one(self, action: Action) -> None:
        match action:
            case Send(payload):
                self._outbox.put_nowait(payload)
            case Play(opus, at, fresh) if self._speaker is not None:
                self._speaker.play(opus, at, fresh)
            case ChannelOpened(audio=audio):
                self._open_speaker(audio)
                if not self._opened.done():
                    self._opened.set_result(action)
            case ChannelClosed(reason):
                self._fail(DeviceFailure(reason))
            case Heard(text):
                self._heard = text
            case Sentence(text):
                self._sentences.append(text)
            case AlertShown(status, message):
                self._alert = f"{status}: {message}"
            case SpeakingBegan() if not self._answered.done():
                self._sentences.clear()
                if self._speaker is not None:
                    self._speaker.reset()
            case SpeakingEnded() if self._all_said and not self._answered.done():
                self._answered.set_result(None)
            case ToolCalled(name):
                self._tools.append(name)

    def _open_speaker(self, audio: AudioParams) -> None:
        hear = None
        if self._loudspeaker is not None:
            self._loudspeaker.open(audio.sample_rate)
            hear = self._loudspeaker.play
        self._speaker = Speaker(audio.sample_rate, hear)

    def _fail(self, failure: DeviceFailure) -> None:
        waiting = self._answered if self._opened.done() else self._opened
        if not waiting.done():
            waiting.set_exception(failure)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Lets everything go; safe at any point of the story."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._socket.close()
        if self._loudspeaker is not None:
            self._loudspeaker.close()
        for future in (self._opened, self._answered):
            if future.done() and not future.cancelled():
                future.exception()  # told already, or not worth telling any more

    def _why_no_answer(self) -> str:
        within = f"within {self._options.timeout_s:g} s"
        alert = f"; the server showed: {self._alert}" if self._alert else ""
        if not self._opened.done():
            return f"no audio channel {within}{alert}"
        if not self._heard and self._options.text is None:
            return f"the server understood nothing {within}{alert}"
        return f"no spoken answer {within}{alert}"

    def summary(self, error: str) -> Summary:
        """What came of it; saves the reply where that was asked for. Raises ConfigError when it can't."""
        counters = self._firmware.counters
        speaker = self._speaker
        audible = speaker is not None and speaker.audible_ms >= MIN_AUDIBLE_MS
        if not error and not audible:
            shown = f": {self._reply!r} was shown only" if self._reply else ""
            error = f"the answer could not be heard ({counters.received} audio packets came){shown}"
        if speaker is not None and self._options.save is not None:
            write_wav(self._options.save, speaker.pcm, speaker.sample_rate)
        return Summary(
            ok=not error,
            heard=self._heard,
            reply=self._reply,
            first_audio_ms=self._first_audio_ms(),
            audio_ms=speaker.played_ms if speaker is not None else 0,
            lost=counters.lost + counters.overflowed,
            clipped_start_ms=counters.clipped_start_ms,
            clipped_end_ms=counters.clipped_end_ms,
            tools_called=tuple(self._tools),
            error=error,
        )

    @property
    def _reply(self) -> str:
        return " ".join(sentence.strip() for sentence in self._sentences if sentence.strip())

    def _first_audio_ms(self) -> int | None:
        if self._speaker is None or self._speaker.first_at is None or self._speech_ended_at is None:
            return None
        return max(0, round((self._speaker.first_at - self._speech_ended_at) * 1000))


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turns the MQTT library's errors into a DeviceFailure that says `what` went wrong."""
    try:
        yield
    except aiomqtt.MqttError as error:
        raise DeviceFailure(f"{what}: {error}") from error


@asynccontextmanager
async def _connect(access: MqttAccess) -> AsyncIterator[aiomqtt.Client]:
    """A connection as the firmware makes it: MQTT 3.1.1, clean session, TLS on port 8883 alone."""
    client = aiomqtt.Client(
        access.host,
        access.port,
        identifier=access.client_id,
        username=access.username or None,
        password=access.password or None,
        clean_session=True,
        keepalive=access.keepalive_s,
        timeout=CONNECT_TIMEOUT_S,
        # Nagle's algorithm would hold a second message back for the 40 ms of a delayed ACK.
        socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        tls_context=ssl.create_default_context() if access.tls else None,
    )
    with _translated(f"MQTT at {access.host}:{access.port} refused the device"):
        await client.__aenter__()
    try:
        yield client
    finally:
        with suppress(aiomqtt.MqttError):  # it may be lost already
            await client.__aexit__(None, None, None)
