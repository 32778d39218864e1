"""Hellos that can be answered: transports and audio formats, with the reason when one can't. Pure."""

from collections.abc import Collection
from typing import Final

from mimi_mqtt.audio.opus import SAMPLE_RATES
from mimi_mqtt.wire.messages import DeviceHello

UPLINK_FRAME_MS: Final = (10, 20, 40, 60, 80, 100, 120)
"""Frame lengths of devices, in ms, of those that Opus packets can have (RFC 6716 section 3.2.5): applications
of Espressif's own client choose among these (device contract, section 8)."""
DOWNLINK_FRAME_MS: Final = (20, 40, 60)
"""Frame lengths of what is spoken, in ms."""

_AUDIO_OF: Final = {"mqtt": "udp", "websocket": "websocket"}  # by the control connection's transport


def downlink_frame_ms(hello: DeviceHello) -> int:
    """The frame length of what is spoken: the device's own where it is one of these, else the longest."""
    asked = hello.audio.frame_duration
    return asked if asked in DOWNLINK_FRAME_MS else DOWNLINK_FRAME_MS[-1]


def refusal(hello: DeviceHello, control_transport: str, audio_transports: Collection[str]) -> str:
    """The reason why `hello` can't be answered, in words for the device's screen; empty when it can.

    `control_transport` is that of the connection it came by, `audio_transports` what the server offers.
    """
    audio, transport = hello.audio, hello.transport
    if transport != _AUDIO_OF.get(control_transport) or transport not in audio_transports:
        return f"The transport {transport[:20]!r} is not possible on this connection."
    if audio.channels not in (1, 2):
        return f"Audio must have one channel or two, not {audio.channels}."
    if audio.sample_rate not in SAMPLE_RATES:
        return f"A sample rate of {audio.sample_rate} Hz is not possible; 16000 is."
    if audio.frame_duration not in UPLINK_FRAME_MS:
        possible = ", ".join(map(str, UPLINK_FRAME_MS))
        return f"Frames of {audio.frame_duration} ms are not possible; {possible} are."
    return ""
