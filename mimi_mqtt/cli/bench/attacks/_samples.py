"""Messages between the attack bench and its probe process."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["connect", "hello"]


@dataclass(frozen=True, slots=True)
class ProbeOrder:
    """Task: the device `mac` at the address `source`, and the server's ports of 127.0.0.1."""

    http: int
    mqtt: int
    mac: str
    source: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The time of a `connect` (TCP and CONNACK) or `hello`; `at` is monotonic seconds, `ms` None when it
    failed."""

    kind: Kind
    at: float
    ms: float | None
    error: str = ""
