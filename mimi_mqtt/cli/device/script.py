"""Turns as a person gives them: speech made beforehand, or lines typed while the device runs."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Final, Literal

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ConfigError

MAX_LINE_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Spoken:
    """A turn's words in frames; `frames` None: nothing is spoken, the wake word `wake_word` is all."""

    frames: tuple[Pcm, ...] | None
    wake_word: str = ""
    microphone: bool = False
    """True: this machine's microphone is sent instead."""


@dataclass(frozen=True, slots=True)
class Line:
    """A typed line: words to say, or a command."""

    kind: Literal["say", "mic", "abort", "quit", "unknown"]
    text: str = ""


COMMANDS: Final = (
    "type what is said; /mic speaks with the microphone, /abort interrupts the answer, /quit ends"
)


def read_line(text: str) -> Line | None:
    """The meaning of one typed line; None for an empty one."""
    text = text.strip()
    if not text:
        return None
    match text.lower():
        case "/mic":
            return Line("mic")
        case "/abort":
            return Line("abort")
        case "/quit" | "/exit":
            return Line("quit")
    return Line("unknown" if text.startswith("/") else "say", text)


async def typed_lines() -> AsyncGenerator[str]:
    """Lines of standard input, a terminal, pipe or file, until its end.

    A thread reads the descriptor itself: a thread that holds the lock of `sys.stdin` would hang the
    interpreter's exit. Raises ConfigError: there is no standard input.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue(1)
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError) as error:  # None, no file, closed
        raise ConfigError("--interactive: there is no standard input to read from") from error

    def tell(line: str | None) -> bool:
        """Hands a line over; waits until the one before was taken. False: the reader is gone."""
        putting = lines.put(line)
        try:
            asyncio.run_coroutine_threadsafe(putting, loop).result()
        except (RuntimeError, CancelledError):  # the loop is closed, or closing
            putting.close()
            return False
        return True

    def read() -> None:
        rest = b""
        while True:
            try:
                data = os.read(descriptor, MAX_LINE_BYTES)
            except OSError:
                data = b""
            if not data:
                break
            *whole, rest = (rest + data).split(b"\n")
            rest = rest[:MAX_LINE_BYTES]
            if not all(tell(line.decode(errors="replace")) for line in whole):
                return
        if rest:
            tell(rest.decode(errors="replace"))
        tell(None)

    threading.Thread(target=read, name="typed lines", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line
