"""Replays of recorded turns for people, with the agent's providers of now or with others; bounded in number
and time."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, cast, get_args

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.errors import Conflict, FilesError, Invalid, LimitReached, NotFound, OggError, ProviderTimeout
from mimi_mqtt.files.recordings import Recordings
from mimi_mqtt.files.uploads import Seer
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.memory.history import ConversationHistory
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.store import tables
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.viewers import Asker
from mimi_mqtt.voice.pool import VoicePool
from mimi_mqtt.voice.replay import (
    DOWNLINK,
    Question,
    Replayed,
    ReplayOfTurn,
    ReplayWish,
    decoded,
    replay,
    trimmed,
)
from mimi_mqtt.wire.messages import ListenMode
from mimi_mqtt.wire.ogg import GRANULE_RATE, OggOpusReader, OggOpusWriter, OpusPacket

_log = logging.getLogger(__name__)

MAX_AT_ONCE: Final = 2
"""Replays that run at the same time; each caller has one."""
REPLAY_TIMEOUT_S: Final = 120.0
"""Longest time of a replay, start of its providers included, in seconds."""
RETRY_AFTER_S: Final = 5.0
_PACKETS_A_PAGE: Final = 16


class TurnReplays:
    """Replays turns of `history` with the sound of `recordings`, by the voices of `voices`. `settings`
    returns the settings in force, `device` finds a device by its id."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        voices: VoicePool,
        history: ConversationHistory,
        recordings: Recordings,
        device: Callable[[str], DeviceInfo | None],
    ) -> None:
        self._settings = settings
        self._voices = voices
        self._history = history
        self._recordings = recordings
        self._device = device
        self._running: set[str] = set()

    async def run(
        self, asker: Asker, seer: Seer, author: Author, conversation_id: str, number: int, wish: ReplayWish
    ) -> ReplayOfTurn:
        """Asks a turn again. It is not counted as a turn; an entry in the audit has its cost.

        Raises NotFound, Invalid for an agent or provider that there is none of, Conflict for a turn in which
        nobody asked anything, LimitReached, ConfigError, and ProviderError for a provider that does not
        start. A provider that fails to answer is told in the result.
        """
        conversation, turn = await self._history.turn(asker, conversation_id, number)
        settings, key = self._wished(turn, wish)
        with self._slot(author.name):
            try:
                async with asyncio.timeout(REPLAY_TIMEOUT_S):
                    question = await self._question(settings, conversation, turn, seer)
                    async with self._voices.audition(settings, key) as services:
                        if services.llm.has_side_effects:
                            raise Conflict(
                                f"{services.llm.name} acts by itself when it is asked: "
                                "name another language model by llm"
                            )
                        replayed = await replay(services, question)
            except TimeoutError:
                raise ProviderTimeout("replay", f"not over within {REPLAY_TIMEOUT_S:g} s") from None
        providers: dict[str, str] = {str(role): name for role, name in wish.providers().items()}
        providers |= {use.role: use.name for use in replayed.uses}
        made = ReplayOfTurn(key, providers, replayed, _ogg(replayed))
        told: dict[str, object] = {"agent": key, "providers": providers, "outcome": replayed.outcome}
        if made.cost is not None:
            told["cost"] = made.cost
        await self._history.replayed(author, conversation_id, number, told)
        return ReplayOfTurn(key, providers, replayed, _ogg(replayed))

    def _wished(self, turn: tables.Turn, wish: ReplayWish) -> tuple[Settings, str]:
        """The settings in force with what is wished for in the agent that is asked, and its key."""
        settings = self._settings()
        agents = settings.every_agent
        key = wish.agent or (turn.agent if turn.agent in agents else DEFAULT_AGENT)
        if key not in agents:
            raise Invalid(f"agent: there is no agent {key[:64]!r}: see GET /agents")
        changes: dict[str, object] = {}
        for role, name in wish.providers().items():
            if role not in registry.option_models(name):
                raise Invalid(f"{role}: there is no provider {name[:64]!r} for {role}: see GET /providers")
            changes[role] = (name,)
        if wish.tts and isinstance(agents[key].voice, str) and agents[key].voice not in ("female", "male"):
            changes["voice"] = None  # a voice's name is that of another provider
        if not changes:
            return settings, key
        if key == DEFAULT_AGENT:
            assistant = settings.assistant.model_copy(update=changes)
            return settings.model_copy(update={"assistant": assistant}), key
        changed = settings.agents[key].model_copy(update=changes)
        return settings.model_copy(update={"agents": {**settings.agents, key: changed}}), key

    async def _question(
        self, settings: Settings, conversation: tables.Conversation, turn: tables.Turn, seer: Seer
    ) -> Question:
        """The recorded turn. Raises Conflict when nothing was asked in it."""
        audio = await self._audio(turn, seer) if turn.kind in ("", "utterance") else None
        if turn.kind in ("announcement", "greeting") or (audio is None and not turn.heard):
            raise Conflict("nothing was asked in this turn: there is nothing to answer again")
        known = self._device(conversation.device_id)
        if known is not None and known.owner_id != conversation.owner_id:
            known = None  # it is another person's by now
        voice = settings.voice
        earlier = await self._history.earlier(conversation.id, turn.number, limit=voice.history_turns)
        mode = turn.mode if turn.mode in get_args(ListenMode) else None
        return Question(
            heard=turn.heard,
            audio=audio,
            mode=cast("ListenMode | None", mode),
            language=(known.language if known is not None else "") or settings.server.language,
            device=known.facts if known is not None else DeviceFacts(),
            user=UserFacts(known.user_name, known.language) if known is not None else UserFacts(),
            stages_ms=turn.timings_ms,
            earlier=[(each.heard, each.reply, each.outcome == "answered") for each in earlier],
        )

    async def _audio(self, turn: tables.Turn, seer: Seer) -> Pcm | None:
        """The words of the user, or None where that is not kept, or can't be read any more."""
        try:
            row = await self._recordings.get(turn.conversation_id, turn.number, "user", seer)
        except NotFound:
            return None
        reader = OggOpusReader()
        packets: list[bytes] = []
        try:
            async for part in self._recordings.blobs.read(row.sha256):
                packets += reader.feed(part)
        except (OggError, FilesError) as error:
            _log.warning("turn %d of %s is asked again by its words: %s", turn.number, row.session_id, error)
            return None
        pcm = await asyncio.to_thread(lambda: trimmed(decoded(packets)))
        return pcm if pcm.size else None

    @contextmanager
    def _slot(self, name: str) -> Iterator[None]:
        if name in self._running or len(self._running) >= MAX_AT_ONCE:
            raise LimitReached("another replay is running: try again when it is over", RETRY_AFTER_S)
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)


def _ogg(replayed: Replayed) -> bytes:
    """The sound of the reply as an Ogg Opus file."""
    if not replayed.packets:
        return b""
    samples = GRANULE_RATE * DOWNLINK.frame_ms // 1000
    packets = [OpusPacket(packet, samples) for packet in replayed.packets]
    writer = OggOpusWriter(1, input_rate=DOWNLINK.sample_rate)
    begun = writer.begin()
    pages = [
        writer.write(packets[at : at + _PACKETS_A_PAGE]) for at in range(0, len(packets), _PACKETS_A_PAGE)
    ]
    return b"".join([begun, *pages, writer.end()])
