"""The rights of whoever asks something of a device: whom it exists for, and who may give it away."""

from dataclasses import dataclass
from typing import Final

from mimi_mqtt.errors import Forbidden
from mimi_mqtt.store import audit
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.tables import Device


@dataclass(frozen=True, slots=True)
class Rights:
    """Somebody who asks: an administrator, or the person `user_id` with the groups that he is in."""

    author: Author
    user_id: str
    is_admin: bool
    groups: frozenset[str] = frozenset()

    def sees(self, device: Device) -> bool:
        """True when the device exists for him."""
        if self.is_admin:
            return True
        own = device.owner_id != "" and device.owner_id == self.user_id
        return own or (device.group_id != "" and device.group_id in self.groups)

    def owns(self, device: Device) -> bool:
        """True when he may give the device away, share it, and end its credentials."""
        return self.is_admin or (device.owner_id != "" and device.owner_id == self.user_id)

    def require_owner(self, device: Device) -> None:
        """Raises Forbidden unless he owns the device."""
        if not self.owns(device):
            raise Forbidden("only the device's owner or an administrator can do this")


COMMAND_LINE: Final = Rights(audit.COMMAND_LINE, "", is_admin=True)
"""A command on the server's machine."""
SERVER: Final = Rights(audit.SERVER, "", is_admin=True)
"""The server itself."""
