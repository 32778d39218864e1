"""The `mimi/` topic tree and device ids; the same tree on the embedded broker and on the house's.

`mimi/devices/<id>/up` (device to server), `…/down` (server to device), `…/state` (retained JSON), `…/event`,
`…/command`, `…/reply`, and `mimi/status` (retained). `<id>` is the MAC in lower case with `-`.
"""

import re
from typing import Literal

from mimi_mqtt.errors import ProtocolError

ROOT = "mimi"
STATUS = f"{ROOT}/status"

Leaf = Literal["up", "down", "state", "event", "command", "reply"]

_SHARED = "$share/"

_MAC = re.compile(r"[0-9a-f]{2}(?:-[0-9a-f]{2}){5}")
_DEVICE_TOPIC = re.compile(rf"{ROOT}/devices/({_MAC.pattern})/(\w+)")


def device_id_from_mac(mac: str) -> str:
    """Makes a device id of a MAC: `AA:BB:CC:00:11:22` (any case, `:`, `-` or nothing) -> `aa-bb-cc-00-11-22`.

    Raises ProtocolError when it is not a MAC address.
    """
    digits = re.sub(r"[:-]", "", mac.strip()).lower()
    device_id = "-".join(digits[index : index + 2] for index in range(0, len(digits), 2))
    if not _MAC.fullmatch(device_id):
        raise ProtocolError(f"{mac[:40]!r} is not a MAC address such as aa:bb:cc:00:11:22")
    return device_id


def is_device_id(text: str) -> bool:
    """True when `text` is a device id as `device_id_from_mac` makes them."""
    return _MAC.fullmatch(text) is not None


def device_topic(device_id: str, leaf: Leaf) -> str:
    """The topic of one kind of a device's messages."""
    return f"{ROOT}/devices/{device_id}/{leaf}"


def split_device_topic(topic: str) -> tuple[str, str] | None:
    """Splits `mimi/devices/<id>/<leaf>` into (id, leaf); None for any other topic."""
    match = _DEVICE_TOPIC.fullmatch(topic)
    return (match[1], match[2]) if match else None


def is_topic_name(topic: str) -> bool:
    """Checks a topic name by MQTT 3.1.1 section 4.7: not empty, no wildcard, no U+0000."""
    return bool(topic) and "#" not in topic and "+" not in topic and "\0" not in topic


def is_topic_filter(topic_filter: str) -> bool:
    """Checks a filter by MQTT 3.1.1 section 4.7.1: `+` is a whole level, `#` a whole last one."""
    if not topic_filter or "\0" in topic_filter:
        return False
    if "#" not in topic_filter and "+" not in topic_filter:
        return True
    *parents, last = topic_filter.split("/")
    if any("#" in level or ("+" in level and level != "+") for level in parents):
        return False
    return last in ("#", "+") or ("#" not in last and "+" not in last)


def filter_matches(topic_filter: str, topic: str) -> bool:
    """Matches a topic name against a subscription's filter, by MQTT 3.1.1 section 4.7."""
    if topic.startswith("$") != topic_filter.startswith("$"):
        return False
    wanted = topic_filter.split("/")
    levels = topic.split("/", len(wanted))  # a topic may have 65,535 levels; no more are compared
    for index, want in enumerate(wanted):
        if want == "#":
            return True
        if index >= len(levels) or want not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def split_share(topic_filter: str) -> tuple[str | None, str]:
    """Splits `$share/<name>/<filter>` (MQTT 5 section 4.8.2) into (name, filter); (None, filter) for any
    other filter. The filter within is empty when the name or the filter is not valid."""
    if not topic_filter.startswith(_SHARED):
        return None, topic_filter
    name, _, within = topic_filter[len(_SHARED) :].partition("/")
    if not name or "+" in name or "#" in name:
        return name, ""
    return name, within


def filter_within(topic_filter: str, prefix: str) -> bool:
    """True when every topic that `topic_filter` can match lies under `prefix` (no wildcards in it)."""
    levels = prefix.split("/")
    return topic_filter.split("/", len(levels))[: len(levels)] == levels
