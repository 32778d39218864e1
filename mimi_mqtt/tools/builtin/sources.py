"""Registration of the built-in tools and of the device's own, in the order in which they win a name."""

from mimi_mqtt.tools.builtin.clock import Clock
from mimi_mqtt.tools.builtin.end_conversation import EndConversation
from mimi_mqtt.tools.catalog import ToolCatalog, ToolRequest
from mimi_mqtt.tools.registry import ToolSource
from mimi_mqtt.tools.reminders.tools import ReminderTools


def register_builtins(catalog: ToolCatalog, reminders: ReminderTools | None, timezone: str | None) -> None:
    """Registers reminders, clock, the end of the conversation, and last the device's own tools.

    `timezone` None is this machine's.
    """
    clock = Clock(timezone)
    if reminders is not None:
        catalog.register("reminders", lambda request: reminders.for_device(request.device_id))
    catalog.register("clock", lambda _: clock)
    catalog.register("end_conversation", _end_conversation)
    catalog.register("device", lambda request: request.device)


def _end_conversation(request: ToolRequest) -> ToolSource | None:
    return None if request.end_conversation is None else EndConversation(request.end_conversation)
