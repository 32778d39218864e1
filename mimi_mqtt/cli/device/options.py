"""Options of a simulated device, and the report of what came of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device.profiles import DEFAULT
from mimi_mqtt.cli.device.updating import UpdateReport
from mimi_mqtt.wire.glyphs import TextFont
from mimi_mqtt.wire.messages import ListenMode

DropAt = Literal["idle", "connecting", "listening", "thinking", "speaking"]


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """One run. Exactly one of `say`, `wav`, `text`, `mic`, `interactive` and `pcm` is what is said; none with
    `idle_s`, the seconds for which the device is idle first and plays what it is notified of.

    `say` has one text a turn; `text` is a wake word's text, without speech; `pcm` is speech at `sample_rate`
    (Hz). `voice` names what speaks `say`: a provider, a model, or auto. `mac` None is this machine's own
    simulated device. `like` names a profile. `abort_after_ms` counts from the first audio of each reply.
    `drop_control` is the state of the first turn in which the control connection breaks; `reconnect_after_s`
    None is the profile's own time. `expect` has texts that must be in what was heard or answered, turn by
    turn. `timeout_s` is for the start and the first turn together, and for each further turn. `source` is the
    address of this machine that all connections come from; None leaves it to the system. `transport` None is
    what OTA tells; `websocket_version` is that of binary frames over a WebSocket. `tls_ca` has the
    authorities that are believed instead of the public ones; `tls_insecure` believes every certificate.
    `glyphs` is the font that the device tells, None for the profile's own. `firmware` is the version that it
    runs, None for the profile's own; with `update` it takes what it is offered, and with `lost` it does not
    come back from that.
    `camera` is the JPEG file that its camera and its screen show.
    """

    ota: str
    mac: str | None = None
    say: tuple[str, ...] = ()
    wav: Path | None = None
    text: str | None = None
    mic: bool = False
    interactive: bool = False
    pcm: Pcm | None = field(default=None, repr=False, compare=False)
    like: str = DEFAULT
    mode: ListenMode = "auto"
    language: str = "en"
    voice: str = "auto"
    sample_rate: int = 16_000
    frame_ms: int = 60
    loss_percent: float = 0.0
    jitter_ms: float = 0.0
    seed: int | None = None
    timeout_s: float = 30.0
    save: Path | None = None
    abort_after_ms: float | None = None
    drop_control: DropAt | None = None
    reconnect_after_s: float | None = None
    expect: tuple[str, ...] = ()
    source: str | None = None
    transport: Literal["mqtt", "websocket"] | None = None
    websocket_version: int = 1
    glyphs: TextFont | None = None
    tls_ca: Path | None = None
    tls_insecure: bool = False
    idle_s: float = 0.0
    firmware: str | None = None
    update: bool = False
    lost: bool = False
    camera: Path | None = None


@dataclass(frozen=True, slots=True)
class TurnReport:
    """One turn. `ok`: answered with audible speech, or interrupted after some of it was heard.

    `first_audio_ms` is from the end of the spoken audio to the first frame played; None without speech or
    answer. `received`, `overflowed` (dropped by the full queue) and `lost` count downlink packets;
    `clipped_start_ms` is audio that came before the device was speaking, `clipped_end_ms` audio that came and
    was not played when `tts stop` took effect. `tail_ms` is audio played after an `abort`; None without one.
    `glyphs` are the characters whose glyphs were pushed, `boxes` those that could not be read on the screen.
    `attempts` is above 1 when the device had to be woken again because its control connection was down.
    """

    number: int
    ok: bool
    heard: str = ""
    reply: str = ""
    first_audio_ms: int | None = None
    audio_ms: int = 0
    received: int = 0
    overflowed: int = 0
    lost: int = 0
    clipped_start_ms: int = 0
    clipped_end_ms: int = 0
    tail_ms: int | None = None
    attempts: int = 1
    tools_called: tuple[str, ...] = ()
    glyphs: str = ""
    boxes: str = ""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """The line that `--json` prints after the turn; `glyphs`, `boxes` and `error` only where there are
        any."""
        fields = {"turn": self.number, "ok": self.ok, "heard": self.heard, "reply": self.reply}
        fields |= {
            name: getattr(self, name)
            for name in (
                "first_audio_ms", "audio_ms", "received", "overflowed", "lost", "clipped_start_ms",
                "clipped_end_ms", "tail_ms", "attempts",
            )
        }  # fmt: skip
        fields["tools_called"] = list(self.tools_called)
        rare = {"glyphs": self.glyphs, "boxes": self.boxes, "error": self.error}
        return fields | {name: value for name, value in rare.items() if value}


@dataclass(frozen=True, slots=True)
class NoticeReport:
    """One notice that was played; `error` is empty when it was as a device needs it."""

    audio_ms: int
    texts: tuple[str, ...]
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Its part of the last line that `--json` prints."""
        fields: dict[str, Any] = {"audio_ms": self.audio_ms, "texts": list(self.texts)}
        return fields | ({"error": self.error} if self.error else {})


@dataclass(frozen=True, slots=True)
class Summary:
    """All turns together. `ok` means each was answered, and each notice was played; otherwise `error` says
    what went wrong first.

    `heard`, `reply` and `first_audio_ms` are the last turn's; what is counted is the sum. `lost` counts
    packets that never sounded, lost on the way or dropped by the full queue. `sessions` counts answered
    hellos, `reconnects` lost control connections.
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
    turns: tuple[TurnReport, ...] = ()
    sessions: int = 0
    reconnects: int = 0
    notices: tuple[NoticeReport, ...] = ()
    updates: tuple[UpdateReport, ...] = ()

    @classmethod
    def of(
        cls,
        turns: tuple[TurnReport, ...],
        error: str,
        sessions: int,
        reconnects: int,
        notices: tuple[NoticeReport, ...] = (),
        updates: tuple[UpdateReport, ...] = (),
    ) -> "Summary":
        """The sum of `turns`; `error` is what went wrong outside of them, if anything did."""
        errors = [
            *(turn.error for turn in turns if not turn.ok),
            *(notice.error for notice in notices),
            *(update.error for update in updates),
            error,
        ]
        error = next(filter(None, errors), "")
        last = turns[-1] if turns else None
        return cls(
            ok=bool(turns or notices or updates) and not error,
            heard=last.heard if last else "",
            reply=last.reply if last else "",
            first_audio_ms=last.first_audio_ms if last else None,
            audio_ms=sum(turn.audio_ms for turn in turns),
            lost=sum(turn.lost + turn.overflowed for turn in turns),
            clipped_start_ms=sum(turn.clipped_start_ms for turn in turns),
            clipped_end_ms=sum(turn.clipped_end_ms for turn in turns),
            tools_called=tuple(name for turn in turns for name in turn.tools_called),
            error=error
            or ("" if turns or notices or updates else "nothing was said, so nothing was answered"),
            turns=turns,
            sessions=sessions,
            reconnects=reconnects,
            notices=notices,
            updates=updates,
        )

    def to_json(self) -> dict[str, Any]:
        """The last line that `--json` prints; `error`, `notices` and `updates` only where there are
        any."""
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
            "turns": len(self.turns),
            "sessions": self.sessions,
            "reconnects": self.reconnects,
        }
        if self.notices:
            fields["notices"] = [notice.to_json() for notice in self.notices]
        if self.updates:
            fields["updates"] = [update.to_json() for update in self.updates]
        return fields if self.ok else fields | {"error": self.error}
