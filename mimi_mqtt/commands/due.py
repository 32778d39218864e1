"""Tells devices what is due: reminders become notices."""

from mimi_mqtt.commands.model import MAX_EXPIRES_S, TIMER, Notify, Refusal
from mimi_mqtt.commands.ports import DeviceControl
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.tools.reminders.ports import Told


class DueNotices:
    """Implements `tools.reminders.ports.Announcer` by `commands`, for the devices of `control`."""

    def __init__(self, commands: Commands, control: DeviceControl) -> None:
        self._commands = commands
        self._control = control

    async def tell(self, device_id: str, text: str, expires_s: float) -> Told:
        """Notifies a connected device; an absent one is told later, with the time at which it was due. A text
        that is kept as a notice counts as told: it is told in its turn, also by the next process."""
        if not self._control.connected(device_id):
            return "away" if self._control.knows(device_id) else "unknown"
        expires_s = min(max(expires_s, 1.0), MAX_EXPIRES_S)
        command = Notify(device_id=device_id, text=text, expires_s=expires_s)
        result = await self._commands.hand_over(command, by=TIMER)
        if result.status == "done":
            return "told"
        return "unknown" if result.refusal is Refusal.UNKNOWN_DEVICE else "failed"
