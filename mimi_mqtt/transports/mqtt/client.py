"""One general client of the broker, as its parts share it: its MQTT session."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from mimi_mqtt.fleet.identity import Identity
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.wire.mqtt import Will


class Link(Protocol):
    """The connection that a client has at present."""

    def write(self, data: bytes) -> None:
        """Sends whole packets."""

    def cut_off(self, reason: str) -> None:
        """Ends the connection without waiting for its buffer."""

    def spend(self, amount: float) -> None:
        """Charges work to the account's message rate, in messages."""

    def has_room(self, size: int) -> bool:
        """True when a message of so many bytes that can wait may be written now."""


class Subscription(NamedTuple):
    """A client's subscription to a filter: the QoS granted and the options of MQTT 5 (section 3.8.3.1)."""

    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    identifiers: tuple[int, ...] = ()

    def merged(self, other: "Subscription") -> "Subscription":
        """Two subscriptions of one client that match the same message, which is sent once: with the higher
        QoS, and the identifiers of both (MQTT 5 section 3.3.4)."""
        return Subscription(
            max(self.qos, other.qos),
            self.no_local and other.no_local,
            self.retain_as_published or other.retain_as_published,
            self.identifiers + other.identifiers,
        )


class DueRetained(NamedTuple):
    """Retained messages that a subscription is still to be sent: those on `topics`, or on all that match when
    it is None."""

    asked: Subscription
    topics: deque[str] | None = None


class PendingWill(NamedTuple):
    """A will that waits for its delay (MQTT 5 section 3.1.3.2.2); `host` is the address that the client had
    reached."""

    will: Will
    due_at: float
    host: str | None


@dataclass(slots=True, eq=False)
class Client:
    """One general client of the broker. Its session outlives its connection for `expiry_s` seconds.

    `key` is made of user and client id, so that no user resumes the session of another. `account` is the one
    whose shares it uses. `gone` is set when the session has ended.
    """

    key: str
    identity: Identity
    account: str
    flow: OutgoingFlow
    expiry_s: float = 0.0
    link: Link | None = None
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    """By filter as the client wrote it, `$share/` included."""
    any_no_local: bool = False
    """True once one of the subscriptions had No Local."""
    due: dict[str, "DueRetained"] = field(default_factory=dict)
    """Filters whose retained messages are still to be sent."""
    sending: bool = False
    """True while retained messages are sent for `due`, or wait until the client has taken others."""
    room_again_s: float = 0.0
    """Seconds for which they wait at present."""
    unreleased: set[int] = field(default_factory=set)
    """Packet ids of QoS 2 messages from the client that wait for PUBREL."""
    will: PendingWill | None = None
    left_at: float = 0.0
    gone: bool = False

    @property
    def expires_at(self) -> float:
        """The time at which the session ends while its client is away."""
        return self.left_at + self.expiry_s

    def spend(self, amount: float) -> None:
        """Charges work to the account, while the client has a connection."""
        if self.link is not None:
            self.link.spend(amount)

    def detach(self, now: float) -> None:
        """Takes the client off its ended connection."""
        self.link = None
        self.due.clear()
        self.flow.suspend()
        self.left_at = now


class Sender(NamedTuple):
    """A general client that publishes: `account` is the one whose shares it uses, `host` the server's address
    that it reached."""

    identity: Identity
    account: str
    host: str | None
    client: Client
