"""The simulated device against a scripted server over real sockets, in virtual time."""

import asyncio
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.cli.device import speech
from mimi_mqtt.cli.device.actions import ToolCalled
from mimi_mqtt.cli.device.client import DeviceOptions, Told, converse
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.wire import mqtt
from mimi_mqtt.wire.mqtt import PacketType
from tests.integration.device.server import ScriptedServer, tone_frames

pytestmark = pytest.mark.virtual_time

MAC = "02:00:00:00:00:01"
SPEECH = (6_000 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)).astype(np.int16)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    made = ScriptedServer()
    await made.start()
    yield made
    await made.aclose()


def options(server: ScriptedServer, **changes: Any) -> DeviceOptions:
    if not changes.keys() & {"text", "wav", "mic", "say", "interactive"}:
        changes.setdefault("pcm", SPEECH)
    return DeviceOptions(ota=server.ota_url, mac=MAC, **changes)


@pytest.mark.parametrize("mode", ["auto", "manual", "realtime"])
async def test_speech_is_answered_in_every_mode(server: ScriptedServer, mode: Any) -> None:
    summary = await converse(options(server, mode=mode))
    assert summary.ok, summary.error
    assert (summary.heard, summary.reply) == ("what time is it", "It is noon.")
    assert summary.audio_ms == 600
    assert (summary.lost, summary.clipped_start_ms, summary.clipped_end_ms) == (0, 0, 0)
    assert summary.first_audio_ms is not None
    assert 100 <= summary.first_audio_ms <= 600
    assert server.sequences == list(range(1, len(server.sequences) + 1))
    await server.disconnected.wait()
    assert server.messages[-1] == {"type": "goodbye", "session_id": "s1"}


async def test_device_connects_as_the_firmware_does(server: ScriptedServer) -> None:
    await converse(options(server, language="de"))
    assert server.ota_headers["device-id"] == MAC
    assert server.ota_headers["client-id"] == server.ota_body["uuid"]
    assert server.ota_headers["accept-language"] == "de"
    assert server.ota_headers["user-agent"].startswith("mimi-simulated/")
    assert server.ota_body["mac_address"] == MAC
    assert server.connect is not None
    assert (server.connect.protocol_level, server.connect.clean_session) == (4, True)
    assert (server.connect.client_id, server.connect.username) == ("device-1", "device")
    assert (server.connect.password, server.connect.keepalive_s) == (b"secret", 90)
    assert PacketType.SUBSCRIBE not in server.packet_types
    assert [message["type"] for message in server.messages[:2]] == ["hello", "listen"]


async def test_wake_word_is_told_without_speech(server: ScriptedServer) -> None:
    async def greet() -> None:
        await server.heard_audio.wait()
        await server.speak(tone_frames(10), "Hello!")

    server.answer = greet
    summary = await converse(options(server, text="hi mimi"))
    assert summary.ok, summary.error
    assert (summary.heard, summary.reply) == ("", "Hello!")
    assert server.messages[1]["state"] == "detect"
    assert server.messages[1]["text"] == "hi mimi"
    assert server.messages[2]["state"] == "start"


async def test_recording_is_spoken_and_the_answer_saved(server: ScriptedServer, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "in.wav"), "wb") as recording:
        recording.setnchannels(2)
        recording.setsampwidth(2)
        recording.setframerate(44_100)
        tone = 6_000 * np.sin(2 * np.pi * 200 * np.arange(44_100) / 44_100)
        recording.writeframes(np.repeat(tone.astype("<i2"), 2).tobytes())
    summary = await converse(options(server, wav=tmp_path / "in.wav", save=tmp_path / "out.wav"))
    assert summary.ok, summary.error
    with wave.open(str(tmp_path / "out.wav")) as saved:
        assert (saved.getnchannels(), saved.getframerate(), saved.getnframes()) == (1, 24_000, 14_400)


async def test_greeting_before_the_question_is_not_the_answer(server: ScriptedServer) -> None:
    greeted = False

    async def greet_then_answer() -> None:
        nonlocal greeted
        if greeted:
            await server.answer_with_speech()
        greeted = True

    original = server.datagram_received

    def greet_at_once(data: bytes, addr: object) -> None:
        original(data, addr)
        if server.sequences == [1]:
            server._run(server.speak(tone_frames(3), "Hello!"))

    server.datagram_received = greet_at_once  # type: ignore[method-assign]
    summary = await converse(options(server, mode="realtime"))
    assert summary.ok, summary.error
    assert summary.reply == "It is noon."


async def test_tools_are_called_and_told(server: ScriptedServer) -> None:
    async def set_volume() -> None:
        call = {"name": "self.audio_speaker.set_volume", "arguments": {"volume": 40}}
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        server.push({"type": "mcp", "payload": request})
        await server.speak(tone_frames(10))

    server.answer = set_volume
    told: list[Told] = []
    summary = await converse(options(server), told.append)
    assert summary.tools_called == ("self.audio_speaker.set_volume",)
    assert ToolCalled("self.audio_speaker.set_volume") in told
    reply = next(message for message in server.messages if message["type"] == "mcp")
    assert reply["payload"]["result"]["isError"] is False


async def test_loss_and_jitter_in_both_directions(server: ScriptedServer) -> None:
    async def answer_at_length() -> None:
        await server.speak(tone_frames(40))

    server.answer = answer_at_length
    summary = await converse(options(server, loss_percent=10, jitter_ms=40, seed=3))
    assert summary.ok, summary.error
    assert summary.lost > 0
    assert len(server.sequences) < max(server.sequences)
    assert (summary.clipped_start_ms, summary.clipped_end_ms) == (0, 0)


async def test_clipped_ends_are_measured(server: ScriptedServer) -> None:
    async def too_early_and_too_late() -> None:
        frames = tone_frames(14)
        server.frame(frames[0])
        await asyncio.sleep(0.05)
        await server.speak(frames[1:12])
        await asyncio.sleep(0.05)
        for opus in frames[12:]:
            server.frame(opus)

    server.answer = too_early_and_too_late
    summary = await converse(options(server))
    assert summary.ok, summary.error
    assert (summary.clipped_start_ms, summary.clipped_end_ms) == (60, 120)


class SoundCard:
    """A microphone somebody speaks into, and a loudspeaker that takes every frame."""

    PortAudioError = OSError

    def __init__(self) -> None:
        self.played = 0

    def InputStream(self, *, callback: Callable[..., None], blocksize: int, **_: Any) -> Any:
        @contextmanager
        def stream() -> Iterator[None]:
            task = asyncio.get_running_loop().create_task(speak())
            yield
            task.cancel()

        async def speak() -> None:
            frames = [
                *SPEECH[: 16 * blocksize].reshape(-1, blocksize),
                *np.zeros((9_000, blocksize), np.int16),
            ]
            for frame in frames:
                callback(frame.reshape(-1, 1), blocksize, None, None)
                await asyncio.sleep(0.06)

        return stream()

    def OutputStream(self, **_: Any) -> Any:
        self.played += 1
        return SimpleNamespace(start=lambda: None, close=lambda: None)


async def test_person_at_the_microphone_is_answered(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = SoundCard()
    monkeypatch.setattr(speech, "import_module", lambda _: card)
    summary = await converse(options(server, mic=True))
    assert summary.ok, summary.error
    assert summary.reply == "It is noon."
    assert summary.first_audio_ms is not None
    assert card.played == 1


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────


async def expect(server: ScriptedServer, *words: str, **changes: Any) -> None:
    summary = await converse(options(server, **changes))
    assert not summary.ok
    for word in words:
        assert word in summary.error


async def test_ota_that_answers_otherwise_is_told(server: ScriptedServer) -> None:
    server.ota_status = 503
    await expect(server, "503")


async def test_ota_that_is_not_there_is_told(server: ScriptedServer) -> None:
    server.ota_url = "http://127.0.0.1:1/ota/"
    await expect(server, "can't be reached", "127.0.0.1:1")
    server.ota_url = "nonsense"
    with pytest.raises(ConfigError, match="--ota: 'nonsense'"):
        await converse(options(server))


async def test_activation_that_does_not_come_is_told_with_its_cure(server: ScriptedServer) -> None:
    server.activation = {"code": "654321", "message": "x", "challenge": "y"}
    await expect(server, "654321", f"mimi-mqtt devices allow {MAC}", "within 30 s")


async def test_refused_mqtt_is_told(server: ScriptedServer) -> None:
    server.return_code = mqtt.REFUSED_NOT_AUTHORIZED
    await expect(server, "refused", "authorized")


async def test_hello_without_an_answer_is_told(server: ScriptedServer) -> None:
    server.answers_hello = False
    await expect(server, "hello was not answered within 10 s")


async def test_hello_with_a_bad_key_is_told(server: ScriptedServer) -> None:
    server.hello_udp = {"key": "short"}
    await expect(server, "key")


async def test_audio_server_that_is_not_there_is_told(server: ScriptedServer) -> None:
    server.hello_udp = {"port": 1}
    await expect(server, "127.0.0.1:1")
    server.hello_udp = {"server": "no such host"}
    await expect(server, "no such host")


async def test_lost_mqtt_connection_is_told(server: ScriptedServer) -> None:
    async def hang_up() -> None:
        server.hang_up()

    server.answer = hang_up
    await expect(server, "understood nothing", "MQTT connection was lost 1 time")
    assert server.connections == 2, "it came back by itself"


async def test_goodbye_instead_of_an_answer_is_told(server: ScriptedServer) -> None:
    async def goodbye() -> None:
        server.push({"type": "goodbye", "session_id": "s1"})

    server.answer = goodbye
    await expect(server, "goodbye")


async def test_no_answer_in_time_is_told_with_the_alert_that_was_shown(server: ScriptedServer) -> None:
    async def alert() -> None:
        server.push({"type": "alert", "status": "Error", "message": "No key", "emotion": "sad"})

    server.answer = alert
    await expect(server, "within 30 s", "Error: No key")
    await expect(server, "within 7 s", timeout_s=7.0)


@pytest.mark.parametrize("frames", [[], tone_frames(10, level=10.0)], ids=["no audio", "silence"])
async def test_answer_that_can_not_be_heard_is_not_ok(server: ScriptedServer, frames: list[bytes]) -> None:
    async def whisper() -> None:
        await server.speak(frames, "It is noon.")

    server.answer = whisper
    await expect(server, "could not be heard", "It is noon.")


async def test_options_that_can_not_be_met_raise(server: ScriptedServer) -> None:
    for changes in ({"text": "a", "pcm": SPEECH}, {"wav": Path("no-such-file")}):
        with pytest.raises(ConfigError):
            await converse(options(server, **changes))
