"""A device by its kind: bytes of one message, frames sent ahead of their time, messages it knows. Pure.

Source of every number: the device contract, section 3; of what Espressif's client ignores: section 8.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

WIFI_MESSAGE_BYTES: Final = 8_000
"""The longest control message for a Wi-Fi board, in bytes; longer ones break its connection."""
CELLULAR_MESSAGE_BYTES: Final = 2_000
"""The longest control message for a board with a 4G modem, in bytes."""
MAX_LEAD_MS: Final = 1_200
"""The longest audio sent ahead of its time to any device, in ms: after `abort` it is still heard."""

NOTIFY_SINCE: Final = (2, 5)
"""The first firmware that knows `notify`."""

_QUEUE: Final = 40  # packets that wait for the decoder, up to 2.4.2
_QUEUE_SINCE_2_5: Final = 20
_SMALL_QUEUE: Final = 5  # of boards without external memory, and before 1.6

# Chips without external memory, by the names that boards have in the firmware's tree.
_LOW_MEMORY: Final = re.compile(
    r"(?:^|[-_ ])(?:esp32-?)?c[2356](?:$|[-_ ])|bread-compact-esp32$|esp32-cgc", re.IGNORECASE
)
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})")


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """`max_message_bytes` bounds each message, `queue_frames` the audio packets that wait in the device.
    `keeps_glyphs`: it holds glyphs that were pushed from one text to the next, in external memory."""

    max_message_bytes: int
    queue_frames: int
    keeps_glyphs: bool = False
    alerts: bool = True
    """True: it shows an `alert`, in any state."""
    notifies: bool = False
    """True: it plays a `notify`, when it is idle."""

    def lead_frames(self, wanted: int, frame_ms: int) -> int:
        """The number of frames that may be sent ahead of their time: `wanted`, or less; at least one."""
        return max(1, min(wanted, self.queue_frames, MAX_LEAD_MS // frame_ms))


UNKNOWN_DEVICE: Final = DeviceKind(CELLULAR_MESSAGE_BYTES, _SMALL_QUEUE)
"""A device that was never described: what every device can take."""


@lru_cache(maxsize=256)
def device_kind(
    board: str, board_name: str, firmware_version: str, cellular: bool, espressif: bool = False
) -> DeviceKind:
    """The kind of a device by what its last OTA request said; a text is "" when unknown. `espressif`: its own
    client, whose version is the application's."""
    version = _VERSION.match(firmware_version)
    release = (int(version[1]), int(version[2])) if version is not None else None
    low_memory = any(_LOW_MEMORY.search(name) for name in (board, board_name))
    if low_memory or (release is not None and release < (1, 6)):
        queue = _SMALL_QUEUE
    elif release is not None and release < (2, 5):
        queue = _QUEUE
    else:
        queue = _QUEUE_SINCE_2_5
    keeps_glyphs = bool(board or board_name) and not low_memory
    return DeviceKind(
        CELLULAR_MESSAGE_BYTES if cellular else WIFI_MESSAGE_BYTES,
        queue,
        keeps_glyphs=keeps_glyphs,
        alerts=not espressif,
        notifies=not espressif and release is not None and release >= NOTIFY_SINCE,
    )
