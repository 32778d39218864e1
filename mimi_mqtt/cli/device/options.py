"""What a simulated device is asked to do, and what came of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimi_mqtt.audio import Pcm
from mimi_mqtt.wire.messages import ListenMode


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """One conversation. Exactly one of `say`, `wav`, `text`, `mic` and `pcm` is what the device is told.

    `text` is a wake word's text, without speech; `pcm` is speech at `sample_rate` (Hz). `voice` names the
    text-to-speech provider that speaks `say`. `mac` None is this machine's own simulated device.
    """

    ota: str
    mac: str | None = None
    say: str | None = None
    wav: Path | None = None
    text: str | None = None
    mic: bool = False
    pcm: Pcm | None = field(default=None, repr=False, compare=False)
    mode: ListenMode = "auto"
    language: str = "en"
    voice: str = "offline"
    sample_rate: int = 16_000
    frame_ms: int = 60
    loss_percent: float = 0.0
    jitter_ms: float = 0.0
    seed: int | None = None
    timeout_s: float = 30.0
    save: Path | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of it. `ok` means answered with audible speech; otherwise `error` says what went wrong.

    `first_audio_ms` is from the end of the spoken audio to the first frame played; None without speech or
    answer. `lost` counts downlink packets that never sounded; `clipped_start_ms` is audio that came before
    the device was speaking, `clipped_end_ms` audio that came and was not played when `tts stop` took effect.
    """

    ok: bool
    heard: str = ""
    reply: str = ""
    first_audio_ms: int | None = None
    audio_ms: int = 0
    lost: int = 0
    clipped_start_ms: int = 0
    clipped_end_ms: int = 0
    tools_called: tuple[str, ...] = ()
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints; `error` only where there is one."""
        fields: dict[str, Any] = {
            "ok": self.ok,
            "heard": self.heard,
            "reply": self.reply,
            "first_audio_ms": self.first_audio_ms,
            "audio_ms": self.audio_ms,
            "lost": self.lost,
            "clipped_start_ms": self.clipped_start_ms,
            "clipped_end_ms": self.clipped_end_ms,
            "tools_called": list(self.tools_called),
        }
        return fields if self.ok else fields | {"error": self.error}
