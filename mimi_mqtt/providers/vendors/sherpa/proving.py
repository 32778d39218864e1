"""Loading a model of sherpa-onnx in another process first, as the library ends the one in which it can't."""

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, Literal

from mimi_mqtt.errors import ProviderNotConfigured

LOADING_S: Final = 180.0
"""Longest time for loading a model, in seconds."""

_proven: Final[set[tuple[object, ...]]] = set()
"""Attempts that succeeded, with the files as they were."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The model that is loaded: the arguments of `probe`."""

    role: Literal["stt", "tts"]
    folder: Path
    kind: str = ""
    language: str = ""
    kind_is_chosen: bool = True
    """True where an option says which kind it is."""


async def prove(provider: str, trial: Trial, files: Iterable[str]) -> None:
    """Returns when a process could load the model of `trial`, which is read from `files`.

    What was proven once is not tried again before the files change. Raises ProviderNotConfigured with what
    the library said.
    """
    state = (*astuple(trial), *map(_as_it_is, sorted(files)))
    if state not in _proven:
        await _attempt(provider, trial)
        _proven.add(state)


def _as_it_is(path: str) -> tuple[str, int, int]:
    stat = Path(path).stat()
    return path, stat.st_mtime_ns, stat.st_size


async def _attempt(provider: str, trial: Trial) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mimi_mqtt.providers.vendors.sherpa.probe"),
        *(trial.role, str(trial.folder), trial.kind, trial.language),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LOADING_S):
            _, said = await child.communicate()
    except TimeoutError as error:
        raise ProviderNotConfigured(
            provider, f"the model in {trial.folder} does not load within {LOADING_S:g} s"
        ) from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        kind = f", or set providers.options.{provider}.{trial.role}_kind" if trial.kind_is_chosen else ""
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"code {child.returncode}"]
        raise ProviderNotConfigured(
            provider,
            f"sherpa-onnx can't use the model in {trial.folder} ({last[0][-200:]}): get it anew{kind}",
        )
