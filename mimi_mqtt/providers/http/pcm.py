"""The forms in which vendors take samples: little-endian bytes, and WAV files."""

import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator

from mimi_mqtt.audio import Pcm


def as_bytes(pcm: Pcm) -> bytes:
    """16-bit little-endian samples."""
    return pcm.astype("<i2", copy=False).tobytes()


async def byte_chunks(audio: AsyncIterator[Pcm]) -> AsyncGenerator[bytes, None]:
    """`audio` as 16-bit little-endian samples, chunk by chunk."""
    async for pcm in audio:
        yield as_bytes(pcm)


async def blocks(audio: AsyncIterator[Pcm], samples: int) -> AsyncGenerator[bytes, None]:
    """`audio` as 16-bit little-endian samples, `samples` at a time; the last may be fewer."""
    size, waiting = 2 * samples, bytearray()
    async for pcm in audio:
        waiting += as_bytes(pcm)
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)


def wav_file(pcm: Pcm, sample_rate: int) -> bytes:
    """The samples as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes(as_bytes(pcm))
    return file.getvalue()
