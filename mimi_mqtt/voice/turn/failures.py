"""Kinds of a turn's failure, as its record and the statistics name them."""

from typing import Final

from mimi_mqtt.errors import AudioError, ProviderError
from mimi_mqtt.providers.runtime.resilience import error_kind

STUCK: Final = "stuck"
"""Nothing moved for `session.watchdog_s`."""
TOO_LATE: Final = "too_late"
"""No answer within `voice.patience_s`."""
INTERNAL: Final = "internal"
"""A mistake of the server: its log has the traceback."""
AUDIO: Final = "audio"
"""Speech that could not be encoded or played."""


def failure_kind(error: ProviderError | AudioError) -> str:
    """The kind of what a reply failed by: that of a provider's error, such as `timeout`, or `audio`."""
    return error_kind(error) if isinstance(error, ProviderError) else AUDIO
