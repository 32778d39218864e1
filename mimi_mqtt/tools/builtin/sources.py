"""Registration of the built-in tools and of the device's own, in the order in which they win a name."""

from mimi_mqtt.tools.builtin.clock import Clock
from mimi_mqtt.tools.builtin.end_conversation import EndConversation
from mimi_mqtt.tools.builtin.timers import Timers
from mimi_mqtt.tools.catalog import ToolCatalog, ToolRequest
from mimi_mqtt.tools.registry import ToolSource


def register_builtins(catalog: ToolCatalog, timers: Timers, timezone: str | None) -> None:
    """Registers timers, clock, the end of the conversation, and last the device's own tools.

    `timezone` None is this machine's.
    """
    clock = Clock(timezone)
    catalog.register("timers", lambda request: timers.for_device(request.device_id))
    catalog.register("clock", lambda _: clock)
    catalog.register("end_conversation", _end_conversation)
    catalog.register("device", lambda request: request.device)


def _end_conversation(request: ToolRequest) -> ToolSource | None:
    return None if request.end_conversation is None else EndConversation(request.end_conversation)
