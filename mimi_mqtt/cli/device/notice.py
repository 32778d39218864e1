"""Playing of a `notify`: the sound is fetched, decoded and played as firmware 2.5.0 does (device contract,
section 3)."""

import asyncio
from collections.abc import Callable
from typing import Final

import httpx

from mimi_mqtt.audio.opus import OpusDecoder, packet_duration_samples
from mimi_mqtt.cli.device.actions import NoticePlayed
from mimi_mqtt.errors import AudioError, OggError
from mimi_mqtt.wire.ogg import GRANULE_RATE, OggOpusReader

FIRST_BYTE_S: Final = 5.0
"""Longest wait for the first byte, in seconds."""
BETWEEN_S: Final = 30.0
"""Longest wait for further bytes, in seconds."""
RATE: Final = 24_000
"""Rate at which the sound is decoded, in Hz."""

_SHORTEST, _LONGEST = 240, 5_760  # of a packet, in samples at 48 kHz: 5 to 120 ms
_STEREO: Final = 0x04


async def play(url: str, texts: tuple[str, ...], heard: Callable[[bytes], None]) -> NoticePlayed:
    """Fetches and plays the sound at `url`, in the time that it takes; `heard` is given its samples (int16,
    mono, `RATE`). Never raises but CancelledError."""
    loop = asyncio.get_running_loop()
    reader, decoder = OggOpusReader(), OpusDecoder(RATE)
    samples, began, error = 0, loop.time(), ""
    try:
        timeout = httpx.Timeout(FIRST_BYTE_S, read=BETWEEN_S)
        # Nothing in the request says who asks: the address is the secret.
        async with (
            httpx.AsyncClient(trust_env=False, timeout=timeout, headers={"User-Agent": ""}) as client,
            asyncio.timeout(FIRST_BYTE_S) as first,
            client.stream("GET", url) as answer,
        ):
            if not answer.is_success:
                raise OggError(f"the server answered {answer.status_code}")
            async for piece in answer.aiter_raw():
                first.reschedule(None)
                for packet in reader.feed(piece):
                    length = packet_duration_samples(packet, GRANULE_RATE) if packet else 0
                    if not _SHORTEST <= length <= _LONGEST or packet[0] & _STEREO:
                        raise OggError("a packet is not mono, or not 5 to 120 ms long")
                    samples += length
                    heard(decoder.decode(packet).tobytes())
        reader.finish()
    except TimeoutError:
        error = f"no first byte came within {FIRST_BYTE_S:g} s"
    except httpx.HTTPError as failure:
        error = f"the sound could not be fetched: {type(failure).__name__}"
    except (OggError, AudioError) as failure:
        error = str(failure)
    await asyncio.sleep(max(0.0, samples / GRANULE_RATE - (loop.time() - began)))
    return NoticePlayed(samples * 1000 // GRANULE_RATE, texts, error)
