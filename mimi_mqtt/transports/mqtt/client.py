"""One general client of the broker, as its parts share it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mimi_mqtt.fleet.identity import Identity
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow


def _free(amount: float) -> None:
    """Charges nothing: the client has no connection."""


@dataclass(slots=True, eq=False)
class Client:
    """One general client of the broker. With a persistent session it outlives its connections.

    `key` is its client id inside amqtt: made of user and client id, so that no user resumes the session of
    another. `account` is the one whose shares it uses. `write` sends bytes on the current connection. `spend`
    charges work to the account's message rate. `gone` is set when the session has ended.
    """

    key: str
    identity: Identity
    account: str
    persistent: bool
    flow: OutgoingFlow
    write: Callable[[bytes], None] | None = None
    cut_off: Callable[[str], None] | None = None
    publish: Callable[[str, bytes, int, bool], None] | None = None
    spend: Callable[[float], None] = _free
    filters: set[str] = field(default_factory=set)
    due: dict[str, int] = field(default_factory=dict)
    """Filters whose retained messages are still to be sent, with their QoS."""
    sending: bool = False
    """True while retained messages are sent for `due`."""
    unreleased: set[int] = field(default_factory=set)
    left_at: float = 0.0
    gone: bool = False

    def detach(self, now: float) -> None:
        """Takes the client off its ended connection."""
        self.write = self.cut_off = self.publish = None
        self.spend = _free
        self.due.clear()
        self.flow.suspend()
        self.left_at = now
