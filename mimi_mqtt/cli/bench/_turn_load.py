"""The load of `bench turn`: a process of its own with devices that talk and listen, on 127.0.0.1 only.

Reads one JSON object (`Order`) from its standard input and prints one (`Heard`). Each device connects over
MQTT, says hello, and then takes turns: it speaks until it is answered, and notes when what arrived. For the
reference it first prints the ports it listens on, and then only notes what comes.
"""

import asyncio
import json
import os
import random
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink
from mimi_mqtt.wire.mqtt import encode_connect, encode_publish, parse_publish
from mimi_mqtt.wire.mqtt_framing import PacketReader, PacketType
from mimi_mqtt.wire.topics import device_topic

FRAME_MS: Final = 60
_RATE: Final = 16_000
_TURN_TIMEOUT_S: Final = 60.0
_AUDIBLE_S: Final = 0.02
# Linux, socket.h: the kernel's own time of arrival, so that this process' delays are not the server's.
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@ll")


@dataclass(frozen=True, slots=True)
class Order:
    """Task: `devices` as (id, password) take `turns` turns each; the first `warm_up` are not counted.

    `opening`: intervals at the beginning of a reply that are told apart; `settle`: frames until it is steady.
    `reference`: no devices but so many bare sockets, until nothing comes any more.
    """

    opening: int
    settle: int
    core: int | None
    port: int = 0
    devices: list[tuple[str, str]] = field(default_factory=list)
    turns: int = 0
    warm_up: int = 0
    reference: int = 0


@dataclass(slots=True)
class Heard:
    """Measurements of the devices.

    From `tts start` to the first frame, each turn, and between the frames of all turns, in ms. A reply's
    first frames are sent faster than they are played, so that the device has some in store: these intervals
    are apart, but underruns (frames that came after their time, counted from the first one, so that a gap
    was heard) count from the beginning.
    """

    first_audio_ms: list[float] = field(default_factory=list)
    opening_ms: list[float] = field(default_factory=list)
    interval_ms: list[float] = field(default_factory=list)
    underruns: int = 0
    turns: int = 0
    unanswered: int = 0


def voice_frames(*, loud: bool) -> list[bytes]:
    """Opus frames of a loud tone with noise, or of silence."""
    noise = np.random.default_rng(7)
    samples = _RATE * FRAME_MS // 1000
    encoder = OpusEncoder(_RATE, application="voip")
    frames = []
    for number in range(16):
        at = np.arange(number * samples, (number + 1) * samples) / _RATE
        wave = 9000 * np.sin(2 * np.pi * 180 * at) + noise.normal(0, 900, samples)
        frames.append(encoder.encode((wave if loud else wave / 1000).astype(np.int16)))
    return frames


class _Arrivals:
    """A UDP socket that notes when datagrams reached it."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.socket.bind(("127.0.0.1", 0))
        asyncio.get_running_loop().add_reader(self.socket, self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()

    def intervals_ms(self, begin: int, end: int | None = None) -> list[float]:
        return [(after - before) * 1000 for before, after in pairwise(self.at[begin:end])]

    def underruns(self) -> int:
        due = (self.at[0] + _AUDIBLE_S + number * FRAME_MS / 1000 for number in range(len(self.at)))
        return sum(at > by for at, by in zip(self.at, due, strict=True))

    def _readable(self) -> None:
        while True:
            try:
                _, ancillary, _, _ = self.socket.recvmsg(2048, 64)
            except BlockingIOError:
                return
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2][: _TIMESPEC.size])
            self.at.append(seconds + nanoseconds / 1e9)


class _Device:
    def __init__(self, device_id: str, password: str, order: Order, heard: Heard) -> None:
        self._id = device_id
        self._password = password
        self._order = order
        self._heard = heard
        self._reader = PacketReader(65_536)
        self._hello: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._start_at = 0.0
        self._audio = _Arrivals()
        self._sequence = 0

    async def run(self, voice: list[bytes], silence: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._order.port)
        self._writer.write(encode_connect(self._id, username=self._id, password=self._password.encode()))
        reading = loop.create_task(self._read(reader))
        try:
            audio = {"format": "opus", "sample_rate": _RATE, "channels": 1, "frame_duration": FRAME_MS}
            self._say(type="hello", version=3, transport="udp", audio_params=audio)
            hello = await self._hello
            udp = hello["udp"]
            if not isinstance(udp, dict):
                raise TypeError("hello has no udp section")
            self._session = str(hello["session_id"])
            self._cipher = AudioCipher(bytes.fromhex(udp["key"]))
            self._nonce = bytes.fromhex(udp["nonce"])
            self._audio.socket.connect(("127.0.0.1", int(udp["port"])))
            for turn in range(self._order.turns):
                await asyncio.sleep(random.random() * 0.3)
                await self._turn(voice, silence, counted=turn >= self._order.warm_up)
        finally:
            reading.cancel()
            self._writer.close()
            self._audio.close()

    async def _turn(self, voice: list[bytes], silence: list[bytes], *, counted: bool) -> None:
        self._started.clear()
        self._stopped.clear()
        self._audio.at = []
        self._say(type="listen", session_id=self._session, state="start", mode="auto")
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        while not self._started.is_set() and loop.time() - began < _TURN_TIMEOUT_S:
            frames = voice if number < 8 else silence
            opus = frames[number % len(frames)]
            self._sequence += 1
            header = pack_uplink(self._nonce, 0, self._sequence, len(opus))
            self._audio.socket.send(self._cipher.encrypt(header, opus))
            number += 1
            await asyncio.sleep(max(0.0, began + number * FRAME_MS / 1000 - loop.time()))
        try:
            async with asyncio.timeout(_TURN_TIMEOUT_S):
                await self._stopped.wait()
        except TimeoutError:
            self._heard.unanswered += 1
            return
        audio, heard = self._audio, self._heard
        if not audio.at:
            heard.unanswered += 1
        elif counted:
            heard.turns += 1
            heard.first_audio_ms.append((audio.at[0] - self._start_at) * 1000)
            heard.underruns += audio.underruns()
            heard.opening_ms += audio.intervals_ms(0, self._order.opening + 1)
            heard.interval_ms += audio.intervals_ms(self._order.settle)

    def _say(self, **message: object) -> None:
        self._writer.write(encode_publish(device_topic(self._id, "up"), json.dumps(message).encode()))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65_536):
            now = time.time()
            for packet in self._reader.feed(data):
                if packet.type is not PacketType.PUBLISH:
                    continue
                message = json.loads(parse_publish(packet).payload)
                if message["type"] == "hello":
                    self._hello.set_result(message)
                elif message["type"] == "tts" and message["state"] == "start":
                    self._start_at = now
                    self._started.set()
                elif message["type"] == "tts" and message["state"] == "stop":
                    self._stopped.set()


async def _run(order: Order) -> Heard:
    heard = Heard()
    if order.reference:
        await _listen(order, heard)
        return heard
    voice, silence = voice_frames(loud=True), voice_frames(loud=False)
    async with asyncio.TaskGroup() as devices:
        for device_id, password in order.devices:
            devices.create_task(_Device(device_id, password, order, heard).run(voice, silence))
    return heard


async def _listen(order: Order, heard: Heard) -> None:
    streams = [_Arrivals() for _ in range(order.reference)]
    print(json.dumps([stream.socket.getsockname()[1] for stream in streams]), flush=True)
    before = -1
    while (now := sum(len(stream.at) for stream in streams)) > before or not now:
        before = now
        await asyncio.sleep(0.5)
    for stream in streams:
        heard.interval_ms += stream.intervals_ms(order.settle)
        stream.close()


def main() -> None:
    """Runs one order."""
    order = Order(**json.loads(sys.stdin.readline()))
    if order.core is not None:
        os.sched_setaffinity(0, {order.core})
    heard = asyncio.run(_run(order))
    print(json.dumps(asdict(heard)), flush=True)


if __name__ == "__main__":
    main()
