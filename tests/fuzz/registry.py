"""All fuzz targets, by name. The part before the first dash is the module that has the target."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from tests.fuzz.target import Target

NAMES: Final = (
    "audio-header", "audio-packet", "audio-uplink", "audio-ogg",
    "config-file", "config-import", "config-variable",
    "control-json", "control-message", "control-redact", "control-mcp", "control-mcp-salvage",
    "control-command", "control-arguments", "control-fitting", "control-glyphs", "control-text",
    "firmware-image", "firmware-assets", "firmware-version", "firmware-report",
    "files-form", "files-token",
    "log-line",
    "mqtt-stream", "mqtt-limits", "mqtt-connect", "mqtt-publish", "mqtt-subscribe", "mqtt-ack",
    "mqtt-passwords", "mqtt-topics", "mqtt-device-ids",
    "mqtt5-properties", "mqtt5-publish", "mqtt5-subscribe", "mqtt5-answers", "mqtt5-session",
    "reminder-rule", "reminder-time", "reminder-words",
    "search-words",
    "ota-request", "ota-activation", "ota-language", "ota-mask",
    "tls-arrival",
    "vendor-events", "vendor-json", "vendor-samples", "vendor-dify", "vendor-coze", "vendor-home-assistant",
    "vendor-azure", "vendor-deepgram", "vendor-funasr", "vendor-tool-calls", "vendor-thinking",
    "web-requests", "web-host", "web-hosts", "web-forwarded",
    "websocket-frames",
)  # fmt: skip
"""Names of all targets; known without importing what they test, which a fuzzer has to import itself."""


def part(name: str) -> Mapping[str, Target]:
    """The targets of the module that has `name`."""
    module = import_module(f"tests.fuzz.{name.partition('-')[0]}_targets")
    return {target.name: target for target in module.TARGETS}


def find(name: str) -> Target:
    """The target `name`, one of NAMES."""
    return part(name)[name]
