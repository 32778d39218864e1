"""The running device: sockets, microphone and loudspeaker around the pure firmware.

Everything happens on the running loop. `Device.run` holds the connections; the other methods are what a
person does with the device.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.cli.device import camera, notice
from mimi_mqtt.cli.device.actions import (
    Action,
    ChannelClosed,
    ChannelOpened,
    FetchNotice,
    Play,
    PostPicture,
    Send,
    StopNotice,
)
from mimi_mqtt.cli.device.booting import Access, WebSocketAccess
from mimi_mqtt.cli.device.control import ControlConnection
from mimi_mqtt.cli.device.firmware import Firmware, State
from mimi_mqtt.cli.device.network import AudioSocket, Impairment, Network
from mimi_mqtt.cli.device.profiles import Profile
from mimi_mqtt.cli.device.speaker import Speaker, is_audible
from mimi_mqtt.cli.device.speech import Loudspeaker
from mimi_mqtt.cli.device.tools import DeviceTools
from mimi_mqtt.cli.device.trust import Trust
from mimi_mqtt.cli.device.websocket import WebSocketConnection
from mimi_mqtt.errors import DeviceFailure
from mimi_mqtt.wire.glyphs import TextFont
from mimi_mqtt.wire.messages import AudioParams, ListenMode

FLUSH_S: Final = 2.0
"""Longest wait for the last message to leave, in seconds."""


class Device:
    """One device with its network. `observe` is given every action after it was carried out, `failed` what
    ended its audio. `reconnect_s` None: the profile's own time. `source` is the address it connects from,
    None for the system's choice. `font` is that of its screen, None for the profile's. `trust` None believes
    public authorities. `picture` is the JPEG file that its camera and its screen show; None: it has neither.
    `identity` are the headers by which it tells itself where it posts a photo.
    """

    def __init__(
        self,
        audio: AudioParams,
        profile: Profile,
        impairment: Impairment,
        reconnect_s: float | None,
        observe: Callable[[Action], None],
        failed: Callable[[DeviceFailure], None],
        source: str | None = None,
        font: TextFont | None = None,
        trust: Trust | None = None,
        picture: bytes | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._profile = profile
        self._reconnect_s = profile.reconnect_s if reconnect_s is None else reconnect_s
        self._observe = observe
        self._failed = failed
        self._source = source
        self._trust = trust
        self._picture = picture
        self._identity = identity or {}
        self._pictures: set[asyncio.Task[None]] = set()
        tools = DeviceTools(error_codes=profile.mcp_error_codes, camera=picture is not None)
        self.firmware = Firmware(audio, tools=tools, profile=profile, font=font)
        self._encoder = OpusEncoder(audio.sample_rate, application="voip", dtx=profile.dtx)
        self._frame_s = audio.frame_duration / 1000
        self._silence = np.zeros(audio.sample_rate * audio.frame_duration // 1000, np.int16)
        self._network = Network(impairment, self._loop.call_later)
        self._socket: AudioSocket | None = None
        self._control: ControlConnection | WebSocketConnection | None = None
        self._opening: asyncio.Future[ChannelOpened] | None = None
        self._speech: deque[Pcm] = deque()
        self._microphone: asyncio.Queue[Pcm] | None = None
        self._halfway: tuple[int, Callable[[], None]] = (0, lambda: None)
        self._all_said: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self.loudspeaker: Loudspeaker | None = None
        self.speaker: Speaker | None = None
        self.speech_ended_at: float | None = None
        self.notice_pcm = bytearray()
        """Samples of all notices (int16, mono, `notice.RATE`)."""
        self._notice: asyncio.Task[None] | None = None

    # ── its connections ──────────────────────────────────────────────────────────────────────────────────

    def provision(self, access: Access, websocket_version: int = 1) -> None:
        """Stores what OTA gave; comes before `run`. `websocket_version` is that of binary frames."""
        if isinstance(access, WebSocketAccess):
            self.firmware.websocket_version = websocket_version
            self._control = WebSocketConnection(
                access, websocket_version, self._reconnect_s, self._on_message, self._on_datagram,
                self._on_control_lost, self._source, self._trust,
            )  # fmt: skip
            return
        self._control = ControlConnection(
            access, self._profile, self._reconnect_s, self._on_message, self._on_control_lost, self._source,
            self._trust,
        )  # fmt: skip

    async def run(self) -> None:
        """Holds the control connection and sends the microphone. Raises DeviceFailure: no connection."""
        if self._control is None:
            raise DeviceFailure("the device has no access: it was not provisioned")
        tasks = [
            self._loop.create_task(self._control.run()),
            self._loop.create_task(self._send_microphone()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    @property
    def times_lost(self) -> int:
        """Number of control connections that broke."""
        return self._control.outbox.times_lost if self._control is not None else 0

    async def connected(self) -> None:
        """Waits until there is a control connection."""
        if self._control is not None:
            await self._control.outbox.up.wait()

    def drop_control(self) -> None:
        """Breaks the control connection; the device makes it again by itself."""
        if self._control is not None:
            self._control.drop()

    async def open_channel(self) -> None:
        """Says hello and opens the audio socket. Raises DeviceFailure: no answer, or no usable one."""
        self._close_socket()
        self._opening = self._loop.create_future()
        self.do(self.firmware.open_channel(self._loop.time()))
        opened = await self._opening
        if not opened.server:
            return  # audio goes over the WebSocket
        self._socket = AudioSocket(self._network, self._on_datagram, self._on_socket_failure)
        await self._socket.open(opened.server, opened.port, self._source)

    async def goodbye(self) -> None:
        """Closes the channel, if there is one, and lets the last message leave."""
        self.do(self.firmware.close_channel())
        if self._control is not None and self._control.outbox.up.is_set():
            try:
                async with asyncio.timeout(FLUSH_S):
                    await self._control.outbox.flush()
            except TimeoutError:
                pass  # it is as lost as on a device that is switched off

    def close(self) -> None:
        """Lets go of sockets and timers; safe at any moment."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._notice is not None:
            self._notice.cancel()
        for task in self._pictures:
            task.cancel()
        self._close_socket()
        if self.loudspeaker is not None:
            self.loudspeaker.close()
        if self._opening is not None and self._opening.done() and not self._opening.cancelled():
            self._opening.exception()  # told already

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # ── what a person does ───────────────────────────────────────────────────────────────────────────────

    async def wake(self) -> None:
        """Opens a channel unless there is a usable one. Raises DeviceFailure."""
        if not self.firmware.usable(self._loop.time()):
            await self.open_channel()

    def wake_word(self, text: str) -> None:
        """The wake word was said."""
        self.do(self.firmware.wake_word(text))
        self.speech_ended_at = self._loop.time()

    def listen(self, mode: ListenMode) -> None:
        """Has the device listen, unless it does already."""
        if self.firmware.state is not State.LISTENING:
            self.do(self.firmware.start_listening(mode))

    async def say(self, frames: list[Pcm], halfway: Callable[[], None]) -> None:
        """Speaks into the microphone; returns with the last frame. `halfway` is called in between."""
        self._speech = deque(frames)
        self._halfway = (len(frames) // 2, halfway)
        self._all_said = self._loop.create_future()
        await self._all_said

    def hear_microphone(self, frames: "asyncio.Queue[Pcm] | None") -> None:
        """From now on a real microphone's frames are sent; None: silence again."""
        if self._microphone is not None and self._microphone.empty():
            self._microphone.put_nowait(self._silence)  # nobody waits for a microphone that is closed
        self._microphone = frames

    def be_quiet(self) -> None:
        """Nothing more is said."""
        self._speech.clear()

    def release_button(self) -> None:
        """Manual mode: the speech is over."""
        self.do(self.firmware.stop_listening())

    def press_button(self) -> None:
        """Interrupts the server."""
        self.do(self.firmware.interrupt())

    async def _send_microphone(self) -> None:
        """One frame a frame's time, as long as the device runs; the firmware decides what is sent."""
        due = self._loop.time()
        while True:
            if self._microphone is not None:
                frame = await self._microphone.get()
                due = self._loop.time()
            else:
                await asyncio.sleep(due - self._loop.time())
                frame = self._next_frame()
            due += self._frame_s
            if self.firmware.microphone_open:
                self._send_frame(frame)

    def _next_frame(self) -> Pcm:
        if not self.firmware.microphone_open or not self._speech:
            return self._silence
        frame = self._speech.popleft()
        left, halfway = self._halfway
        if len(self._speech) == left:
            halfway()
        if not self._speech and self._all_said is not None and not self._all_said.done():
            self._all_said.set_result(None)
        return frame

    def _send_frame(self, frame: Pcm) -> None:
        datagram = self.firmware.microphone(self._encoder.encode(frame), self._loop.time())
        if datagram is None:
            return
        if isinstance(self._control, WebSocketConnection):
            self._control.send_audio(datagram)
        elif self._socket is not None:
            self._socket.send(datagram)
        else:
            return
        if is_audible(frame):
            self.speech_ended_at = self._loop.time()

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────

    def _on_message(self, payload: bytes) -> None:
        self.do(self.firmware.control(payload, self._loop.time()))

    def _on_datagram(self, datagram: bytes) -> None:
        self.do(self.firmware.datagram(datagram, self._loop.time()))

    def _on_socket_failure(self, failure: DeviceFailure) -> None:
        """An ICMP error ends a device's audio, both ways, until its next hello (section 4)."""
        self._close_socket()
        self._failed(failure)

    def _on_control_lost(self) -> None:
        self.do(self.firmware.control_lost())

    def _on_alarm(self) -> None:
        self.do(self.firmware.tick(self._loop.time()))

    def do(self, actions: list[Action]) -> None:
        """Carries out what the firmware wants done."""
        failed = False
        for action in actions:
            match action:
                case Send(payload):
                    failed |= not (self._control is not None and self._control.send(payload))
                case FetchNotice(url, texts):
                    self._notice = self._loop.create_task(self._play_notice(url, texts))
                case PostPicture() if self._picture is not None:
                    task = self._loop.create_task(self._post_picture(action, self._picture))
                    self._pictures.add(task)
                    task.add_done_callback(self._pictures.discard)
                case StopNotice() if self._notice is not None:
                    self._notice.cancel()
                case Play(opus, at, fresh) if self.speaker is not None:
                    self.speaker.play(opus, at, fresh)
                case ChannelOpened(audio=audio):
                    self._open_speaker(audio)
                    if self._opening is not None and not self._opening.done():
                        self._opening.set_result(action)
                case ChannelClosed(reason):
                    if self._opening is not None and not self._opening.done():
                        self._opening.set_exception(DeviceFailure(reason))
            self._observe(action)
        if failed:
            self.do(self.firmware.send_failed())
        if self._alarm is not None:
            self._alarm.cancel()
        due = self.firmware.next_wakeup
        self._alarm = self._loop.call_at(due, self._on_alarm) if due is not None else None

    async def _play_notice(self, url: str, texts: tuple[str, ...]) -> None:
        played = await notice.play(url, texts, self.notice_pcm.extend)
        self.firmware.notice_over()
        self._observe(played)

    async def _post_picture(self, asked: PostPicture, picture: bytes) -> None:
        result, failed = await camera.post(asked, picture, self._identity, self._trust)
        self.do(self.firmware.picture_posted(asked.request_id, result, failed))

    def _open_speaker(self, audio: AudioParams) -> None:
        self.speaker = Speaker(audio.sample_rate, self._to_loudspeaker)
        if self.loudspeaker is not None:
            self.loudspeaker.open(audio.sample_rate)

    def use_loudspeaker(self, loudspeaker: Loudspeaker) -> None:
        """Plays on this machine's loudspeaker too. Raises ConfigError where there is none."""
        if self.speaker is not None:
            loudspeaker.open(self.speaker.sample_rate)
        self.loudspeaker = loudspeaker

    def _to_loudspeaker(self, pcm: Pcm) -> None:
        if self.loudspeaker is not None:
            self.loudspeaker.play(pcm)
