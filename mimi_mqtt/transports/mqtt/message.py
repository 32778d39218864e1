"""A message on its way from a publisher to its receivers; pure."""

import math
from dataclasses import dataclass

_ROUNDING_S = 0.001
"""A message that is sent on at once has its whole expiry interval left, whatever the clock's rounding."""


@dataclass(frozen=True, slots=True)
class Message:
    """An application message. All its receivers share it.

    `travelling` are the encoded properties of MQTT 5 that go with it (`mqtt_properties.Block`); a receiver of
    MQTT 3.1.1 doesn't see them. `expires_at` is on the broker's clock, None without an expiry.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    travelling: bytes = b""
    expires_at: float | None = None

    @property
    def size(self) -> int:
        """Bytes of topic, payload and properties: it counts with them wherever messages are bounded, and what
        a delivery costs grows with them."""
        topic = self.topic
        topic_bytes = len(topic) if topic.isascii() else len(topic.encode())
        return topic_bytes + len(self.payload) + len(self.travelling)

    def expired(self, now: float) -> bool:
        """True when it may no longer be sent (MQTT 5 section 3.3.2.3.3)."""
        return self.expires_at is not None and self.expires_at <= now

    def seconds_left(self, now: float) -> int | None:
        """The expiry interval that a receiver is told: what is left of it; None without one."""
        return None if self.expires_at is None else max(0, math.ceil(self.expires_at - now - _ROUNDING_S))


def expiry(seconds: int | None, now: float) -> float | None:
    """The time at which a message that was published now expires."""
    return None if seconds is None else now + seconds
