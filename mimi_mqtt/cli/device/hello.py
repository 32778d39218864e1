"""The hello exchange as a device makes it: its own message, and what it accepts as an answer. Pure.

Device contract, section 3; what a real device can't use is refused here with the reason.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mimi_mqtt.cli.device.wires import UdpWire, WebSocketWire, Wire
from mimi_mqtt.wire.glyphs import TextFont
from mimi_mqtt.wire.messages import AudioParams

_HEX_16_BYTES = re.compile("[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class AudioAccess:
    """The audio channel: its address, empty over a WebSocket, and its wire. `downlink` is the format of the
    audio that comes back, `ssrc` the session's identity on UDP."""

    server: str
    port: int
    session_id: str
    wire: Wire
    downlink: AudioParams
    ssrc: int = 0


def hello(
    uplink: AudioParams, websocket_version: int | None = None, font: TextFont | None = None
) -> dict[str, Any]:
    """The message that asks for an audio channel, over UDP or in WebSocket frames of a version.

    `font` is that of a device that takes glyphs."""
    glyphs = {} if font is None else {"text_font": asdict(font)}
    return {
        "type": "hello",
        "version": 3 if websocket_version is None else websocket_version,
        "features": {"mcp": True} | ({"glyph_push": True} if glyphs else {}),
        "transport": "udp" if websocket_version is None else "websocket",
        "audio_params": {
            "format": "opus",
            "sample_rate": uplink.sample_rate,
            "channels": uplink.channels,
            "frame_duration": uplink.frame_duration,
        },
        **glyphs,
    }


def read_answer(message: Mapping[str, Any], websocket_version: int | None = None) -> AudioAccess | str:
    """The server's hello, or the reason why a device can't use it."""
    audio = message.get("audio_params")
    given = audio if isinstance(audio, dict) else {}
    downlink = AudioParams(_number(given, "sample_rate", 24_000), 1, _number(given, "frame_duration", 60))
    session = message.get("session_id")
    session_id = session if isinstance(session, str) else ""
    if websocket_version is not None:
        if message.get("transport") != "websocket":
            return "hello was answered for another transport than websocket"
        return AudioAccess("", 0, session_id, WebSocketWire(websocket_version), downlink)
    udp = message.get("udp")
    if message.get("transport") != "udp" or not isinstance(udp, dict):
        return "hello was answered without a udp section"
    server, port, key, nonce = (udp.get(name) for name in ("server", "port", "key", "nonce"))
    if not isinstance(server, str) or not server or type(port) is not int or not 0 < port < 0x10000:
        return "hello was answered without the audio server's address"
    for name, value in (("key", key), ("nonce", nonce)):
        if not isinstance(value, str) or not _HEX_16_BYTES.fullmatch(value):
            return f"hello was answered with a {name} that is not 32 hex digits"
    secret, counter = bytes.fromhex(str(key)), bytes.fromhex(str(nonce))
    ssrc = int.from_bytes(counter[4:8])  # device contract, section 4
    return AudioAccess(server, port, session_id, UdpWire(secret, counter), downlink, ssrc)


def _number(message: Mapping[str, Any], name: str, default: int) -> int:
    value = message.get(name)
    return value if type(value) is int and 0 < value <= 192_000 else default
