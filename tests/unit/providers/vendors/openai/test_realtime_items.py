"""Messages as items of a conversation."""

from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall
from mimi_mqtt.providers.vendors.openai.realtime_items import items


def test_a_long_name_of_a_call_is_short_and_the_same_in_its_result() -> None:
    name = "toolu_" + "x" * 60
    (call,) = items(ChatMessage("assistant", "", tool_calls=(ToolCall(name, "light", {}),)))
    (result,) = items(ChatMessage("tool", "done", tool_call_id=name))
    assert call.get("call_id") == result.get("call_id")
    assert len(str(call.get("call_id"))) == 32


def test_a_name_that_fits_is_kept() -> None:
    (result,) = items(ChatMessage("tool", "done", tool_call_id="call_1"))
    assert result.get("call_id") == "call_1"


def test_an_answer_of_calls_alone_has_no_message() -> None:
    calls = tuple(ToolCall(str(number), "light", {"on": True}) for number in range(2))
    assert [item["type"] for item in items(ChatMessage("assistant", "", tool_calls=calls))] == [
        "function_call"
    ] * 2
