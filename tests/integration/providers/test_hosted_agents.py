"""Dify, Coze and Home Assistant: whose conversation it is, and what their own words for failure mean."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, TextDelta
from tests.integration.providers.asking import QUESTION, events, model, text
from tests.servers import coze_server, dify_server, home_assistant_server
from tests.servers.coze_server import CozeServer
from tests.servers.dify_server import DifyServer
from tests.servers.home_assistant_server import HomeAssistantServer
from tests.servers.vendor import Cut, Fault, Status
from tests.unit.providers.fakes import metric

LATER = (
    *QUESTION,
    ChatMessage("assistant", "good day"),
    ChatMessage("user", "what did I say?"),
)


@pytest.fixture
async def dify() -> AsyncIterator[DifyServer]:
    running = DifyServer()
    await running.start()
    yield running
    await running.aclose()


@pytest.fixture
async def coze() -> AsyncIterator[CozeServer]:
    running = CozeServer()
    await running.start()
    yield running
    await running.aclose()


@pytest.fixture
async def house() -> AsyncIterator[HomeAssistantServer]:
    running = HomeAssistantServer()
    await running.start()
    yield running
    await running.aclose()


def dify_options(server: DifyServer, **changes: Any) -> Mapping[str, Any]:
    return {"base_url": f"{server.url}/v1", "api_key": dify_server.KEY, **changes}


def coze_options(server: CozeServer, **changes: Any) -> Mapping[str, Any]:
    return {"base_url": server.url, "api_key": coze_server.KEY, "bot_id": coze_server.BOT, **changes}


def house_options(server: HomeAssistantServer, **changes: Any) -> Mapping[str, Any]:
    return {"base_url": server.url, "api_key": home_assistant_server.TOKEN, **changes}


# ── Dify ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_dify_continues_the_devices_conversation_until_a_new_one_begins(dify: DifyServer) -> None:
    async with model("dify", dify_options(dify, llm_inputs={"house": "red"})) as llm:
        await text(llm, device_id="a", language="de")
        await text(llm, LATER, device_id="a")
        await text(llm, device_id="b")
        await text(llm, device_id="a")
        await text(llm, LATER, device_id="b")
    asked = [request.fields for request in dify.asked]
    conversations = ["", "conversation-1", "", "", "conversation-2"]
    assert [fields["conversation_id"] for fields in asked] == conversations
    assert [fields["user"] for fields in asked] == ["a", "a", "b", "a", "b"]
    assert asked[1]["query"] == "what did I say?"
    assert asked[0]["inputs"] == {"system_prompt": "Be brief.", "language": "de", "house": "red"}


async def test_dify_is_told_what_was_said_where_it_can_not_know(dify: DifyServer) -> None:
    async with model("dify", dify_options(dify)) as llm:
        await text(llm, LATER, device_id="a")
        dify.conversations.clear()
        assert await text(llm, LATER, device_id="a") == "good day"
        await text(llm, LATER)
    told = "Our conversation so far:\nUser: hello\nAssistant: good day\n\nUser: what did I say?"
    queries = [request.fields["query"] for request in dify.asked]
    # After a restart; then the forgotten conversation, and at once again with a new one; then for nobody.
    assert queries == [told, "what did I say?", told, told]


async def test_dify_forgets_a_conversation_that_failed(dify: DifyServer) -> None:
    async with model("dify", dify_options(dify)) as llm:
        await text(llm, device_id="a")
        dify.faults.append(Cut(1))
        with pytest.raises(ProviderUnavailable):
            await text(llm, LATER, device_id="a")
        await text(llm, LATER, device_id="a")
    assert [request.fields["conversation_id"] for request in dify.asked] == ["", "conversation-1", ""]


async def test_dify_keeps_a_conversation_that_was_interrupted(dify: DifyServer) -> None:
    async with model("dify", dify_options(dify)) as llm:
        async with aclosing(llm.chat(QUESTION, (), ChatOptions(device_id="a"))) as answer:
            await anext(answer)
        await text(llm, LATER, device_id="a")
    assert [request.fields["conversation_id"] for request in dify.asked] == ["", "conversation-1"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"event": "error", "status": 400, "code": "x", "message": "so it is"}, ProviderRefused),
        ({"event": "error", "status": 429, "code": "x", "message": "so it is"}, ProviderRateLimited),
        (
            {"event": "error", "status": 500, "code": "completion_request_error", "message": "so it is"},
            ProviderUnavailable,
        ),
        (
            {"event": "workflow_finished", "data": {"status": "failed", "error": "so it is"}},
            ProviderUnavailable,
        ),
        ({"event": "message_replace", "answer": "…"}, ProviderRefused),
        ({"event": "message", "answer": "half"}, ProviderBadAnswer),
    ],
)
async def test_an_event_of_difys_that_ends_the_answer_has_its_kind(
    dify: DifyServer, event: Mapping[str, Any], expected: type[Exception]
) -> None:
    dify.events = (event,)
    async with model("dify", dify_options(dify)) as llm:
        with pytest.raises(expected):
            await text(llm)


async def test_an_agent_of_difys_speaks_too(dify: DifyServer) -> None:
    dify.events = (
        {"event": "agent_thought", "thought": "hmm"},
        {"event": "agent_message", "answer": "Yes."},
        {"event": "message_end"},
    )
    async with model("dify", dify_options(dify)) as llm:
        assert await text(llm) == "Yes."


# ── Coze ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_coze_is_told_the_dialogue_as_it_was_heard(coze: CozeServer) -> None:
    async with model("coze", coze_options(coze, llm_variables={"house": "red"})) as llm:
        await text(llm, LATER, device_id="a")
    sent = coze.asked[0].fields
    assert (sent["user_id"], sent["auto_save_history"], sent["stream"]) == ("a", False, True)
    assert sent["custom_variables"] == {"house": "red"}
    messages = sent["additional_messages"]
    assert [(message["role"], message["type"], message["content"]) for message in messages] == [
        ("user", "question", "hello"),
        ("assistant", "answer", "good day"),
        ("user", "question", "what did I say?"),
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [(4013, ProviderRateLimited), (4200, ProviderRefused), (5000, ProviderUnavailable)],
)
async def test_cozes_codes_have_their_kind_wherever_they_come(
    coze: CozeServer, code: int, expected: type[Exception]
) -> None:
    async with model("coze", coze_options(coze)) as llm:
        coze.refusal = {"code": code, "msg": "so it is"}
        with pytest.raises(expected, match="so it is"):
            await text(llm)
        coze.refusal = None
        coze.events = (("error", {"code": code, "msg": "so it is"}),)
        with pytest.raises(expected, match="so it is"):
            await text(llm)
        last_error = {"code": code, "msg": "so it is"}
        coze.events = (("conversation.chat.failed", {"status": "failed", "last_error": last_error}),)
        with pytest.raises(expected, match="so it is"):
            await text(llm)


async def test_only_the_answer_of_a_bot_is_spoken(coze: CozeServer) -> None:
    call = {**coze_server.answer("{}"), "type": "function_call"}
    coze.events = (("conversation.message.delta", call), *coze.events)
    async with model("coze", coze_options(coze)) as llm:
        assert await text(llm) == "good day"


async def test_a_bot_that_waits_for_a_local_plugin_is_a_refusal(coze: CozeServer) -> None:
    coze.events = (("conversation.chat.requires_action", {"status": "requires_action"}),)
    async with model("coze", coze_options(coze)) as llm:
        with pytest.raises(ProviderRefused, match="plugin"):
            await text(llm)


async def test_an_answer_of_cozes_without_its_end_is_bad(coze: CozeServer) -> None:
    coze.events = (coze_server.delta("half"),)
    async with model("coze", coze_options(coze)) as llm:
        with pytest.raises(ProviderBadAnswer):
            await text(llm)


async def test_coze_needs_a_key_and_a_bot() -> None:
    with pytest.raises(ProviderNotConfigured, match=r"COZE_API_TOKEN.*COZE_BOT_ID"):
        async with model("coze", {}):
            pass


# ── Home Assistant ───────────────────────────────────────────────────────────────────────────────────────


async def test_home_assistant_keeps_the_devices_conversation(house: HomeAssistantServer) -> None:
    async with model("home_assistant", house_options(house)) as llm:
        await text(llm, device_id="a", language="de-DE")
        await text(llm, LATER, device_id="a", language="de-DE")
        await text(llm, device_id="a", language="de-DE")
    assert [request.fields for request in house.asked] == [
        {"text": "hello", "language": "de-DE"},
        {"text": "what did I say?", "language": "de-DE", "conversation_id": "01J1"},
        {"text": "hello", "language": "de-DE"},
    ]


async def test_home_assistants_agent_and_language_can_be_chosen(house: HomeAssistantServer) -> None:
    async with model(
        "home_assistant", house_options(house, agent_id="conversation.x", llm_language="*")
    ) as llm:
        await text(llm)
    assert house.asked[0].fields == {"text": "hello", "agent_id": "conversation.x"}


async def test_what_home_assistant_did_not_understand_it_says_itself(house: HomeAssistantServer) -> None:
    house.response_type = "error"
    house.speech = {"plain": {"speech": "Sorry, I couldn't understand that", "extra_data": None}}
    async with model("home_assistant", house_options(house)) as llm:
        assert await text(llm) == "Sorry, I couldn't understand that"


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", TextDelta("Done.")),
        ("de-AT", TextDelta("Erledigt.")),
        ("zh_CN", TextDelta("好了。")),
        ("nl", TextDelta("Done.", language="en")),
    ],
)
@pytest.mark.parametrize("speech", [{}, {"plain": {"speech": "", "extra_data": None}}])
async def test_what_home_assistant_did_without_a_word_is_confirmed_in_the_turns_language(
    house: HomeAssistantServer, language: str, said: TextDelta, speech: Mapping[str, Any]
) -> None:
    house.response_type, house.speech = "action_done", speech
    async with model("home_assistant", house_options(house)) as llm:
        assert await events(llm, language=language) == [said]


@pytest.mark.parametrize(
    ("kind", "failed"),
    [("query_answer", ()), ("action_done", ({"name": "Oven", "type": "entity", "id": "switch.oven"},))],
)
async def test_an_answer_without_words_is_bad_when_nothing_was_done(
    house: HomeAssistantServer, kind: str, failed: Sequence[Mapping[str, str]]
) -> None:
    house.response_type, house.speech, house.failed = kind, {}, failed
    async with model("home_assistant", house_options(house)) as llm:
        with pytest.raises(ProviderBadAnswer):
            await events(llm)
        assert llm.has_side_effects


@pytest.mark.parametrize("fault", [Cut(), Status(500), Status(503)])
async def test_a_sentence_that_may_have_been_carried_out_is_not_said_to_home_assistant_twice(
    house: HomeAssistantServer, fault: Fault
) -> None:
    house.faults.append(fault)
    async with model("home_assistant", house_options(house)) as llm:
        with pytest.raises(ProviderUnavailable) as failure:
            await events(llm)
    assert len(house.asked) == 1
    assert not failure.value.not_sent


async def test_home_assistant_is_asked_again_where_nobody_heard(house: HomeAssistantServer) -> None:
    options = house_options(house, base_url="http://127.0.0.1:9")
    before = metric("mimi_provider_requests_total", role="llm", name="home_assistant")
    async with model("home_assistant", options) as llm:
        with pytest.raises(ProviderUnavailable) as failure:
            await events(llm)
        assert failure.value.not_sent
        tried = metric("mimi_provider_requests_total", role="llm", name="home_assistant") - before
        assert tried == 1 + llm.limits.retries
