"""CPU that a message of a general client costs the broker, without sockets: parsing, routing and delivery.

Everything runs in this process through the session code that serves clients; receivers count bytes and drop
them. What is compared is measured by turns in the same run: compare ratios, not machines.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Final

from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.shares import Ledger
from mimi_mqtt.transports.mqtt.broker import EmbeddedBroker
from mimi_mqtt.transports.mqtt.client import Subscription
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.forms import FORM_311, Form, Form5
from mimi_mqtt.transports.mqtt.limits import MAX_IN_FLIGHT
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.pacing import Outcome
from mimi_mqtt.transports.mqtt.protocol import ClientProtocol
from mimi_mqtt.wire import mqtt, mqtt5
from mimi_mqtt.wire.mqtt import PacketReader, RawPacket
from mimi_mqtt.wire.mqtt_properties import NO_PROPERTIES, Properties

_ADMIN: Final = Identity(Role.ADMIN, "admin")
_TOPIC: Final = "house/kitchen/light"
_PAYLOAD: Final = b"x" * 300
_PROPERTIES: Final = Properties(
    content_type="application/json", user_properties=(("room", "kitchen"), ("trace", "0123456789abcdef"))
)
_FILTERS_OF_ONE: Final = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --messages, --others, --receivers and --runs, all bounded."""
    bounded(
        parser,
        ("--messages", 100, 100_000, 5_000, "messages a run"),
        ("--others", 100, 50_000, 10_000, "subscriptions of others"),
        ("--receivers", 1, 1_000, 100, "receivers of a message that is fanned out"),
        ("--runs", 1, 20, 5, "runs the medians are of"),
    )


class _Drain:
    """A connection that counts what it is given."""

    def __init__(self) -> None:
        self.sent = 0

    def write(self, data: bytes) -> None:
        self.sent += len(data)

    def cut_off(self, reason: str) -> None:
        """Does nothing: a receiver here is never slow."""

    def spend(self, amount: float) -> None:
        """Does nothing: nobody has a rate."""

    def has_room(self, size: int) -> bool:
        """Returns True: what was written is gone."""
        return True


class _Scene:
    """A broker with one publisher and some receivers, all of one version."""

    def __init__(self, version: int, receivers: int, others: int = 0) -> None:
        shares = SharesSettings(subscriptions_per_account=100_000)
        self.broker = EmbeddedBroker(Counters(time.monotonic), 1 << 18, shares, Ledger(), time.monotonic)
        self.links: list[_Drain] = []
        self._form: Form = Form5(NO_PROPERTIES) if version == 5 else FORM_311
        for number in range(receivers):
            self._client(f"receiver-{number}", _TOPIC if number % 2 else "house/+/light")
        for number in range(0, others, _FILTERS_OF_ONE):
            self._client(
                f"other-{number}",
                *(f"house/{other}/light" for other in range(number, number + _FILTERS_OF_ONE)),
            )
        self._protocol = self._client("publisher")

    def _client(self, key: str, *filters: str) -> ClientProtocol:
        client, _ = self.broker.admit(key, _ADMIN, "admin", clean_start=True, expiry_s=0)
        link = _Drain()
        self.links.append(link)
        client.link = link
        client.flow.begin(self._form, MAX_IN_FLIGHT)
        client.flow.resume(0.0)
        for topic_filter in filters:
            self.broker.subscribe(client, topic_filter, Subscription(0))

        def publish(message: Message) -> Outcome:
            return Outcome(self.broker.distribute(message, client))

        return ClientProtocol(client, link, self._form, self.broker, publish)

    def cpu_us(self, packet: RawPacket, messages: int) -> float:
        """CPU of one message, in microseconds."""
        handle, now = self._protocol.handle, time.monotonic()
        began = time.process_time()
        for _ in range(messages):
            handle(packet, now)
        return (time.process_time() - began) / messages * 1e6


def _cut(raw: bytes) -> RawPacket:
    (packet,) = PacketReader(1 << 20).feed(raw)
    return packet


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs all parts by turns; figures are medians."""
    old = _cut(mqtt.encode_publish(_TOPIC, _PAYLOAD))
    new = _cut(mqtt5.encode_publish(_TOPIC, _PAYLOAD))
    rich = _cut(mqtt5.encode_publish(_TOPIC, _PAYLOAD, properties=_PROPERTIES))
    old_one, new_one, crowded = _Scene(4, 1), _Scene(5, 1), _Scene(4, 1, args.others)
    old_many, new_many = _Scene(4, args.receivers), _Scene(5, args.receivers)
    few = max(1, args.messages // args.receivers)
    parts: dict[str, Callable[[], float]] = {
        "one": lambda: old_one.cpu_us(old, args.messages),
        "one_of_mqtt5": lambda: new_one.cpu_us(new, args.messages),
        "one_with_properties": lambda: new_one.cpu_us(rich, args.messages),
        "among_others": lambda: crowded.cpu_us(old, args.messages),
        "fan_out": lambda: old_many.cpu_us(old, few),
        "fan_out_of_mqtt5": lambda: new_many.cpu_us(new, few),
    }
    found: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(args.runs + 1):
        for name, part in parts.items():
            value = part()
            if turn:  # the first one warms up
                found[name].append(value)
    us = {name: statistics.median(values) for name, values in found.items()}
    return {
        "bench": "messages",
        "cpu_us_per_message": round(us["one"], 1),
        "cpu_us_per_message_of_mqtt5": round(us["one_of_mqtt5"], 1),
        "cpu_us_per_message_with_properties": round(us["one_with_properties"], 1),
        "ratio_of_mqtt5": round(us["one_of_mqtt5"] / us["one"], 2),
        "others": args.others,
        "cpu_us_per_message_among_others": round(us["among_others"], 1),
        "ratio_among_others": round(us["among_others"] / us["one"], 2),
        "receivers": args.receivers,
        "cpu_us_per_delivery": round(us["fan_out"] / args.receivers, 2),
        "cpu_us_per_delivery_of_mqtt5": round(us["fan_out_of_mqtt5"] / args.receivers, 2),
        "runs": args.runs,
    }
