"""Decoding children that a test holds at each utterance, and audio by which they know it."""

import asyncio

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.runtime.fair_queue import bind_holder
from mimi_mqtt.providers.vendors.offline.sphinx.messages import Heard
from mimi_mqtt.providers.vendors.offline.sphinx.pool import Job, Pool

_RATE = 16_000


def pcm(text: str, seconds: float = 0.0) -> Pcm:
    """Audio by whose first samples the child knows it."""
    name = np.frombuffer(text.encode("utf-16-le"), np.int16)
    return np.concatenate([name, np.ones(int(seconds * _RATE), np.int16)])


def named(audio: bytes) -> str:
    """The text of `pcm`; "rest" for a later piece of it."""
    return audio.decode("utf-16-le").rstrip("\x01") or "rest"


def submit(pool: Pool, device: str, seconds: float, *, urgent: bool = True) -> Job:
    """An utterance of `device`, which is its text, too."""
    bind_holder(device)
    return pool.submit(pcm(device, seconds), urgent=urgent)


class HeldChild:
    """A child that decodes one utterance after another, each when `go` is released once."""

    def __init__(self, decoded: list[str], go: asyncio.Semaphore, *, fails: bool = False) -> None:
        self.decoded = decoded
        self.go = go
        self._fails = fails
        self.dies = False
        """Set it to have it die when it is released."""
        self.begun = asyncio.Event()
        """Set whenever it begins one."""
        self.pid: int | None = None
        self.ended = asyncio.Event()

    async def start(self) -> None:
        """Starts, or fails as it was told."""
        if self._fails:
            raise ProviderUnavailable("offline", "no memory")
        self.pid = id(self)

    async def decode(self, pcm: bytes, *, commands: bool) -> Heard:
        """Waits for `go`."""
        text = named(pcm)
        self.decoded.append(text)
        self.begun.set()
        await self.go.acquire()
        if self.dies:
            self.pid = None
            raise ProviderUnavailable("offline", "the decoding process ended (-9)")
        return Heard(text, commands, None)

    async def aclose(self) -> None:
        """Ends it."""
        self.pid = None
        self.ended.set()
