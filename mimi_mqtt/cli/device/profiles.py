"""Profiles: in what the families of devices differ, as far as a server can notice it. Data only.

The facts are the device contract's; each field names its section. What the contract leaves open for
py-xiaozhi (its queue, its lost connection) follows py-xiaozhi's own source.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from mimi_mqtt.wire.glyphs import TextFont

_COMMON: Final = frozenset({"hello", "goodbye", "mcp", "tts", "stt", "llm", "system"})


@dataclass(frozen=True, slots=True)
class Profile:
    """One family of devices."""

    name: str
    """The word that `--like` takes."""
    summary: str
    """One line for `--help`."""

    version: str
    """`application.version` of the OTA request (section 1); from 2.5.0 on a server may send `notify`."""
    user_agent: str
    """User-Agent of the OTA request (section 1); Espressif's has no slash (section 8)."""
    minimal_headers: bool = False
    """True: OTA is sent Device-Id, Client-Id, User-Agent and Content-Type only (section 8)."""
    heap_is_text: bool = True
    """True: `minimum_free_heap_size` is a string (section 1); False: a number (section 8)."""
    activation: Literal["poll", "nested", "ask-ota"] = "poll"
    """After a code was shown: polls `/activate` with `{}` (section 2), or with the signed version 2 body
    inside `Payload` as py-xiaozhi does, or asks OTA again and never polls (section 8)."""

    subscribe_qos: Literal[0, 1] | None = None
    """QoS of its SUBSCRIBE to `subscribe_topic` after each connect; None: it never subscribes (section 3)."""
    keepalive_s: int = 240
    """Keepalive in seconds where OTA names none (section 3)."""
    obeys_keepalive: bool = True
    """True: OTA's `keepalive` replaces `keepalive_s`; Espressif's 90 s are fixed (section 8)."""
    reconnect_s: float = 10.0
    """Seconds from a lost control connection to the device's own next attempt (section 3)."""
    outlives_control: bool = True
    """True: the audio channel goes on without its control connection (section 3)."""
    needs_port_8883: bool = False
    """True: a real device connects to port 8883 with TLS, whatever OTA's endpoint is (section 8)."""

    understands: frozenset[str] = _COMMON | {"alert"}
    """Message types it acts on; others are ignored (sections 3 and 8)."""
    closes_without_id: bool = False
    """True: a `goodbye` without `session_id` closes the channel, as in older builds (section 3)."""
    auto_mode: str = "auto"
    """The word for the automatic mode in `listen`; Espressif's may be "unknown" (section 8)."""
    abort_reason: str = ""
    """`reason` of `abort` on a button press (sections 3 and 8); empty: the field is left out."""
    mcp_error_codes: bool = True
    """True: MCP errors carry a `code`, as from 2.5.0 on (section 3)."""

    text_font: TextFont | None = None
    """The font it tells in hello, with `features.glyph_push` (section 7); None: it takes no glyphs."""

    queue_packets: int = 20
    """Packets that wait for the decoder at most; one more is dropped without a trace (section 3)."""
    dtx: bool = True
    """True: silence goes out as Opus packets of one byte (section 4)."""
    tick_timestamps: bool = False
    """True: uplink timestamps are a tick count in ms (section 8); False: 0 (section 4)."""
    takes_equal_sequence: bool = False
    """True: a datagram with the last one's sequence is played (section 8)."""

    def running(self, version: str) -> "Profile":
        """This device with another version of its firmware."""
        board, slash, _ = self.user_agent.partition("/")
        return replace(self, version=version, user_agent=f"{board}/{version}" if slash else board)


DEFAULT: Final = "stock-2.5"

PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile(
            name="stock-2.4",
            summary="XiaoZhi firmware 2.4.2: 40 packets of audio wait at most",
            version="2.4.2",
            user_agent="mimi-simulated/2.4.2",
            mcp_error_codes=False,
            queue_packets=40,
        ),
        Profile(
            name=DEFAULT,
            summary="XiaoZhi firmware 2.5.0: 20 packets of audio wait at most",
            version="2.5.0",
            user_agent="mimi-simulated/2.5.0",
            text_font=TextFont("noto-v1", "common", 20, 4),
            understands=_COMMON | {"alert", "notify"},
        ),
        Profile(
            name="espressif",
            summary="Espressif's esp_xiaozhi over MQTT: subscribes, mode unknown, ticks as timestamps",
            version="0.1.1",
            user_agent="esp32s3",
            minimal_headers=True,
            heap_is_text=False,
            activation="ask-ota",
            subscribe_qos=0,
            keepalive_s=90,
            obeys_keepalive=False,
            needs_port_8883=True,
            understands=_COMMON,
            auto_mode="unknown",
            abort_reason="unknown",
            # Its queue is the application's choice: the smaller of the stock firmware's two.
            queue_packets=20,
            dtx=False,
            tick_timestamps=True,
            takes_equal_sequence=True,
        ),
        Profile(
            name="py-xiaozhi",
            summary="the desktop client: subscribes with QoS 1, its channel ends with its connection",
            version="2.0.0",
            user_agent="mimi-simulated/py-xiaozhi-2.0.0",
            activation="nested",
            subscribe_qos=1,
            keepalive_s=90,
            obeys_keepalive=False,
            reconnect_s=1.0,
            outlives_control=False,
            understands=_COMMON,
            closes_without_id=True,
            mcp_error_codes=False,
            queue_packets=500,
            dtx=False,
        ),
    )
}
