"""Greetings of many devices that are woken at once: the first frame of each, and the pace of the rest.

The server is `mimi-mqtt serve` in a process and a folder of its own, with the offline voice; the devices are
in this process. One greeting is heard first, so that its speech is made and kept.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Final

import httpx

from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench._turn_load import FRAME_MS, voice_frames
from mimi_mqtt.config import AgentSettings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink
from mimi_mqtt.wire.mqtt import encode_connect, encode_publish, parse_publish
from mimi_mqtt.wire.mqtt_framing import PacketReader, PacketType

_GREETING: Final = AgentSettings().greeting
_TIMEOUT_S: Final = 60.0
_GAP_MS: Final = 120.0
_STORE_S: Final = 0.18
"""Speech that a device has in store once a reply has begun, in seconds: a later frame is an underrun."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices, bounded."""
    bounded(parser, ("--devices", 1, 1_000, 300, "devices woken at once"))


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Wakes all devices; times are from `listen detect`, in ms."""
    return asyncio.run(_measure(args.devices))


async def _measure(count: int) -> dict[str, object]:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(_server(count))
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=address, trust_env=False, timeout=_TIMEOUT_S)
        )
        silence = voice_frames(loud=False)[0]
        devices = []
        for number in range(count):
            mac = f"02:00:00:00:{number >> 8:02x}:{number & 0xFF:02x}"
            answer = await client.post("/xiaozhi/ota/", headers={"Device-Id": mac, "Client-Id": mac})
            devices.append(_Device(answer.raise_for_status().json()["mqtt"]))
            await devices[-1].connect(silence)
            stack.push_async_callback(devices[-1].aclose)
        await _wake(devices[:1])
        began = await _wake(devices)
    first = sorted((device.frames_at[0] - began) * 1000 for device in devices)
    return {
        "bench": "greetings",
        "devices": count,
        "first_frame_ms_p50": round(first[len(first) // 2], 1),
        "first_frame_ms_p99": round(first[(len(first) - 1) * 99 // 100], 1),
        "first_frame_ms_max": round(first[-1], 1),
        "frames": sum(len(device.frames_at) for device in devices),
        "gaps_over_120_ms": sum(device.gaps() for device in devices),
        "underruns": sum(device.underruns() for device in devices),
    }


async def _wake(devices: Sequence["_Device"]) -> float:
    """Wakes all, and returns when the last greeting is over; the moment of waking (s)."""
    for device in devices:
        device.frames_at.clear()
        device.over.clear()
    began = time.perf_counter()
    for device in devices:
        device.say(type="listen", state="detect", text="hello", session_id=device.session)
    async with asyncio.timeout(_TIMEOUT_S):
        for device in devices:
            await device.over.wait()
    if silent := sum(not device.frames_at for device in devices):
        raise StartupError(f"{silent} devices were not greeted: the figures would mean nothing")
    return began


@asynccontextmanager
async def _server(devices: int) -> AsyncIterator[str]:
    """A server of its own with the greeting; its HTTP address."""
    anywhere = "127.0.0.1:0"
    settings = {
        "HTTP__BIND": anywhere, "MQTT__BIND": anywhere, "UDP__BIND": anywhere,
        "HTTP__REQUESTS_PER_MINUTE": str(100 * devices), "OTA__NEW_DEVICES_PER_HOUR": str(devices),
        "SESSION__MAX_SESSIONS": str(devices), "LOG__LEVEL": "error",
        "ASSISTANT__WAKE_WORD": "greet", "ASSISTANT__GREETING": _GREETING,
        "PROVIDERS__STT": "offline", "PROVIDERS__LLM": "offline", "PROVIDERS__TTS": "offline",
    }  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MIMI_")}
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mimi_mqtt", "serve", cwd=folder, stdout=asyncio.subprocess.PIPE,
            env=environ | {f"MIMI_{name}": value for name, value in settings.items()},
        )  # fmt: skip
        try:
            yield await _address(process)
        finally:
            process.terminate()
            await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    if process.stdout is None:
        raise StartupError("the server has no standard output")
    async with asyncio.timeout(_TIMEOUT_S):
        while line := (await process.stdout.readline()).decode():
            if found := re.search(r"--ota (\S+)/xiaozhi", line):
                return found[1]
    raise StartupError("the server did not start")


class _Device:
    """One device; `access` is the section `mqtt` of its OTA reply."""

    def __init__(self, access: dict[str, str]) -> None:
        self._access = access
        self._hello = asyncio.Event()
        self.session = ""
        self.over = asyncio.Event()
        self.frames_at: list[float] = []
        self._audio = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._audio.setblocking(False)
        self._udp: dict[str, str] = {}

    async def connect(self, silence: bytes) -> None:
        """Connects, says hello, and lets the server know its audio address."""
        access = self._access
        host, _, port = access["endpoint"].partition(":")
        reader, self._writer = await asyncio.open_connection(host, int(port))
        self._writer.write(
            encode_connect(
                access["client_id"], username=access["username"], password=access["password"].encode()
            )
        )
        loop = asyncio.get_running_loop()
        self._reading = loop.create_task(self._read(reader))
        audio = {"format": "opus", "sample_rate": 16_000, "channels": 1, "frame_duration": FRAME_MS}
        self.say(type="hello", version=3, transport="udp", audio_params=audio)
        async with asyncio.timeout(_TIMEOUT_S):
            await self._hello.wait()
        self._audio.connect((host, int(self._udp["port"])))
        loop.add_reader(self._audio, self._hear)
        header = pack_uplink(bytes.fromhex(self._udp["nonce"]), 0, 1, len(silence))
        self._audio.send(AudioCipher(bytes.fromhex(self._udp["key"])).encrypt(header, silence))

    async def aclose(self) -> None:
        """Disconnects."""
        asyncio.get_running_loop().remove_reader(self._audio)
        self._audio.close()
        self._reading.cancel()
        await asyncio.wait({self._reading})
        self._writer.close()

    def say(self, **message: object) -> None:
        """Sends one control message."""
        self._writer.write(encode_publish(self._access["publish_topic"], json.dumps(message).encode()))

    def gaps(self) -> int:
        """Frames that came more than 120 ms after the one before."""
        return sum((after - before) * 1000 > _GAP_MS for before, after in pairwise(self.frames_at))

    def underruns(self) -> int:
        """Frames that came after the device had played all that it had."""
        due = (
            self.frames_at[0] + _STORE_S + number * FRAME_MS / 1000 for number in range(len(self.frames_at))
        )
        return sum(at > by for at, by in zip(self.frames_at, due, strict=True))

    def _hear(self) -> None:
        try:
            while self._audio.recv(2048):
                self.frames_at.append(time.perf_counter())
        except OSError:  # nothing more for now
            return

    async def _read(self, reader: asyncio.StreamReader) -> None:
        packets = PacketReader(65_536)
        while data := await reader.read(65_536):
            for packet in packets.feed(data):
                if packet.type is not PacketType.PUBLISH:
                    continue
                match json.loads(parse_publish(packet).payload):
                    case {"type": "hello", "session_id": str(session), "udp": dict(udp)}:
                        self.session, self._udp = session, udp
                        self._hello.set()
                    case {"type": "tts", "state": "stop"}:
                        self.over.set()
