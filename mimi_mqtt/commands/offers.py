"""Recordings offered to idle devices: a one-time address by `notify`, and what comes of it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.commands.notice_urls import FETCH_WITHIN_S, MAX_OPEN, Fetch, FetchState, NoticeUrls
from mimi_mqtt.commands.ports import NoticeControl, NoticeVoice
from mimi_mqtt.commands.waiting import Notice
from mimi_mqtt.errors import AudioError
from mimi_mqtt.session.reach import Reach
from mimi_mqtt.voice.notices.recording import MAX_RECORDING_S, Recording
from mimi_mqtt.wire.messages import Subtitle

_log = logging.getLogger(__name__)

MAX_PREPARED: Final = 32
"""Recordings that are waited for at once; further ones wait for their turn."""
PREPARED_WITHIN_S: Final = 60.0
"""Longest wait for the beginning of one recording, in seconds."""
POPUP_S: Final = 1.5
"""Time of the sound that a device plays before a notice, in seconds."""


@dataclass(frozen=True, slots=True)
class Offered:
    """Outcome of an offer. `state` is WHOLE, PARTLY or NEVER; None: it was not the time for one. The device
    plays for `busy_s` more seconds."""

    state: FetchState | None
    busy_s: float = 0.0


class Offers:
    """Offers to devices reached by `control`, of recordings made by `voice`, at addresses of `urls`.

    `address` gives the start of the HTTP address by which a device reaches this server, or None; `path` comes
    between it and the secret part.
    """

    def __init__(
        self,
        control: NoticeControl,
        voice: NoticeVoice,
        urls: NoticeUrls,
        address: Callable[[str], str | None],
        path: str,
    ) -> None:
        self._control = control
        self._voice = voice
        self._urls = urls
        self._address = address
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._preparing = asyncio.Semaphore(MAX_PREPARED)
        self._open: dict[str, Fetch] = {}  # by device
        self._full = False

    def may_be_made(self, device_id: str) -> bool:
        """True when it is known how the device reaches HTTP."""
        return self._address(device_id) is not None

    def withdraw(self, device_id: str, *, begun: bool = True) -> None:
        """The device does not play what it was offered; `begun`: nor what it is fetching."""
        fetch = self._open.get(device_id)
        if fetch is not None and (begun or fetch.state is FetchState.OPEN):
            fetch.withdraw()

    async def make(self, notice: Notice, left_s: Callable[[], float]) -> Offered:
        """Offers the notice, whose sound is made first; the device has `left_s()` to begin the fetch, which
        is 0 or less for a notice that is not to be told any more.

        Raises ProviderError, AudioError and OggError where there is no sound.
        """
        async with self._preparing:
            if left_s() <= 0:
                return Offered(None)
            recording = await self._recording(notice)
        try:
            if left_s() <= 0 or self._control.reach(notice.device_id) is not Reach.NOTIFY:
                return Offered(None)
            opened = self._urls.open(recording, self._loop.time())
            if opened is None:
                self._tell_full()
                return Offered(None, FETCH_WITHIN_S)
            self._full = False
            secret, fetch = opened
            self._open[notice.device_id] = fetch
            try:
                return await self._fetched(notice, secret, fetch, left_s())
            finally:
                self._urls.close(fetch)
                del self._open[notice.device_id]
        finally:
            recording.release()

    def _tell_full(self) -> None:
        """Logs once that devices wait for addresses."""
        if not self._full:
            _log.warning("%d one-time addresses are open: further devices are notified later", MAX_OPEN)
        self._full = True

    async def _recording(self, notice: Notice) -> Recording:
        if notice.recording is not None:
            notice.recording.hold()
            return notice.recording
        try:
            async with asyncio.timeout(PREPARED_WITHIN_S):
                return await self._voice.speak(notice.text, *self._control.speaker(notice.device_id))
        except TimeoutError:
            raise AudioError(f"its first sentence was not spoken within {PREPARED_WITHIN_S:g} s") from None

    async def _fetched(self, notice: Notice, secret: str, fetch: Fetch, within_s: float) -> Offered:
        recording = fetch.recording
        subtitles = recording.subtitles()
        if notice.recording is not None:
            subtitles = (Subtitle(0, notice.text),) if notice.text else ()
        url = f"{self._address(notice.device_id)}{self._path}{secret}"
        if not self._control.notify(notice.device_id, url, subtitles):
            return Offered(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(FETCH_WITHIN_S, within_s)):
                await fetch.begun.wait()
        if fetch.state is FetchState.OPEN:
            return Offered(FetchState.NEVER)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_RECORDING_S + FETCH_WITHIN_S):
                await fetch.ended.wait()
        fetch.withdraw()
        if fetch.state is FetchState.WHOLE:
            rest_s = fetch.began_at + recording.duration_ms / 1000 - self._loop.time()
            state = FetchState.WHOLE if recording.failure is None else FetchState.PARTLY
            return Offered(state, max(0.0, rest_s) + POPUP_S)
        # Withdrawn before it began: the device has a session now, or is away.
        return Offered(None if fetch.state is FetchState.NEVER else fetch.state)
