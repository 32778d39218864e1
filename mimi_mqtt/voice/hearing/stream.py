"""The device's microphone, as a conversation listens to it.

What comes before anyone listens is kept for a moment, and a device whose own echo can't be told from its user
is known as `deaf`.
"""

import logging
from collections.abc import Callable

from mimi_mqtt.voice.hearing.early_audio import EarlyAudio
from mimi_mqtt.voice.hearing.pool import HeardFrame
from mimi_mqtt.voice.ports import AudioFormat
from mimi_mqtt.voice.services import OpensEars

_log = logging.getLogger(__name__)


class Uplink:
    """One session's. What is heard is handed to `on_frame`, in order, on the loop."""

    def __init__(
        self,
        hearing: OpensEars,
        audio: AudioFormat,
        jitter_ms: int,
        on_frame: Callable[[HeardFrame], None],
        device_id: str = "",
    ) -> None:
        self._cancels_echo = hearing.cancels_echo
        self._ear = hearing.open(audio, jitter_ms, on_frame, device_id)
        self._early = EarlyAudio()
        self.frame_ms = audio.frame_ms
        """The length of a frame, in ms."""
        self.deaf = False
        """Whether, while it speaks, the device's echo can't be told from its user."""

    def packet(self, opus: bytes, sequence: int, timestamp: int, now: float, *, listening: bool) -> None:
        """One believed packet; `timestamp` is 0 or the downlink frame's it was recorded with (ms)."""
        if timestamp and not self.deaf and not self._cancels_echo:
            self.deaf = True
            _log.warning(
                "the device wants its echo cancelled by the server, which can't: speech does not interrupt "
                "replies (pip install 'mimi-mqtt[aec]')"
            )
        if listening:
            self._ear.push(opus, sequence, now, timestamp)
        else:
            self._early.keep(opus, sequence, now)

    def played(self, opus: bytes, timestamp: int) -> None:
        """A downlink frame has left; its echo may come back."""
        self._ear.played(opus, timestamp)

    def begin(self, now: float) -> None:
        """Listening begins, with what came a moment ago."""
        self._ear.reset()
        for opus, sequence, came_at in self._early.take(now):
            self._ear.push(opus, sequence, came_at)

    def forget(self) -> None:
        """What came before belonged to something else."""
        self._early.clear()

    def flush(self) -> None:
        """Nothing more is coming of this utterance."""
        self._ear.flush()

    async def drained(self) -> None:
        """Returns when everything that came has been heard."""
        await self._ear.drained()

    def close(self) -> None:
        """The end."""
        self._early.clear()
        self._ear.close()
