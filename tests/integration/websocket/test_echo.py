"""Devices over a WebSocket whose microphone hears their own loudspeaker, and who want the server to remove
that: with what was playing in their frames (version 2), and without (versions 1 and 3)."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection

from mimi_mqtt.app import App
from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_canceller import Cleaned, EchoCanceller
from mimi_mqtt.audio.opus import OpusDecoder, OpusEncoder
from mimi_mqtt.wire.websocket_frame import pack, unpack
from tests.integration.websocket.test_devices import device, serving

FRAME_MS, FRAME = 60, 960
TURNS = 2
TIMEOUT_S = 60


class EchoingDevice:
    """Plays what comes frame by frame, and sends what its microphone hears of it `delay_ms` later, buffers
    and network included."""

    def __init__(self, socket: ClientConnection, version: int, delay_ms: int) -> None:
        self._delay = delay_ms * 16
        self._socket = socket
        self._version = version
        self._queue: deque[tuple[Pcm, int]] = deque()
        self._decoder, self._encoder = OpusDecoder(16_000), OpusEncoder(16_000, 64_000, 5)
        self._spoken = asyncio.Event()
        self._answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def hello(self, *, aec: bool) -> None:
        audio = {"format": "opus", "sample_rate": 16_000, "channels": 1, "frame_duration": FRAME_MS}
        await self._socket.send(
            json.dumps(
                {
                    "type": "hello", "version": self._version, "transport": "websocket",
                    "features": {"aec": aec}, "audio_params": audio,
                }
            )
        )  # fmt: skip
        session = await self._answered
        listen = {"session_id": session, "type": "listen", "state": "start", "mode": "realtime"}
        await self._socket.send(json.dumps(listen))

    async def ask(self, text: str) -> None:
        """Says the wake word `text`, and waits until the answer was spoken and played."""
        self._spoken.clear()
        message = {"type": "listen", "state": "detect", "session_id": await self._answered, "text": text}
        await self._socket.send(json.dumps(message))
        await self._spoken.wait()
        await asyncio.sleep(len(self._queue) * FRAME_MS / 1000)

    async def read(self) -> None:
        async for message in self._socket:
            if isinstance(message, bytes):
                frame = unpack(self._version, message)
                self._queue.append((self._decoder.decode(frame.payload), frame.timestamp))
                continue
            told = json.loads(message)
            if told["type"] == "hello":
                self._answered.set_result(told["session_id"])
            elif told.get("state") == "stop":
                self._spoken.set()

    async def record(self) -> None:
        """Sends a frame each 60 ms, with the timestamp of the frame that is played meanwhile."""
        noise, silence = np.random.default_rng(1), np.zeros(FRAME, np.int16)
        played = np.zeros(FRAME + self._delay, np.int16)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            playing, timestamp = self._queue.popleft() if self._queue else (silence, 0)
            played = np.concatenate([played[FRAME:], playing])
            heard = (played[:FRAME] // 2 + noise.normal(0, 5, FRAME)).astype(np.int16)
            due += FRAME_MS / 1000
            await asyncio.sleep(due - loop.time())
            await self._socket.send(pack(self._version, self._encoder.encode(heard), timestamp))


@asynccontextmanager
async def conversing(
    app: App, version: int, *, aec: bool, delay_ms: int = 50
) -> AsyncIterator[EchoingDevice]:
    async with device(app, version) as socket, asyncio.timeout(TIMEOUT_S):
        echoing = EchoingDevice(socket, version, delay_ms)
        tasks = [asyncio.create_task(work) for work in (echoing.read(), echoing.record())]
        try:
            await echoing.hello(aec=aec)
            yield echoing
        finally:
            for task in tasks:
                task.cancel()
            with suppress(Exception):
                await asyncio.gather(*tasks, return_exceptions=True)


class Watch:
    """Powers of what the canceller was given and gave back, and the labels it got."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.powers: list[tuple[float, float]] = []
        self.labels: list[int] = []
        original = EchoCanceller.clean

        def clean(canceller: EchoCanceller, pcm: Pcm, timestamp: int) -> Cleaned:
            cleaned = original(canceller, pcm, timestamp)
            power, left = (float(np.mean(each.astype(float) ** 2)) for each in (pcm, cleaned.quiet))
            if power > 300**2:
                self.powers.append((power, left))
            self.labels.append(timestamp)
            return cleaned

        monkeypatch.setattr(EchoCanceller, "clean", clean)

    def reduction_db(self) -> float:
        """By how much the echo was reduced since the last call."""
        heard, left = (sum(power[part] for power in self.powers) for part in (0, 1))
        self.powers.clear()
        return float(10 * np.log10((heard + 1) / (left + 1)))


async def reductions(folder: Path, watch: Watch, version: int, delay_ms: int) -> list[float]:
    """By how many dB the echo of each reply was reduced."""
    found = []
    async with serving(folder) as app, conversing(app, version, aec=True, delay_ms=delay_ms) as echoing:
        for _ in range(TURNS):
            await echoing.ask("what is two plus two")
            found.append(watch.reduction_db())
    return found


async def test_the_echo_of_a_device_that_names_what_it_plays_is_removed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    assert min(await reductions(tmp_path, watch, 2, 50)) > 10
    assert all(label % FRAME_MS == 0 for label in watch.labels)  # the device's own


@pytest.mark.parametrize(("version", "delay_ms"), [(1, 80), (3, 140)])
async def test_the_echo_of_a_device_that_can_not_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, delay_ms: int
) -> None:
    watch = Watch(monkeypatch)
    assert max(await reductions(tmp_path, watch, version, delay_ms)) > 10
    assert any(watch.labels)


async def test_who_does_not_want_it_gets_its_microphone_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    async with serving(tmp_path) as app, conversing(app, 1, aec=False) as echoing:
        await echoing.ask("what is two plus two")
    assert watch.labels == []
