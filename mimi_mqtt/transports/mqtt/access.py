"""Rights of each role: topics it may publish on, subscribe to and receive; pure.

| role      | publishes                           | subscribes to                | receives          |
|-----------|-------------------------------------|------------------------------|-------------------|
| admin     | everything                          | everything, `$SYS` included  | everything        |
| tester    | `up` and `command` of its device    | filters within its device    | its device's      |
| device    | `up` of its own                     | every filter                 | its own           |
| anonymous | everything but `mimi/#`             | all but filters under `mimi` | all but `mimi/#`  |

A device is granted every filter and sent what is its own: firmware that hard-codes another topic, such as the
`devices/p2p/#` of QuecPython clients, gives up when its filter is refused.
Topics that begin with `$` belong to the broker (MQTT 3.1.1 section 4.7.2): no client publishes there.
An anonymous client may subscribe to `#` or `+/…`, and is not sent what lies under `mimi`.
"""

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.wire.topics import ROOT, device_topic, filter_within

_DEVICES = f"{ROOT}/devices"


def subject(identity: Identity) -> str:
    """The name of `identity` in log entries."""
    return identity.username or "anonymous"


def account(identity: Identity, address: str) -> str:
    """The account whose shares a connection uses: a user name, and for clients without one their address
    (`shares.address_holder`)."""
    return identity.username or f"anonymous@{address}"


def may_publish(identity: Identity, topic: str) -> bool:
    """True when a publish, or a will, on `topic` is delivered."""
    if topic.startswith("$"):
        return False
    if identity.role is Role.ADMIN:
        return True
    if identity.role is Role.ANONYMOUS:
        return not filter_within(topic, ROOT)
    if identity.device_id is None:
        return False
    if topic == device_topic(identity.device_id, "up"):
        return True
    return identity.role is Role.TESTER and topic == device_topic(identity.device_id, "command")


def may_subscribe(identity: Identity, topic_filter: str) -> bool:
    """True when `topic_filter` is granted; otherwise SUBACK says 0x80."""
    if identity.role is Role.DEVICE:
        return identity.device_id is not None
    if topic_filter.startswith("$"):
        return identity.role is Role.ADMIN and filter_within(topic_filter, "$SYS")
    if identity.role is Role.ADMIN:
        return True
    if identity.role is Role.ANONYMOUS:
        return not filter_within(topic_filter, ROOT)
    if identity.device_id is None:
        return False
    return filter_within(topic_filter, f"{_DEVICES}/{identity.device_id}")


def may_be_answered(identity: Identity, device_id: str, topic: str) -> bool:
    """True when the reply to a command of `identity` for a device may be sent to the response topic `topic`:
    one that `identity` may subscribe to, which is either below the device's `reply` or, outside `mimi`, one
    that it may publish on."""
    if not may_subscribe(identity, topic):
        return False
    if filter_within(topic, ROOT):
        return filter_within(topic, device_topic(device_id, "reply"))
    return may_publish(identity, topic)


def may_receive(identity: Identity, topic: str) -> bool:
    """True when a message on `topic` is sent to `identity`, whatever it subscribed to."""
    if identity.role is Role.ADMIN:
        return True
    if identity.role is Role.ANONYMOUS:
        return not filter_within(topic, ROOT)
    return identity.device_id is not None and filter_within(topic, f"{_DEVICES}/{identity.device_id}")
