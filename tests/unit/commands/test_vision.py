"""Questions about photos: bounded in time and number, with tokens that are nobody else's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from mimi_mqtt.commands import vision
from mimi_mqtt.commands.vision import MAX_ANSWER_BYTES, TOKEN_S, UNASKED, Vision, VisionTokens
from mimi_mqtt.errors import ProviderRefused
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.runtime.fallback import LlmChain
from mimi_mqtt.providers.runtime.resilience import Limits

pytestmark = pytest.mark.virtual_time

DEVICE = "aa-bb-cc-00-11-22"
OTHER = "aa-bb-cc-00-11-23"
JPEG = b"\xff\xd8\xff"
NOW = 1_790_000_000.0


class Model(LanguageModel):
    """A model that sees, or not; it answers, fails, or never ends."""

    def __init__(self, name: str, *, sees: bool = True, answer: str = "A red kettle.") -> None:
        super().__init__(name, ProviderOptions(), Limits())
        self._sees, self.answer = sees, answer
        self.fails = self.hangs = False
        self.asked: list[Sequence[ChatMessage]] = []

    @property
    def sees(self) -> bool:
        return self._sees

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        assert not tools
        assert options.device_id == DEVICE
        self.asked.append(messages)
        if self.hangs:
            await asyncio.sleep(3600)
        if self.fails:
            raise ProviderRefused(self.name, "no")
        yield TextDelta(self.answer)


async def ask(model: LanguageModel | None, question: str = "what is it?") -> vision.Explanation:
    return await Vision(lambda _: model).explain(DEVICE, question, JPEG)


async def test_a_model_that_sees_is_shown_the_photo() -> None:
    model = Model("eye")
    explained = await ask(model)
    assert (explained.success, explained.text) == (True, "A red kettle.")
    ((system, user),) = model.asked
    assert (system.role, user.content, user.images) == ("system", "what is it?", (JPEG,))
    await ask(model, "  ")
    assert model.asked[1][1].content == UNASKED


async def test_a_model_that_can_not_see_is_passed_over_and_a_failing_one_replaced() -> None:
    blind, ill, well = Model("blind", sees=False), Model("ill"), Model("well")
    ill.fails = True
    explained = await ask(LlmChain([blind, ill, well]))
    assert explained.success
    assert (len(blind.asked), len(ill.asked), len(well.asked)) == (0, 1, 1)


@pytest.mark.parametrize("model", [None, Model("blind", sees=False), LlmChain([Model("blind", sees=False)])])
async def test_without_a_model_that_sees_the_answer_says_how_to_set_one(model: LanguageModel | None) -> None:
    explained = await ask(model)
    assert not explained.success
    assert "assistant.vision" in explained.text


async def test_words_alone_still_reach_a_model_that_can_not_see() -> None:
    blind = Model("blind", sees=False)
    chain = LlmChain([blind])
    events = [
        event async for event in chain.chat([ChatMessage("user", "hi")], (), ChatOptions(device_id=DEVICE))
    ]
    assert events == [TextDelta("A red kettle.")]


async def test_an_answer_that_does_not_come_is_given_up_before_the_device_gives_up() -> None:
    model = Model("slow")
    model.hangs = True
    began = asyncio.get_running_loop().time()
    explained = await ask(model)
    assert not explained.success
    assert asyncio.get_running_loop().time() - began <= vision.ANSWER_S


async def test_failures_are_told_without_the_vendors_words() -> None:
    model = Model("ill")
    model.fails = True
    explained = await ask(model)
    assert not explained.success
    assert "server's log" in explained.text


@pytest.mark.parametrize("answer", ["x" * 10_000, "é" * 5_000, "語" * 4_000])
async def test_an_answer_is_cut_to_what_a_device_can_send_back(answer: str) -> None:
    explained = await ask(Model("eye", answer=answer))
    assert explained.success
    assert MAX_ANSWER_BYTES - 3 <= len(explained.text.encode()) <= MAX_ANSWER_BYTES
    assert answer.startswith(explained.text)


async def test_one_photo_of_a_device_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "MAX_QUESTIONS", 1)
    asker = Vision(lambda _: None)
    assert asker.begin(DEVICE) == ""
    assert "another photo" in asker.begin(DEVICE)
    assert "too many" in asker.begin(OTHER)
    asker.end(DEVICE)
    assert asker.begin(OTHER) == ""


class House:
    """Tokens, of devices whose sessions the test sets."""

    def __init__(self) -> None:
        self.sessions = {DEVICE: "s-1", OTHER: "s-2"}
        self.keys: tuple[bytes, ...] = (b"k" * 32,)
        self.tokens = VisionTokens(lambda: self.keys, lambda device: self.sessions.get(device, ""))


async def test_a_token_is_good_for_its_device_in_its_session() -> None:
    house = House()
    token = house.tokens.grant(DEVICE, NOW)
    assert " " not in token
    assert house.tokens.session(token, DEVICE, NOW + 60) == "s-1"
    assert house.tokens.session(token, OTHER, NOW + 60) is None
    house.sessions[DEVICE] = "s-3"
    assert house.tokens.session(token, DEVICE, NOW + 60) is None
    del house.sessions[DEVICE]
    assert house.tokens.session(token, DEVICE, NOW + 60) is None
    idle = house.tokens.grant(DEVICE, NOW)
    assert house.tokens.session(idle, DEVICE, NOW + 60) == ""
    assert house.tokens.session(idle, DEVICE, NOW + TOKEN_S) is None


async def test_a_token_stays_good_while_the_secret_is_rotated() -> None:
    house = House()
    token = house.tokens.grant(DEVICE, NOW)
    house.keys = (b"n" * 32, *house.keys)
    assert house.tokens.session(token, DEVICE, NOW) == "s-1"
    house.keys = house.keys[:1]
    assert house.tokens.session(token, DEVICE, NOW) is None


CHANGES: list[Callable[[str], str]] = [
    lambda token: "",
    lambda token: token[:-1],
    lambda token: token + "x",
    lambda token: token.replace("s-1", "s-2"),
    lambda token: token.replace("s-1", ""),
    lambda token: token.replace(".", ".9", 1),
    lambda token: "..",
    lambda token: "é" * 100,
    lambda token: "s-1.99999999999999999999999999." + "A" * 22,
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_token_is_none(change: Callable[[str], str]) -> None:
    house = House()
    token = change(house.tokens.grant(DEVICE, NOW))
    assert house.tokens.session(token, DEVICE, NOW) is None
