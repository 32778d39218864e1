"""Each family of devices, as the real command line simulates it, talks to the running server."""

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.conftest import Command, Server, made_servers

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

TURNS = (
    "--say", "what time is it", "--expect", "time", "--say", "set the volume to forty", "--expect", "40",
)  # fmt: skip


_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A running server with the offline voice, for all devices of this module."""
    async with made_servers(tmp_path_factory.mktemp("profiles")) as make:
        running = make()
        await running.start()
        yield running


async def talk(server: Server, *arguments: str) -> Command:
    """A conversation of a new device."""
    mac = f"02:00:00:00:01:{next(_numbers):02x}"
    return await server.run("device", "--ota", server.ota, "--mac", mac, "--json", *arguments, timeout=150)


def turns(done: Command) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out.splitlines()][:-1]


@pytest.mark.parametrize("like", ["stock-2.4", "stock-2.5", "espressif", "py-xiaozhi"])
async def test_each_family_has_several_turns_and_interrupts_one(server: Server, like: str) -> None:
    done = await talk(server, "--like", like, *TURNS)
    assert done.code == 0, done.out + done.err + server.log
    assert done.summary["turns"] == 2
    assert done.summary["sessions"] == 1
    assert done.summary["tools_called"] == ["self.audio_speaker.set_volume"]
    for turn in turns(done):
        assert turn["ok"] is True
        assert (turn["overflowed"], turn["clipped_start_ms"], turn["clipped_end_ms"]) == (0, 0, 0)
        assert turn["received"] * 60 == turn["audio_ms"]

    done = await talk(server, "--like", like, "--abort-after", "300", "--say", "tell me about yourself")
    assert done.code == 0, done.out + done.err + server.log
    (turn,) = turns(done)
    assert turn["tail_ms"] <= 600, "no more than what was sent ahead of the interruption"
    assert turn["audio_ms"] < 1_500


async def test_espressif_device_is_told_to_use_a_websocket(server: Server) -> None:
    done = await talk(server, "--like", "espressif", "--say", "what time is it")
    assert done.code == 0, done.out + done.err + server.log
    assert "channel   the WebSocket" in done.err


@pytest.mark.parametrize("at", ["idle", "connecting", "listening", "thinking", "speaking"])
async def test_stock_device_goes_on_after_its_control_connection_dropped(server: Server, at: str) -> None:
    done = await talk(
        server, "--like", "stock-2.5", "--drop-control", at,
        "--say", "what time is it", "--say", "what time is it", "--expect", "", "--expect", "time",
    )  # fmt: skip
    assert done.code == 0, done.out + done.err + server.log
    assert done.summary["reconnects"] == 1
    assert done.summary["sessions"] == (2 if at == "connecting" else 1)


@pytest.mark.parametrize("shown", ["turn 1", "heard", "answer"])
async def test_device_of_a_killed_server_is_sent_home_and_goes_on(server: Server, shown: str) -> None:
    """Killed while the device listens, waits or speaks: idle after its reconnect, the next turn works."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt", "device", "--ota", server.ota, "--json", "--reconnect-after", "5",
        "--say", "what time is it", "--say", "what time is it",
        cwd=server.folder, env=server.environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(120):
            while not (line := (await process.stderr.readline()).decode()).startswith(shown):
                assert line, "the device ended"
            await server.restart(signal.SIGKILL)
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    *turns, summary = map(json.loads, out.decode().splitlines())
    assert turns[-1]["turn"] == 2, err.decode() + server.log
    assert turns[-1]["ok"] is True, err.decode() + server.log
    assert (summary["sessions"], summary["reconnects"]) == (2, 1)


async def test_what_is_typed_is_said_until_the_end_of_input(server: Server) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt", "device", "--ota", server.ota, "--interactive", "--json",
        cwd=server.folder, env=server.environ | server.ports,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(90):
        out, err = await process.communicate(b"what time is it\n\n/abort\nset the volume to forty")
    assert process.returncode == 0, out + err
    first, second, summary = map(json.loads, out.decode().splitlines())
    assert (first["heard"], second["heard"]) == ("what time is it", "set the volume to forty")
    assert first["tail_ms"] is not None
    assert second["tail_ms"] is None
    assert summary["sessions"] == 1


async def test_unmet_expectation_is_exit_code_1(server: Server) -> None:
    done = await talk(server, "--say", "what time is it", "--expect", "platypus")
    assert done.code == 1
    assert "expected 'platypus', but 'what time is it' was heard" in done.err
    assert done.summary["ok"] is False
