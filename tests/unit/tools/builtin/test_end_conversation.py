"""The tool by which the assistant ends the conversation."""

from mimi_mqtt.tools.builtin.end_conversation import END_CONVERSATION, EndConversation
from mimi_mqtt.tools.registry import ToolBox


async def test_the_turn_is_told_to_be_the_last_and_the_model_to_say_goodbye() -> None:
    told: list[str] = []
    box = ToolBox(EndConversation(lambda: told.append("last")))
    assert [spec.name for spec in box.specs()] == [END_CONVERSATION]
    assert "goodbye" in await box.call(END_CONVERSATION, {})
    assert told == ["last"]
