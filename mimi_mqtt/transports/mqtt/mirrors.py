"""Mirrors of devices' messages: copies, keys hidden, for the general clients that watch a device's topics."""

from mimi_mqtt.fleet.identity import Role
from mimi_mqtt.transports.mqtt.broker import EmbeddedBroker
from mimi_mqtt.transports.mqtt.client import Client
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.pacing import Work
from mimi_mqtt.wire.messages import redact
from mimi_mqtt.wire.topics import Leaf, device_topic


class Mirrors:
    """Sends copies of devices' messages; a fault is counted and never reaches the device."""

    def __init__(self, broker: EmbeddedBroker, counters: Counters) -> None:
        self._broker = broker
        self._counters = counters

    def show(self, device_id: str, leaf: Leaf, payload: bytes, publisher: Client | None = None) -> Work:
        """Shows a message of a device to the clients that watch its topic; `publisher` is the client that
        sent it, if one did: its subscriptions with No Local are left out."""
        return self._show(device_id, leaf, payload, publisher, clear_for_testers=False)

    def answer_testers(self, device_id: str, payload: bytes) -> None:
        """Sends the server's answer to the testers that play a device in clear, and shows it to others."""
        self._show(device_id, "down", payload, None, clear_for_testers=True)

    def _show(
        self,
        device_id: str,
        leaf: Leaf,
        payload: bytes,
        publisher: Client | None,
        *,
        clear_for_testers: bool,
    ) -> Work:
        try:
            topic = device_topic(device_id, leaf)
            receivers = self._broker.recipients(topic, publisher)
            if receivers:
                clear, hidden = Message(topic, payload), Message(topic, redact(payload))

                def message_for(client: Client) -> Message:
                    return clear if clear_for_testers and client.identity.role is Role.TESTER else hidden

                self._broker.fan_out(receivers, message_for)
            return Work(len(receivers), receivers.visited)
        except Exception:  # noqa: BLE001 - the border between a device and its watchers
            self._counters.fault("mirror", f"mirroring a message of {device_id} failed")
            return Work()
