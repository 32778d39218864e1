"""Live sessions as people and programs see them: who talks, since when, and how well the audio travels."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from mimi_mqtt.session.link import AudioStats
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.session.session import Session

TurnState: TypeAlias = Literal["opened", "listening", "thinking", "speaking"]
"""`opened`: the device has not listened yet."""


@dataclass(frozen=True, slots=True)
class SessionOverview:
    """One session at one moment. `audio` counts packets of the device's audio."""

    session_id: str
    device_id: str
    transport: str
    agent: str
    language: str
    since: datetime
    state: TurnState
    audio: AudioStats


class LiveSessions:
    """The live sessions of one manager."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager

    def __iter__(self) -> Iterator[SessionOverview]:
        """All of them, by their ids."""
        for session in sorted(self._manager.sessions(), key=lambda each: each.session_id):
            yield self._overview(session)

    def live(self) -> Iterator[tuple[str, TurnState, AudioStats]]:
        """Device, state and audio of each, in any order: for counting."""
        for session in self._manager.sessions():
            yield session.device_id, _state(session), session.audio_stats

    def get(self, session_id: str) -> SessionOverview | None:
        """The session with that id, if it lives."""
        for session in self._manager.sessions():
            if session.session_id == session_id:
                return self._overview(session)
        return None

    def _overview(self, session: Session) -> SessionOverview:
        participants = self._manager.participants(session.device)
        age = timedelta(seconds=self._manager.playout.now() - session.opened_at)
        return SessionOverview(
            session.session_id,
            session.device_id,
            session.hello.transport,
            participants.agent.key,
            session.language,
            datetime.now(UTC) - age,
            _state(session),
            session.audio_stats,
        )


def _state(session: Session) -> TurnState:
    if session.speaking:
        return "speaking"
    if session.busy:
        return "thinking"
    return "listening" if session.listened else "opened"
