"""All fuzz targets, by name. The part before the first dash is the module that has the target."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from tests.fuzz.target import Target

NAMES: Final = (
    "audio-header", "audio-packet", "audio-uplink",
    "config-file", "config-variable",
    "control-json", "control-message", "control-redact", "control-mcp", "control-mcp-salvage",
    "control-command", "control-arguments", "control-fitting",
    "log-line",
    "mqtt-stream", "mqtt-limits", "mqtt-connect", "mqtt-publish", "mqtt-subscribe", "mqtt-ack",
    "mqtt-properties", "mqtt-passwords", "mqtt-topics", "mqtt-device-ids",
    "ota-request", "ota-activation", "ota-language", "ota-mask",
    "vendor-events", "vendor-json", "vendor-samples", "vendor-dify", "vendor-coze", "vendor-home-assistant",
    "vendor-azure", "vendor-deepgram", "vendor-funasr", "vendor-tool-calls", "vendor-thinking",
    "web-requests", "web-host", "web-hosts", "web-forwarded",
)  # fmt: skip
"""Names of all targets; known without importing what they test, which a fuzzer has to import itself."""


def part(name: str) -> Mapping[str, Target]:
    """The targets of the module that has `name`."""
    module = import_module(f"tests.fuzz.{name.partition('-')[0]}_targets")
    return {target.name: target for target in module.TARGETS}


def find(name: str) -> Target:
    """The target `name`, one of NAMES."""
    return part(name)[name]
