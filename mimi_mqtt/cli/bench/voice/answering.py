"""From the end of speech to the first sound of the answer, through a whole server; part of `bench voice`.

The server is a process of its own with the default local providers; a simulated device speaks to it as people
do. Its own work counts, too, where both share the cores.
"""

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.cli.bench._corpus import LEVEL, RATE, at_level, to_pcm
from mimi_mqtt.cli.bench.voice.providers import percentile
from mimi_mqtt.cli.device.client import converse
from mimi_mqtt.cli.device.options import DeviceOptions
from mimi_mqtt.errors import StartupError

_START_S: Final = 120.0
_STOP_S: Final = 30.0
_QUIET: Final = 5.0
_OTA: Final = re.compile(r"http://127\.0\.0\.1:\d+\S*/ota/")


async def figures(
    speech: Sequence[NDArray[np.float64]], language: str, models_dir: Path, providers: dict[str, str]
) -> dict[str, object]:
    """First audio of the answer to each of `speech` (16 kHz, trimmed), by the server's `providers` by role.

    Raises StartupError when the server does not start.
    """
    first: list[float] = []
    errors: list[str] = []
    random = np.random.default_rng(1)
    async with _server(models_dir, language, providers) as ota:
        for number, said in enumerate(speech):
            levelled = at_level(said, LEVEL)
            pcm = to_pcm(levelled + random.normal(0, _QUIET, len(levelled)))
            # Interrupted at its first sound: how it goes on is of no interest here.
            summary = await converse(
                DeviceOptions(ota=ota, pcm=pcm, sample_rate=RATE, language=language, abort_after_ms=300),
                lambda told: None,
            )
            if summary.ok and summary.first_audio_ms is not None:
                if number:  # the first turn loads what is loaded on use
                    first.append(summary.first_audio_ms / 1000)
            else:
                errors.append(summary.error)
    return {
        "language": language,
        **providers,
        "speech_end_to_first_audio_ms_p50": percentile(first, 50),
        "speech_end_to_first_audio_ms_p95": percentile(first, 95),
        "turns": len(first),
        "unanswered": len(errors),
    }


@asynccontextmanager
async def _server(models_dir: Path, language: str, providers: dict[str, str]) -> AsyncIterator[str]:
    """A server on free ports; yields its OTA address."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MIMI_")}
        environ |= {
            "MIMI_SERVER__DATA_DIR": str(Path(folder) / "data"),
            "MIMI_SERVER__LANGUAGE": language,
            "MIMI_PROVIDERS__MODELS_DIR": str(models_dir),
            "MIMI_MQTT__BIND": "127.0.0.1:0",
            "MIMI_UDP__BIND": "127.0.0.1:0",
            "MIMI_HTTP__BIND": "127.0.0.1:0",
            **{f"MIMI_PROVIDERS__{role.upper()}": name for role, name in providers.items()},
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mimi_mqtt", "serve",
            env=environ, cwd=folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        reading: asyncio.Task[None] | None = None
        try:
            stdout = process.stdout
            if stdout is None:
                raise StartupError("the server has no output")
            async with asyncio.timeout(_START_S):
                ota = await _address(stdout)
            reading = asyncio.create_task(_discard(stdout))
            yield ota
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
            if reading is not None:
                await reading


async def _address(stdout: asyncio.StreamReader) -> str:
    """The OTA address, which a server tells once it is ready. Raises StartupError with its last line."""
    last = ""
    while line := (await stdout.readline()).decode(errors="replace"):
        if found := _OTA.search(line):
            return found[0]
        last = line.strip() or last
    raise StartupError(f"the server did not start: {last}")


async def _discard(stdout: asyncio.StreamReader) -> None:
    """Reads what the server goes on telling, so that it never waits for a reader."""
    while await stdout.read(65_536):
        pass
