"""A small server of our own for the simulated device: OTA, MQTT and UDP with a scripted answer.

It speaks the device contract and nothing else, so a mistake shared by device and product would show.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from mimi_mqtt.audio.opus import OpusDecoder, OpusEncoder
from mimi_mqtt.wire import mqtt
from mimi_mqtt.wire.audio_packet import AudioCipher, nonce_template, pack_downlink, parse_header
from mimi_mqtt.wire.mqtt import Connect, PacketReader, PacketType

KEY = bytes(range(16))
SSRC = 0xABCDEF01
FRAME_MS = 60
RATE = 24_000
GAP_S = 0.1


def tone_frames(count: int, level: float = 8_000.0) -> list[bytes]:
    """`count` Opus frames of a tone."""
    encoder = OpusEncoder(RATE)
    samples = RATE * FRAME_MS // 1000
    wave = level * np.sin(2 * np.pi * 300 * np.arange(samples * count) / RATE)
    return [encoder.encode(part.astype(np.int16)) for part in wave.reshape(count, samples)]


class ScriptedServer(asyncio.Protocol, asyncio.DatagramProtocol):
    """Plays its part: answers hello, waits until the speech is over, runs `answer`."""

    def __init__(self) -> None:
        self.ota_status = 200
        self.activation: dict[str, Any] | None = None
        self.polls_until_allowed: int | None = None
        self.forgets_activation = False
        self.keepalive: int | None = 90
        self.waits_for_connection = False
        self.polls: list[dict[str, Any]] = []
        self.boots = 0
        self.return_code = mqtt.ACCEPTED
        self.answers_hello = True
        self.hello_udp: dict[str, Any] = {}
        self.speech_ends_after_silence = 4
        self.answer: Callable[[], Any] = self.answer_with_speech
        self.connect: Connect | None = None
        self.connections = 0
        self.connected = asyncio.Event()
        self.subscriptions: list[tuple[str, int]] = []
        self.timestamps: list[int] = []
        self.silent_sizes: list[int] = []
        self.ota_headers: dict[str, str] = {}
        self.ota_body: dict[str, Any] = {}
        self.packet_types: list[PacketType] = []
        self.messages: list[dict[str, Any]] = []
        self.sequences: list[int] = []
        self.heard_audio = asyncio.Event()
        self.disconnected = asyncio.Event()
        self.sent = 0
        self.ota_url = ""
        self._cipher = AudioCipher(KEY)
        self._decoder = OpusDecoder(16_000)
        self._spoke = False
        self._silent = 0
        self._closed: list[Callable[[], None]] = []
        self._work: set[asyncio.Task[None]] = set()
        self._mqtt_writer: asyncio.StreamWriter | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._device: Any = None
        self._udp_port = self._mqtt_port = 0

    async def start(self) -> None:
        """Listens on free ports of the loopback."""
        loop = asyncio.get_running_loop()
        http = await asyncio.start_server(self._serve_http, "127.0.0.1", 0)
        broker = await asyncio.start_server(self._serve_mqtt, "127.0.0.1", 0)
        udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._udp = udp
        self._udp_port = udp.get_extra_info("sockname")[1]
        self._mqtt_port = broker.sockets[0].getsockname()[1]
        self.ota_url = f"http://127.0.0.1:{http.sockets[0].getsockname()[1]}/ota/"
        self._closed = [http.close, broker.close, udp.close]

    async def aclose(self) -> None:
        """Lets go of everything."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        for close in self._closed:
            close()
        if self._mqtt_writer is not None:
            self._mqtt_writer.close()
            await self.disconnected.wait()

    # ── OTA ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.ota_headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
        sent = json.loads(await reader.readexactly(int(self.ota_headers["content-length"])))
        status = self.ota_status
        if "/activate " in head[0]:
            self.polls.append(sent)
            status = 202
            if self.polls_until_allowed is not None and len(self.polls) >= self.polls_until_allowed:
                status, self.activation = 200, None
            if self.forgets_activation:
                status = 200
        else:
            self.ota_body = sent
            self.boots += 1
        body = json.dumps(self._ota_answer()).encode()
        answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(answer.encode() + body)
        await writer.drain()
        writer.close()

    def _ota_answer(self) -> dict[str, Any]:
        if self.activation is not None:
            return {"activation": self.activation}
        return {
            "mqtt": {
                "endpoint": f"127.0.0.1:{self._mqtt_port}",
                "client_id": "device-1",
                "username": "device",
                "password": "secret",
                "publish_topic": "up/topic",
                "subscribe_topic": "down/topic",
                **({} if self.keepalive is None else {"keepalive": self.keepalive}),
            }
        }

    # ── MQTT ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve_mqtt(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._mqtt_writer = writer
        packets = PacketReader(100_000)
        while data := await reader.read(65_536):
            for packet in packets.feed(data):
                self.packet_types.append(packet.type)
                if packet.type is PacketType.CONNECT:
                    self.connect = mqtt.parse_connect(packet)
                    writer.write(mqtt.encode_connack(self.return_code))
                    self.connections += 1
                    self.connected.set()
                elif packet.type is PacketType.SUBSCRIBE:
                    subscribe = mqtt.parse_subscribe(packet)
                    self.subscriptions += subscribe.filters
                    writer.write(mqtt.encode_suback(subscribe.packet_id, (0,)))
                elif packet.type is PacketType.PUBLISH:
                    publish = mqtt.parse_publish(packet)
                    assert (publish.topic, publish.qos) == ("up/topic", 0)
                    self._on_message(json.loads(publish.payload))
        self.disconnected.set()
        if writer is self._mqtt_writer:
            self.connected.clear()
        writer.close()

    def hang_up(self) -> None:
        """Cuts the MQTT connection."""
        assert self._mqtt_writer is not None
        self.connected.clear()
        self._mqtt_writer.close()

    def push(self, message: dict[str, Any]) -> None:
        """Sends a control message without being subscribed to, on a topic nobody expects."""
        assert self._mqtt_writer is not None
        self._mqtt_writer.write(mqtt.encode_publish("any/topic", json.dumps(message).encode()))

    def _on_message(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        match message:
            case {"type": "hello"} if self.answers_hello:
                udp = {
                    "server": "127.0.0.1",
                    "port": self._udp_port,
                    "encryption": "aes-128-ctr",
                    "key": KEY.hex(),
                    "nonce": nonce_template(SSRC).hex(),
                }
                audio = {"format": "opus", "sample_rate": RATE, "channels": 1, "frame_duration": FRAME_MS}
                self.push(
                    {"type": "hello", "transport": "udp", "session_id": "s1", "audio_params": audio,
                     "udp": udp | self.hello_udp}
                )  # fmt: skip
            case {"type": "listen", "state": "stop" | "detect"}:
                self._run(self.answer())

    # ── UDP ──────────────────────────────────────────────────────────────────────────────────────────────

    def datagram_received(self, data: bytes, addr: object) -> None:
        """An uplink packet: the speech is over when it was loud and then silent for a while."""
        self._device = addr
        header = parse_header(data)
        assert header.ssrc == SSRC
        self.sequences.append(header.sequence)
        self.timestamps.append(header.timestamp)
        self.heard_audio.set()
        opus = self._cipher.decrypt(data)
        loud = float(np.abs(self._decoder.decode(opus).astype(np.int32)).mean()) > 200
        if not loud:
            self.silent_sizes.append(len(opus))
        self._spoke |= loud
        self._silent = 0 if loud else self._silent + 1
        if self._spoke and self._silent == self.speech_ends_after_silence:
            self._spoke = False
            if {"type": "listen", "state": "start", "mode": "manual"}.items() <= self.messages[-1].items():
                return  # the button says when
            self._run(self.answer())

    def frame(self, opus: bytes) -> None:
        """Sends one downlink frame."""
        assert self._udp is not None
        self.sent += 1
        header = pack_downlink(SSRC, self.sent * FRAME_MS, self.sent, len(opus))
        self._udp.sendto(self._cipher.encrypt(header, opus), self._device)

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def speak(self, frames: list[bytes], text: str = "It is noon.", gap_s: float = GAP_S) -> None:
        """One reply in good order, in real time."""
        self.push({"type": "tts", "state": "start", "session_id": "s1"})
        await asyncio.sleep(gap_s)
        self.push({"type": "tts", "state": "sentence_start", "text": text, "session_id": "s1"})
        for opus in frames:
            self.frame(opus)
            await asyncio.sleep(FRAME_MS / 1000)
        await asyncio.sleep(GAP_S)
        if self.waits_for_connection:
            await self.connected.wait()
        self.push({"type": "tts", "state": "stop", "session_id": "s1"})

    async def pause(self, seconds: float = GAP_S) -> None:
        """Time between two messages."""
        await asyncio.sleep(seconds)

    async def answer_with_speech(self) -> None:
        """Transcript, emotion and a spoken reply, as from a good server."""
        if self.waits_for_connection:
            await self.connected.wait()
        self.push({"type": "stt", "text": "what time is it", "session_id": "s1"})
        self.push({"type": "llm", "emotion": "happy", "session_id": "s1"})
        await self.speak(tone_frames(10))
