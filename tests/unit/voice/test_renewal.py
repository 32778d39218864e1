"""A conversation whose agent is changed by a new configuration: from its next turn on it is the new one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mimi_mqtt.config import AgentSettings
from mimi_mqtt.voice.services import VoiceServices
from tests.fakes.scene import Scene
from tests.fakes.voice import SPEECH, ScriptedLlm, ScriptedStt, ToneTts, Wait, services

pytestmark = pytest.mark.virtual_time


class Renewing:
    """Newer services, given when they are asked for. A `Renewal`."""

    def __init__(self, first: VoiceServices) -> None:
        self.on_change: Callable[[], None] | None = None
        self._services = first
        self.released = 0

    def current(self) -> VoiceServices:
        return self._services

    def release(self) -> None:
        self.released += 1

    def replace(self, newer: VoiceServices) -> None:
        """The configuration was changed."""
        self._services = newer
        assert self.on_change is not None
        self.on_change()


@asynccontextmanager
async def talking(first: VoiceServices) -> AsyncIterator[tuple[Scene, Renewing]]:
    renewing = Renewing(first)
    scene = Scene(first, renewal=renewing)
    try:
        yield scene, renewing
    finally:
        await scene.conversation.aclose()
        first.encoders.close()
    assert renewing.released == 1


def newer(
    before: VoiceServices, llm: ScriptedLlm, tts: ToneTts | None = None, **agent: object
) -> VoiceServices:
    """Other services on the same ears and log."""
    made = services(stt=ScriptedStt("and now"), llm=llm, tts=tts, agent=AgentSettings.model_validate(agent))
    made.encoders.close()
    made.hearing, made.log, made.encoders = before.hearing, before.log, before.encoders
    return made


async def test_the_next_turn_is_another_agents_and_knows_what_was_said() -> None:
    first = services(stt=ScriptedStt("hello"), llm=ScriptedLlm(["Old."]))
    async with talking(first) as (s, renewing):
        s.conversation.listen("manual")
        await s.send(SPEECH, 10)
        s.conversation.stop_listening()
        await s.device.until("stop")
        await s.idle()
        llm, tts = ScriptedLlm(["New."]), ToneTts()
        renewing.replace(newer(first, llm, tts, prompt="You are new.", language="de", voice="eva"))
        s.conversation.listen("manual")
        await s.send(SPEECH, 10)
        s.conversation.stop_listening()
        await s.device.until("stop", 2)
        await s.idle()
        assert s.records == [("answered", "hello", "Old."), ("answered", "and now", "New.")]
        assert [(message.role, message.content) for message in llm.requests[0]] == [
            ("system", "You are new."),
            ("user", "hello"),
            ("assistant", "Old."),
            ("user", "and now"),
        ]
        assert {*tts.voices} == {("de", "eva")}


async def test_a_turn_that_runs_ends_with_what_it_began_with() -> None:
    first = services(llm=ScriptedLlm(["It goes on. ", Wait(2.0), "To its end."]))
    async with talking(first) as (s, renewing):
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio")
        renewing.replace(newer(first, ScriptedLlm(["New."])))
        await s.device.until("stop")
        await s.idle()
        await s.say()
        await s.device.until("stop", 2)
        await s.idle()
        assert [reply for _, _, reply in s.records] == ["It goes on. To its end.", "New."]


async def test_a_device_that_listens_already_is_answered_by_the_new_agent() -> None:
    first = services()
    async with talking(first) as (s, renewing):
        s.conversation.listen("auto")
        await asyncio.sleep(1)
        renewing.replace(newer(first, ScriptedLlm(["New."])))
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert ("answered", "and now", "New.") in s.records


async def test_whoever_is_speaking_when_the_agent_changes_is_heard_to_the_end() -> None:
    first = services(stt=ScriptedStt("hello"), llm=ScriptedLlm(["Old."]))
    async with talking(first) as (s, renewing):
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        renewing.replace(newer(first, ScriptedLlm(["New."])))
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records[0] == ("answered", "hello", "Old.")


async def test_the_wake_word_is_greeted_by_the_new_agent() -> None:
    first = services(agent=AgentSettings(greeting="Old!"))
    async with talking(first) as (s, renewing):
        renewing.replace(newer(first, ScriptedLlm(["New."]), greeting="New!"))
        s.conversation.wake_word("hey")
        await s.device.until("stop")
        assert s.device.texts("sentence") == ["New!"]
