"""The hello exchange as a device makes it: its own message, and what it accepts as an answer. Pure.

Device contract, section 3; what a real device can't use is refused here with the reason.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimi_mqtt.wire.messages import AudioParams

_HEX_16_BYTES = re.compile("[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class AudioAccess:
    """Address and key of the audio channel; `downlink` is the format of the audio that comes back."""

    server: str
    port: int
    session_id: str
    key: bytes
    nonce: bytes
    downlink: AudioParams


def hello(uplink: AudioParams) -> dict[str, Any]:
    """The message that asks for an audio channel."""
    return {
        "type": "hello",
        "version": 3,
        "features": {"mcp": True},
        "transport": "udp",
        "audio_params": {
            "format": "opus",
            "sample_rate": uplink.sample_rate,
            "channels": uplink.channels,
            "frame_duration": uplink.frame_duration,
        },
    }


def read_answer(message: Mapping[str, Any]) -> AudioAccess | str:
    """The server's hello, or the reason why a device can't use it."""
    udp = message.get("udp")
    if message.get("transport") != "udp" or not isinstance(udp, dict):
        return "hello was answered without a udp section"
    server, port, key, nonce = (udp.get(name) for name in ("server", "port", "key", "nonce"))
    if not isinstance(server, str) or not server or type(port) is not int or not 0 < port < 0x10000:
        return "hello was answered without the audio server's address"
    for name, value in (("key", key), ("nonce", nonce)):
        if not isinstance(value, str) or not _HEX_16_BYTES.fullmatch(value):
            return f"hello was answered with a {name} that is not 32 hex digits"
    audio = message.get("audio_params")
    given = audio if isinstance(audio, dict) else {}
    session_id = message.get("session_id")
    return AudioAccess(
        server=server,
        port=port,
        session_id=session_id if isinstance(session_id, str) else "",
        key=bytes.fromhex(str(key)),
        nonce=bytes.fromhex(str(nonce)),
        downlink=AudioParams(_number(given, "sample_rate", 24_000), 1, _number(given, "frame_duration", 60)),
    )


def _number(message: Mapping[str, Any], name: str, default: int) -> int:
    value = message.get(name)
    return value if type(value) is int and 0 < value <= 192_000 else default
