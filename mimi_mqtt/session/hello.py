"""Hellos that can be answered: transports and audio formats, with the reason when one can't. Pure."""

from collections.abc import Collection
from typing import Final

from mimi_mqtt.audio.opus import SAMPLE_RATES
from mimi_mqtt.wire.messages import DeviceHello

FRAME_DURATIONS: Final = (20, 40, 60)
"""Frame lengths in ms, both ways."""

_AUDIO_OF: Final = {"mqtt": "udp", "websocket": "websocket"}  # by the control connection's transport


def refusal(hello: DeviceHello, control_transport: str, audio_transports: Collection[str]) -> str:
    """The reason why `hello` can't be answered, in words for the device's screen; empty when it can.

    `control_transport` is that of the connection it came by, `audio_transports` what the server offers.
    """
    audio, transport = hello.audio, hello.transport
    if transport != _AUDIO_OF.get(control_transport) or transport not in audio_transports:
        return f"The transport {transport[:20]!r} is not possible on this connection."
    if audio.channels != 1:
        return f"Audio must have one channel, not {audio.channels}."
    if audio.sample_rate not in SAMPLE_RATES:
        return f"A sample rate of {audio.sample_rate} Hz is not possible; 16000 is."
    if audio.frame_duration not in FRAME_DURATIONS:
        return f"Frames of {audio.frame_duration} ms are not possible; 20, 40 and 60 are."
    return ""
