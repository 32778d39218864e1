"""Real local models, through the command line: what is said is understood, done and answered."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeServer, Server

pytestmark = pytest.mark.timeout(300)

COMMANDS = [
    ("set the volume to forty", "self.audio_speaker.set_volume"),
    ("turn the volume up", "self.audio_speaker.set_volume"),
    ("set a timer for ten minutes", ""),
    ("what is six times seven", ""),
]


async def served(make_server: MakeServer, models: Path) -> Server:
    made = make_server(MIMI_PROVIDERS__MODELS_DIR=str(models))
    await made.start()
    return made


async def test_english_commands_of_a_neural_voice_are_heard_and_done(
    make_server: MakeServer, models_dir: Path
) -> None:
    server = await served(make_server, models_dir)
    said = [word for text, _ in COMMANDS for word in ("--say", text)]
    done = await server.run(
        "device", "--ota", server.ota, "--json", "--voice", "piper-en-joe", *said, timeout=150
    )
    assert done.code == 0, done.out + done.err + server.log
    turns = [json.loads(line) for line in done.out.splitlines()][: len(COMMANDS)]
    for turn, (_, tool) in zip(turns, COMMANDS, strict=True):
        assert tool in [*turn["tools_called"], ""], turn
    assert turns[0]["heard"].lower().strip(".") in ("set the volume to forty", "set the volume to 40")
    assert "10 minutes" in turns[2]["reply"]
    assert "42" in turns[3]["reply"]


async def test_japanese_is_heard_and_answered(make_server: MakeServer, models_dir: Path) -> None:
    server = await served(make_server, models_dir)
    done = await server.run(
        "device", "--ota", server.ota, "--json", "--language", "ja", "--voice", "kokoro-ja",
        "--say", "今何時ですか", timeout=150,
    )  # fmt: skip
    assert done.code == 0, done.out + done.err + server.log
    assert "何時ですか" in done.summary["heard"]
    assert "時" in done.summary["reply"]
    assert "です" in done.summary["reply"]


async def test_first_start_to_first_answer_is_one_command(make_server: MakeServer, models_dir: Path) -> None:
    server = make_server()
    (server.folder / "broker.yaml").write_text("another server's: [\n")
    (server.folder / "house.yaml").write_text(f"providers: {{models_dir: {str(models_dir)!r}}}\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt", "serve", "--config", "house.yaml", "--say", "what time is it",
        cwd=server.folder, env=server.environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    shown: list[str] = []
    try:
        async with asyncio.timeout(120):
            while not any(line.startswith("answer") for line in shown):
                line = (await process.stdout.readline()).decode()
                assert line, "".join(shown)
                shown.append(line)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 0
    assert any(line.startswith("heard") and "what time is it" in line.lower() for line in shown)
