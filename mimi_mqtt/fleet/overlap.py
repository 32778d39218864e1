"""The time after a rotation in which the credentials of the secret before it are good, too.

They are good for each device until it authenticated with its new ones: from then on it has no use for the old
ones, whoever else may have seen them.
"""

from mimi_mqtt.fleet.credentials import Credentials


class Overlap:
    """Devices that have proved to know the secret in force; outside of an overlap it takes note of none.

    Their names are kept in memory until the next rotation, and are handed out once to be stored.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._proven: set[str] = set()
        self._unsaved: set[str] = set()
        self._untold: set[str] = set()

    def is_proven(self, device_id: str, stored_id: str) -> bool:
        """True when the device's old credentials are good no longer; `stored_id` is its row's `secret_id`."""
        return stored_id == self._credentials.secret_id or device_id in self._proven

    def prove(self, device_id: str, stored_id: str) -> None:
        """Takes note that the device authenticated with credentials of the secret in force."""
        if not self.is_proven(device_id, stored_id):
            self._proven.add(device_id)
            self._unsaved.add(device_id)
            self._untold.add(device_id)

    def forget(self) -> None:
        """Begins anew: there is another secret."""
        self._proven.clear()
        self._unsaved.clear()
        self._untold.clear()

    def take_unsaved(self) -> set[str]:
        """The devices proven since the last call, to be stored."""
        taken, self._unsaved = self._unsaved, set()
        return taken

    def put_back(self, device_ids: set[str]) -> None:
        """Has devices that could not be stored handed out again."""
        self._unsaved |= device_ids & self._proven

    def take_untold(self) -> str | None:
        """A device that was proven, whose connections with old credentials are to end; each is given once."""
        return self._untold.pop() if self._untold else None
