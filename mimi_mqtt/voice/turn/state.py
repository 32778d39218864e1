"""State table of a conversation: events, and the states that they lead to. Pure.

The table is the diagram. An event without an entry for the present state is the far side's mistake, or a
message that crossed one of ours: it is ignored, with `refusal` as the reason.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from mimi_mqtt.wire.messages import ListenMode


class TurnState(Enum):
    """State of a conversation, as the server acts for the device."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"


class TurnEvent(Enum):
    """Events of a conversation."""

    LISTEN = "listen"
    """The device listens: it said so, or goes on listening after a turn."""
    STOP_LISTENING = "stop listening"
    """The device stopped before anything was said."""
    UTTERANCE = "utterance"
    """The user has finished speaking."""
    NOTHING_HEARD = "nothing heard"
    """There was no speech, or none that could be understood."""
    WAKE_WORD = "wake word"
    """The wake word was heard and calls for a reply."""
    ANNOUNCE = "announce"
    """The server has something to say of its own accord."""
    SPEECH = "speech"
    """There is a reply: `tts start` goes out."""
    DONE = "done"
    """The turn is over, well or badly."""
    ABORT = "abort"
    """The device asks for silence."""


_I, _L, _T, _S = TurnState.IDLE, TurnState.LISTENING, TurnState.THINKING, TurnState.SPEAKING
_E = TurnEvent

TABLE: Final[Mapping[tuple[TurnState, TurnEvent], TurnState]] = MappingProxyType({
    (_I, _E.LISTEN): _L,
    (_I, _E.WAKE_WORD): _T,
    (_I, _E.ANNOUNCE): _T,

    (_L, _E.LISTEN): _L,
    (_L, _E.STOP_LISTENING): _I,
    (_L, _E.NOTHING_HEARD): _I,
    (_L, _E.UTTERANCE): _T,
    (_L, _E.WAKE_WORD): _T,
    (_L, _E.ANNOUNCE): _T,
    (_L, _E.DONE): _I,

    (_T, _E.SPEECH): _S,
    (_T, _E.NOTHING_HEARD): _I,
    (_T, _E.DONE): _I,
    (_T, _E.ABORT): _I,
    (_T, _E.LISTEN): _L,
    (_T, _E.WAKE_WORD): _T,

    (_S, _E.DONE): _I,
    (_S, _E.ABORT): _I,
    (_S, _E.LISTEN): _L,
    (_S, _E.WAKE_WORD): _T,
})  # fmt: skip


def next_state(state: TurnState, event: TurnEvent) -> TurnState | None:
    """The state that `event` leads to from `state`; None when it has no place there (see `refusal`)."""
    return TABLE.get((state, event))


def refusal(state: TurnState, event: TurnEvent) -> str:
    """The reason for ignoring `event` in `state`, for the log."""
    fits = [at.value for at in TurnState if (at, event) in TABLE]
    return f"{event.value!r} has no meaning while {state.value}, only while {' or '.join(fits)}"


def resumes(mode: ListenMode | None) -> bool:
    """True when a device in `mode` (None: it never listened) goes on listening after a turn."""
    return mode in ("auto", "realtime")


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {TurnState.IDLE.value}"]
    lines += [f"    {at.value} --> {to.value}: {event.value}" for (at, event), to in TABLE.items()]
    return "\n".join(lines)
