"""A whole conversation with its surroundings: scripted providers and a device that plays, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.ports import ConversationSetup
from mimi_mqtt.voice.services import Renewal, VoiceServices
from tests.fakes.voice import (
    DOWNLINK,
    SILENCE,
    SPEECH,
    UPLINK,
    FakeDevice,
    FakeHearing,
    FakeTools,
    MemoryLog,
    WatchedStream,
    services,
)


class Scene:
    """One conversation with its surroundings."""

    def __init__(
        self,
        with_services: VoiceServices,
        tools: FakeTools | None = None,
        language: str = "en",
        renewal: Renewal | None = None,
    ) -> None:
        self.services = with_services
        self.device = FakeDevice()
        self.tools = tools or FakeTools()
        self.loop = asyncio.get_running_loop()
        setup = ConversationSetup(
            device=DeviceFacts("aa-bb-cc-00-11-22"),
            user=UserFacts(),
            session_id="s1",
            uplink=UPLINK,
            downlink=DOWNLINK,
            output=self.device,
            tools=self.tools,
            language=language,
        )
        self.conversation = Conversation(setup, with_services, renewal)
        self.device.on_played = self.conversation.played
        self._sequence = 0

    @property
    def ear(self) -> WatchedStream:
        assert isinstance(self.services.hearing, FakeHearing)
        return self.services.hearing.ears[0]

    @property
    def records(self) -> list[tuple[str, str, str]]:
        assert isinstance(self.services.log, MemoryLog)
        return [(record.outcome, record.heard, record.reply) for record in self.services.log.records]

    def packet(self, opus: bytes) -> None:
        self._sequence += 1
        self.conversation.audio(opus, self._sequence, 0, self.loop.time())

    async def send(self, opus: bytes, count: int) -> None:
        """Sends packets at their real pace."""
        for _ in range(count):
            self.packet(opus)
            await asyncio.sleep(0.06)

    async def say(self, speech: int = 10, silence: int = 13) -> None:
        await self.send(SPEECH, speech)
        await self.send(SILENCE, silence)

    async def idle(self) -> None:
        """Waits until no turn thinks or speaks."""
        await self.until(lambda: not self.conversation.busy)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Lets time pass until `reached`; virtual time is patient, but not for ever."""
        for _ in range(100_000):
            if reached():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it never came to that")


@asynccontextmanager
async def scene(
    with_services: VoiceServices | None = None, tools: FakeTools | None = None, *, language: str = "en"
) -> AsyncIterator[Scene]:
    made = Scene(with_services or services(), tools, language)
    try:
        yield made
    finally:
        await made.conversation.aclose()
        made.services.encoders.close()
        ours = {task for task in asyncio.all_tasks() if task.get_name().startswith(("turn-", "reply-"))}
        assert not ours, "a turn left tasks behind"
        assert not made.device.stray, "a device discards audio outside of speech"
