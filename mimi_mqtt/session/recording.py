"""Recording of conversations, where an agent or a device keeps the sound of turns: what the device sent and
what it was sent, cut into turns. Nothing is done to audio that is on its way, but for keeping a reference."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.files.recordings import MAX_SIDE_BYTES, Recorded, Recordings
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.session.session import VoiceConversation
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.voice.ports import Announcement, ConversationSetup, TurnLog
from mimi_mqtt.wire.messages import ListenMode

SILENT_BYTES: Final = 2
"""Longest packet of a silent encoder (DTX), in bytes."""
LEADING_SILENCE: Final = 8
"""Silent packets that are kept before the first word."""


class Tape:
    """The packets of one conversation since its last turn. Of the user's side what comes after the answer
    began belongs to the next turn."""

    __slots__ = ("_cut", "_heard", "_heard_bytes", "_silent", "_spoken", "_spoken_bytes")

    def __init__(self) -> None:
        self._heard: deque[bytes] = deque()
        self._heard_bytes = 0
        self._silent = True
        self._cut: int | None = None  # packets heard before the first one of the answer
        self._spoken: list[bytes] = []
        self._spoken_bytes = 0

    def heard(self, opus: bytes) -> None:
        """A packet came from the device."""
        self._heard.append(opus)
        self._heard_bytes += len(opus)
        self._silent = self._silent and len(opus) <= SILENT_BYTES
        while (self._silent and len(self._heard) > LEADING_SILENCE) or self._heard_bytes > MAX_SIDE_BYTES:
            self._heard_bytes -= len(self._heard.popleft())
            if self._cut:
                self._cut -= 1

    def forget_heard(self) -> None:
        """The user took back what was said."""
        self._heard.clear()
        self._heard_bytes, self._silent = 0, True
        self._cut = None if self._cut is None else 0

    def spoken(self, opus: bytes) -> None:
        """A packet left for the device."""
        if self._cut is None:
            self._cut = len(self._heard)
        if self._spoken_bytes + len(opus) <= MAX_SIDE_BYTES:
            self._spoken.append(opus)
            self._spoken_bytes += len(opus)

    def turn_ended(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """The packets of the user's and the assistant's side of the turn that is over."""
        cut = len(self._heard) if self._cut is None else self._cut
        said = tuple(self._heard.popleft() for _ in range(cut))
        answered = tuple(self._spoken)
        self._heard_bytes = sum(map(len, self._heard))
        self._silent = all(len(packet) <= SILENT_BYTES for packet in self._heard)
        self._cut, self._spoken, self._spoken_bytes = None, [], 0
        if all(len(packet) <= SILENT_BYTES for packet in said):
            said = ()
        return said, answered


class Recorder:
    """The conversations that are being recorded. `device_of` finds a device that may connect."""

    def __init__(self, recordings: Recordings, device_of: Callable[[str], DeviceInfo | None]) -> None:
        self._recordings = recordings
        self._device_of = device_of
        self._tapes: dict[str, tuple[Tape, ConversationSetup]] = {}

    def __len__(self) -> int:
        """Conversations that are being recorded."""
        return len(self._tapes)

    def wants(self, device_id: str, agent: AgentSettings) -> bool:
        """True when turns of a device with this agent are recorded: as the device says, else the agent."""
        device = self._device_of(device_id)
        if device is not None and device.recordings:
            return device.recordings == "on"
        return agent.recordings

    def records(self, session_id: str) -> bool:
        """True while a session is being recorded."""
        return session_id in self._tapes

    def record(self, conversation: VoiceConversation, setup: ConversationSetup) -> VoiceConversation:
        """The conversation, recorded until it is closed."""
        tape = Tape()
        self._tapes[setup.session_id] = tape, setup
        return RecordedConversation(conversation, tape, lambda: self._tapes.pop(setup.session_id, None))

    def turn_ended(self, record: TurnRecord) -> None:
        """A turn is over: its sound is stored in the background."""
        if (found := self._tapes.get(record.session_id)) is None:
            return
        tape, setup = found
        device, now = self._device_of(record.device_id), datetime.now(UTC)
        owner_id, group_id = setup.owner_id, ""
        # A transfer ends the session: what was said in it stays with the owner that it began with.
        if device is not None and owner_id in ("", device.owner_id):
            owner_id, group_id = device.owner_id, device.group_id
        said, answered = tape.turn_ended()
        for side, packets, rate in (
            ("user", said, setup.uplink.sample_rate),
            ("assistant", answered, setup.downlink.sample_rate),
        ):
            self._recordings.add(
                Recorded(
                    session_id=record.session_id,
                    turn=record.number,
                    side="user" if side == "user" else "assistant",
                    device_id=record.device_id,
                    owner_id=owner_id,
                    group_id=group_id,
                    rate=rate,
                    packets=packets,
                    created_at=now,
                )
            )


class RecordedTurns:
    """Turn log that also tells the recorder of each turn. Implements `voice.ports.TurnLog`."""

    def __init__(self, log: TurnLog, recorder: Recorder) -> None:
        self._log = log
        self._recorder = recorder

    def add_turn(self, record: TurnRecord) -> None:
        """See `voice.ports.TurnLog`."""
        self._log.add_turn(record)
        self._recorder.turn_ended(record)


class RecordedConversation:
    """A conversation whose audio is put on a tape, both ways. Implements `session.VoiceConversation`."""

    __slots__ = ("_closed", "_inner", "_tape")

    def __init__(self, inner: VoiceConversation, tape: Tape, closed: Callable[[], object]) -> None:
        self._inner = inner
        self._tape = tape
        self._closed = closed

    @property
    def last_activity(self) -> float:
        """See `VoiceConversation`, and so below."""
        return self._inner.last_activity

    @property
    def busy(self) -> bool:
        """True while a turn is thinking or speaking."""
        return self._inner.busy

    @property
    def language(self) -> str:
        """The language that is spoken at present."""
        return self._inner.language

    def listen(self, mode: ListenMode) -> None:
        """The device started to listen."""
        self._inner.listen(mode)

    def stop_listening(self) -> None:
        """The device stopped listening."""
        self._inner.stop_listening()

    def wake_word(self, text: str) -> None:
        """The device heard its wake word."""
        self._inner.wake_word(text)

    def typed(self, text: str) -> None:
        """The user typed a question."""
        self._inner.typed(text)

    def played(self, opus: bytes, timestamp: int) -> None:
        """Keeps a frame that left for the device."""
        self._tape.spoken(opus)
        self._inner.played(opus, timestamp)

    def audio(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        """Keeps a packet of the device."""
        self._tape.heard(opus)
        self._inner.audio(opus, sequence, timestamp, now)

    def abort(self, reason: str) -> bool:
        """The device aborts the answer, or what it said so far, which is not kept."""
        dropped = self._inner.abort(reason)
        if dropped:
            self._tape.forget_heard()
        return dropped

    def announce(self, announced: str | Announcement) -> None:
        """Says a text as a turn of its own."""
        self._inner.announce(announced)

    def end_after_turn(self) -> None:
        """Makes the present turn the last."""
        self._inner.end_after_turn()

    async def drain(self, within_s: float) -> None:
        """Lets the sentence being spoken end."""
        await self._inner.drain(within_s)

    async def aclose(self) -> None:
        """Ends the conversation, and then its recording."""
        try:
            await self._inner.aclose()
        finally:
            self._closed()
