"""A device boots, connects and holds a spoken conversation, out of the box, as its user runs it."""

from pathlib import Path

import pytest

from tests.e2e.conftest import MakeServer, Server

pytestmark = pytest.mark.timeout(300)

TINY = "faster_whisper:whisper-tiny-en"


async def test_device_is_heard_and_answered_with_speech(server: Server) -> None:
    done = await server.run("device", "--ota", server.ota, "--say", "what time is it", "--json")
    assert done.code == 0, done.out + done.err + server.log
    summary = done.summary
    assert summary["ok"] is True
    assert summary["heard"] == "what time is it"
    assert summary["reply"]
    assert summary["audio_ms"] > 300
    assert summary["clipped_start_ms"] == 0
    assert summary["clipped_end_ms"] == 0


async def test_lossy_jittery_network_is_no_obstacle(make_server: MakeServer, models_dir: Path) -> None:
    server = make_server(MIMI_PROVIDERS__MODELS_DIR=str(models_dir), MIMI_PROVIDERS__STT=TINY)
    await server.start()
    for seed in ("1", "2"):
        done = await server.run(
            "device", "--ota", server.ota, "--voice", "piper-en-joe", "--say", "what time is it", "--json",
            "--loss", "5", "--jitter", "40", "--seed", seed,
        )  # fmt: skip
        assert done.code == 0, done.out + done.err + server.log
        assert done.summary["heard"] == "What time is it?"
        assert done.summary["clipped_start_ms"] == 0
        assert done.summary["clipped_end_ms"] == 0


@pytest.mark.parametrize("mode", ["manual", "realtime"])
async def test_volume_is_set_with_the_devices_own_tool(server: Server, mode: str) -> None:
    done = await server.run(
        "device", "--ota", server.ota, "--say", "set the volume to forty", "--mode", mode, "--json"
    )
    assert done.code == 0, done.out + done.err + server.log
    assert "self.audio_speaker.set_volume" in done.summary["tools_called"]


async def test_wake_word_is_greeted(server: Server) -> None:
    done = await server.run("device", "--ota", server.ota, "--text", "hi mimi", "--json")
    assert done.code == 0, done.out + done.err + server.log
    assert "Hello" in done.summary["reply"]


async def test_device_goes_on_after_a_restart_of_the_server(server: Server) -> None:
    first = await server.run("device", "--ota", server.ota, "--say", "what time is it", "--json")
    assert first.code == 0, first.out + first.err + server.log
    await server.restart()
    second = await server.run("device", "--ota", server.ota, "--say", "what time is it", "--json")
    assert second.code == 0, second.out + second.err + server.log
    assert second.summary["heard"] == "what time is it"


async def test_whoever_says_goodbye_is_said_goodbye_to_and_the_server_ends_the_session(
    server: Server,
) -> None:
    done = await server.run("device", "--ota", server.ota, "--say", "goodbye", "--json")
    assert done.code == 0, done.out + done.err + server.log
    assert "Goodbye" in done.summary["reply"]
    assert done.summary["clipped_end_ms"] == 0
    assert "closed    the server said goodbye" in done.err
