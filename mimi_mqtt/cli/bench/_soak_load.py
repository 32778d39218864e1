"""The load of `bench soak`: a process of its own with devices that behave as differently as they can.

Reads one JSON object (`Order`) from its standard input and prints one (`Tally`). Until the time is over each
device takes turns, interrupts replies, loses its control connection and comes back without a hello, says
goodbye and hello again, or says hello anew in the middle of a reply; all by the numbers of a seed, on
127.0.0.1 only.
"""

import asyncio
import json
import os
import random
import socket
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.cli.bench._turn_load import FRAME_MS, voice_frames
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink
from mimi_mqtt.wire.mqtt import encode_connect, encode_publish, parse_publish
from mimi_mqtt.wire.mqtt_framing import PacketReader, PacketType
from mimi_mqtt.wire.topics import device_topic

_RATE: Final = 16_000
_ANSWER_TIMEOUT_S: Final = 20.0
_TONE_FRAMES: Final = 8


@dataclass(frozen=True, slots=True)
class Order:
    """Task: `devices` as (id, password) behave for `seconds` by the numbers of `seed`."""

    port: int
    devices: list[tuple[str, str]]
    seconds: int
    seed: int
    core: int | None
    speech: str = ""
    """Path of a WAV with what the devices say; without one a loud tone, for servers that measure loudness."""


@dataclass(slots=True)
class Tally:
    """Counts of the devices' actions, and `unanswered`: hellos and turns that brought nothing in time."""

    hellos: int = 0
    turns: int = 0
    aborts: int = 0
    dropped_connections: int = 0
    goodbyes: int = 0
    frames: int = 0
    unanswered: list[str] = field(default_factory=list)


class _Device:
    def __init__(self, device_id: str, password: str, port: int, tally: Tally, chance: random.Random) -> None:
        self._id = device_id
        self._password = password
        self._port = port
        self._tally = tally
        self._chance = chance
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._session: str | None = None
        self._hello = asyncio.Event()
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._audio: socket.socket | None = None
        self._cipher: AudioCipher | None = None
        self._nonce = b""
        self._sequence = 0

    async def run(self, until: float, voice: list[bytes], silence: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        habits = (
            (self._turn, 6), (self._interrupted_turn, 2), (self._lost_connection, 2), (self._goodbye, 1),
            (self._hello_in_a_reply, 1),
        )  # fmt: skip
        await asyncio.sleep(self._chance.random())
        try:
            while loop.time() < until:
                (habit,) = self._chance.choices([each for each, _ in habits], [much for _, much in habits])
                await self._ready()
                await habit(voice, silence)
                await asyncio.sleep(self._chance.random() * 0.5)
        finally:
            await self._hang_up()
            self._close_audio()

    # ── habits ───────────────────────────────────────────────────────────────────────────────────────────

    async def _turn(self, voice: list[bytes], silence: list[bytes]) -> None:
        if await self._speak(voice, silence) and await self._comes(self._stopped, "no end of a reply"):
            self._tally.turns += 1

    async def _interrupted_turn(self, voice: list[bytes], silence: list[bytes]) -> None:
        if await self._speak(voice, silence):
            await asyncio.sleep(self._chance.random() * 0.5)
            self._say(type="abort", session_id=self._session)
            self._tally.aborts += 1
            await self._comes(self._stopped, "no stop after an abort")

    async def _lost_connection(self, voice: list[bytes], silence: list[bytes]) -> None:
        """The control connection goes while the device speaks or listens, and comes back without a hello."""
        answered = await self._speak(voice, silence)
        if self._writer is not None:
            self._writer.transport.abort()
        self._tally.dropped_connections += 1
        await asyncio.sleep(self._chance.random())
        await self._connect()
        if answered and self._session is not None:
            await self._comes(self._stopped, "no end of a reply after a lost connection")

    async def _goodbye(self, voice: list[bytes], silence: list[bytes]) -> None:
        self._say(type="goodbye", session_id=self._session)
        self._tally.goodbyes += 1
        self._session = None

    async def _hello_in_a_reply(self, voice: list[bytes], silence: list[bytes]) -> None:
        await self._speak(voice, silence)
        self._session = None

    # ── the protocol ─────────────────────────────────────────────────────────────────────────────────────

    async def _ready(self) -> None:
        if self._writer is None or self._writer.is_closing():
            await self._connect()
        while self._session is None:
            self._hello.clear()
            audio = {"format": "opus", "sample_rate": _RATE, "channels": 1, "frame_duration": FRAME_MS}
            self._say(type="hello", version=3, transport="udp", audio_params=audio)
            if await self._comes(self._hello, "no answer to hello"):
                self._tally.hellos += 1

    async def _connect(self) -> None:
        await self._hang_up()
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(encode_connect(self._id, username=self._id, password=self._password.encode()))
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))

    async def _hang_up(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
            self._reading = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _speak(self, voice: list[bytes], silence: list[bytes]) -> bool:
        """Listens and speaks until the reply begins; False when none does."""
        self._started.clear()
        self._stopped.clear()
        self._say(type="listen", session_id=self._session, state="start", mode="auto")
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        while not self._started.is_set() and self._audio is not None and self._cipher is not None:
            if loop.time() - began > _ANSWER_TIMEOUT_S:
                self._tally.unanswered.append("no reply")
                return False
            opus = voice[number] if number < len(voice) else silence[number % len(silence)]
            self._sequence += 1
            header = pack_uplink(self._nonce, 0, self._sequence, len(opus))
            self._audio.send(self._cipher.encrypt(header, opus))
            number += 1
            await asyncio.sleep(max(0.0, began + number * FRAME_MS / 1000 - loop.time()))
        return self._started.is_set()

    async def _comes(self, event: asyncio.Event, complaint: str) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await event.wait()
        except TimeoutError:
            self._tally.unanswered.append(complaint)
            self._session = None
            return False
        return True

    def _say(self, **message: object) -> None:
        if self._writer is not None:
            payload = json.dumps(message).encode()
            self._writer.write(encode_publish(device_topic(self._id, "up"), payload))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        packets = PacketReader(65_536)
        while data := await reader.read(65_536):
            for packet in packets.feed(data):
                if packet.type is PacketType.PUBLISH:
                    self._told(json.loads(parse_publish(packet).payload))

    def _told(self, message: dict[str, object]) -> None:
        match message:
            case {"type": "hello", "session_id": str(session), "udp": dict(udp)}:
                self._session = session
                self._open_audio(udp)
                self._hello.set()
            case {"type": "tts", "state": "start"}:
                self._started.set()
            case {"type": "tts", "state": "stop"}:
                self._stopped.set()
            case {"type": "goodbye", "session_id": session} if session == self._session:
                self._session = None
                self._started.set()
                self._stopped.set()

    def _open_audio(self, udp: dict[str, object]) -> None:
        self._close_audio()
        self._cipher = AudioCipher(bytes.fromhex(str(udp["key"])))
        self._nonce = bytes.fromhex(str(udp["nonce"]))
        self._sequence = 0
        self._audio = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._audio.setblocking(False)
        self._audio.connect(("127.0.0.1", int(str(udp["port"]))))
        asyncio.get_running_loop().add_reader(self._audio, self._hear, self._audio)

    def _hear(self, audio: socket.socket) -> None:
        try:
            while audio.recv(2048):
                self._tally.frames += 1
        except OSError:  # nothing more now, or the port is closed
            return

    def _close_audio(self) -> None:
        audio, self._audio = self._audio, None
        if audio is not None:
            asyncio.get_running_loop().remove_reader(audio)
            audio.close()


def _speech(path: Path) -> list[bytes]:
    from mimi_mqtt.cli.device.speech import read_wav  # loads the providers

    encoder = OpusEncoder(_RATE, application="voip")
    pcm = read_wav(path, _RATE)
    size = _RATE * FRAME_MS // 1000
    return [encoder.encode(pcm[start : start + size]) for start in range(0, len(pcm) - size + 1, size)]


async def _run(order: Order) -> Tally:
    tally = Tally()
    voice = _speech(Path(order.speech)) if order.speech else voice_frames(loud=True)[:_TONE_FRAMES]
    silence = voice_frames(loud=False)
    until = asyncio.get_running_loop().time() + order.seconds
    async with asyncio.TaskGroup() as devices:
        for number, (device_id, password) in enumerate(order.devices):
            chance = random.Random(order.seed * 10_007 + number)
            device = _Device(device_id, password, order.port, tally, chance)
            devices.create_task(device.run(until, voice, silence))
    return tally


def main() -> None:
    """Runs one order."""
    order = Order(**json.loads(sys.stdin.readline()))
    if order.core is not None:
        os.sched_setaffinity(0, {order.core})
    tally = asyncio.run(_run(order))
    print(json.dumps(asdict(tally)), flush=True)


if __name__ == "__main__":
    main()
