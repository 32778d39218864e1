"""What the model is told of itself, anew for each answer."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from mimi_mqtt.config import AgentSettings
from mimi_mqtt.config.prompt import DeviceFacts, PromptTemplate, UserFacts
from mimi_mqtt.voice.answer.system_prompt import PATIENCE_S, SystemPrompt
from tests.fakes.scene import scene
from tests.fakes.voice import ScriptedLlm, services

pytestmark = pytest.mark.virtual_time

REMEMBERING = AgentSettings(name="Max", prompt="I am {{ agent.name }}. {{ memory }}", wake_word="answer")


@dataclass
class SlowMemory:
    """Takes its time."""

    seconds: float = 0.1
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def recall(self, device_id: str, session_id: str) -> str:
        self.asked.append((device_id, session_id))
        await asyncio.sleep(self.seconds)
        return "We spoke of tea."


def prompts(llm: ScriptedLlm) -> list[str]:
    assert {request[0].role for request in llm.requests} == {"system"}
    return [request[0].content for request in llm.requests]


def test_each_answer_is_told_its_own_time_and_language() -> None:
    clock = iter(datetime(2026, 11, 21, 18, minute, tzinfo=UTC) for minute in (1, 2))
    prompt = SystemPrompt(
        PromptTemplate("{{ time.strftime('%H:%M') }} {{ language }} {{ device.name }} {{ user.name }}"),
        agent="Max",
        device=DeviceFacts(name="Desk"),
        user=UserFacts("Anna"),
        now=lambda: next(clock),
    )
    assert [prompt.text("de"), prompt.text("vi")] == ["18:01 de Desk Anna", "18:02 vi Desk Anna"]


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Lima", None])
def test_the_time_is_that_of_peoples_time_zone(zone: str | None) -> None:
    template = PromptTemplate("{{ time.strftime('%z') }}")
    prompt = SystemPrompt(template, agent="Max", device=DeviceFacts(), user=UserFacts(), timezone=zone)
    here = datetime.now(ZoneInfo(zone)) if zone else datetime.now().astimezone()
    assert prompt.text("en") == f"{here:%z}"


async def test_a_first_answer_waits_a_little_for_the_memory() -> None:
    llm, memory = ScriptedLlm(["Hi."]), SlowMemory()
    made = services(agent=REMEMBERING, llm=llm)
    made.memory = memory
    async with scene(made) as s:
        s.conversation.wake_word("hello")
        await s.device.until("stop")
    assert prompts(llm) == ["I am Max. We spoke of tea."]
    assert memory.asked == [("aa-bb-cc-00-11-22", "s1")]


async def test_a_slow_memory_is_told_later() -> None:
    llm = ScriptedLlm(["Hi."], ["Hi."])
    made = services(agent=REMEMBERING, llm=llm)
    made.memory = SlowMemory(seconds=PATIENCE_S * 2)
    async with scene(made) as s:
        for times in (1, 2):
            began = s.loop.time()
            s.conversation.wake_word("hello")
            await s.until(lambda times=times: len(llm.requests) == times)  # type: ignore[misc]
            waited = s.loop.time() - began
            assert (waited >= PATIENCE_S) == (times == 1)
            await s.device.until("stop", times)
            await asyncio.sleep(PATIENCE_S)
    assert prompts(llm) == ["I am Max.", "I am Max. We spoke of tea."]


async def test_a_memory_that_does_not_come_is_waited_for_once() -> None:
    prompt = SystemPrompt(
        PromptTemplate("{{ memory }}"), agent="Max", device=DeviceFacts(), user=UserFacts(), remembers=True
    )
    loop = asyncio.get_running_loop()
    waited = []
    for _ in range(2):
        began = loop.time()
        await prompt.complete()
        waited.append(loop.time() - began)
    assert waited == [pytest.approx(PATIENCE_S), 0]


async def test_who_does_not_tell_of_memory_does_not_read_it() -> None:
    memory = SlowMemory()
    made = services(agent=AgentSettings(wake_word="answer"))
    made.memory = memory
    async with scene(made) as s:
        s.conversation.wake_word("hello")
        await s.device.until("stop")
    assert memory.asked == []


async def test_a_conversation_that_ends_early_leaves_no_reading_behind() -> None:
    made = services(agent=REMEMBERING)
    made.memory = SlowMemory(seconds=1)
    async with scene(made) as s:
        s.conversation.listen("auto")
