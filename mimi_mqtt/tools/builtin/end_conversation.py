"""The tool by which the assistant ends the conversation: `end_conversation`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.registry import Tool

END_CONVERSATION: Final = "end_conversation"

_SPEC: Final = ToolSpec(
    name=END_CONVERSATION,
    description=(
        "Ends the conversation once your answer was heard. Call it when the user says goodbye or wants you "
        "to stop listening, and say a short goodbye."
    ),
    parameters={"type": "object", "properties": {}},
)


class EndConversation:
    """The tool of one session. `end_after_turn` makes the present turn the last."""

    def __init__(self, end_after_turn: Callable[[], None]) -> None:
        self._end_after_turn = end_after_turn

    def tools(self) -> Sequence[Tool]:
        """The one tool. Made anew each time: kept here, it and the session would keep each other alive."""
        return (Tool(_SPEC, self._run),)

    async def _run(self, arguments: Mapping[str, Any]) -> str:
        self._end_after_turn()
        return "The conversation ends after your answer: say a short goodbye now, if you have not."
