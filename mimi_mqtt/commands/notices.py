"""Policy of notices: which way each device is told, when it is tried again, and what became of it.

An idle device of firmware 2.5.0 or newer is given a one-time address by `notify`; a session announces after
the running turn; older firmware shows an alert, and says the words at the next wake-up. What can't be told
now waits for the device's next connection or session, over restarts, until it expires. Each is told in turn:
urgent ones first, else the oldest.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any, Final

from prometheus_client import Counter, Gauge

from mimi_mqtt.commands.kept_notices import KeepsNotices
from mimi_mqtt.commands.model import MAX_ALERT_CHARS, Notify
from mimi_mqtt.commands.notice_urls import FetchState, NoticeUrls
from mimi_mqtt.commands.offers import Offers
from mimi_mqtt.commands.pauses import Pauses
from mimi_mqtt.commands.ports import NoticeControl, NoticeVoice
from mimi_mqtt.commands.restoring import restore
from mimi_mqtt.commands.waiting import Notice, NoticeState, WaitingList, expiry
from mimi_mqtt.errors import AudioError, OggError, ProviderError
from mimi_mqtt.events import (
    DeviceConnected,
    DeviceEvent,
    DeviceGone,
    DeviceRevoked,
    EventBus,
    NoticeTold,
    SessionEnded,
    SessionOpened,
    Subscription,
    utc_now,
)
from mimi_mqtt.session.reach import Reach
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.voice.notices.sound import played
from mimi_mqtt.voice.ports import Announcement

_log = logging.getLogger(__name__)

SETTLE_S: Final = 1.5
"""Seconds from a connection, or the end of a session, until the device is taken for idle: it may be about to
say hello, or still show its goodbye, and drops a `notify` then without a trace."""
MAX_TRIES: Final = 2
"""Addresses that a device is given for one notice and may leave unfetched; then the text is shown, and said
at its next wake-up. One for an urgent notice."""
AGAIN_S: Final = 30.0
"""Seconds from an address that was not fetched, or a failure, to the next try."""
REFUSED_S: Final = 5.0
"""Seconds until a session is asked again that did not say a notice, because of its share or its end."""
EXPIRY_EVERY_S: Final = 2.0
"""Seconds between two looks for notices that have expired."""

_STATUS: Final = "Notice"
_PLAYED_AT: Final = 24_000  # Hz, of a recording in a conversation

_told = Counter("mimi_notices_total", "Notices, by what became of them.", ["outcome"])
_waiting = Gauge("mimi_notices_waiting", "Notices that their devices have not been told yet.")


class Notices:
    """All notices. `await start()` once, then `await aclose()`. Belongs to the running loop's thread.

    `address` gives the start of the HTTP address by which a device reaches this server, or None; `path` comes
    between it and the secret part. `now` is the wall clock.
    """

    def __init__(
        self,
        control: NoticeControl,
        voice: NoticeVoice,
        urls: NoticeUrls,
        kept: KeepsNotices,
        events: EventBus,
        *,
        address: Callable[[str], str | None],
        path: str,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._control = control
        self._voice = voice
        self._offers = Offers(control, voice, urls, address, path)
        self._kept = kept
        self._events = events
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._list = WaitingList()
        self._pauses = Pauses(self._advance)
        self._first: dict[str, asyncio.Future[str]] = {}  # what becomes of a notice first, by its id
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None
        self._expiry = SupervisedLoop("expiry of notices", self._expire, every_s=EXPIRY_EVERY_S)
        self._closed = False

    def __len__(self) -> int:
        """Notices that are not told yet."""
        return len(self._list)

    @property
    def healthy(self) -> bool:
        """True while notices expire in time."""
        return self._expiry.healthy

    async def start(self) -> None:
        """Loads what waited when the server stopped. Raises StoreError."""
        await restore(self._list, self._kept, self._control, self._voice, self._now())
        _waiting.set(len(self._list))
        self._subscription = self._events.subscribe(self._happened, DeviceEvent, name="notices")
        self._expiry.start()

    async def aclose(self) -> None:
        """Ends what is being told; what waits stays in the database. Safe to call twice."""
        self._closed = True
        if self._subscription is not None:
            self._subscription.close()
        await self._expiry.aclose()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._pauses.close()

    # ── a new one ────────────────────────────────────────────────────────────────────────────────────────

    async def tell(self, command: Notify, timeout_s: float) -> tuple[str, str]:
        """Begins to tell the device; what is known after `timeout_s` (`delivered`, `partly`, `spoken`,
        `shown`, `expired`, `dropped`, or `waiting`), and the id of the notice.

        Raises TooManyNotices, and AudioError or OggError for a sound that can't be played. A cancelled caller
        has the notice dropped, as it may ask again; where all notices end first, it is kept.
        """
        notice, first = await self._take(command)
        try:
            if not first.done() and not self._can_be_told(notice):
                return "waiting", notice.id
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(first), notice.id
        except TimeoutError:
            return "waiting", notice.id
        except asyncio.CancelledError:
            if not self._closed:
                self._drop(notice)
            raise
        finally:
            self._first.pop(notice.id, None)

    def tell_later(self, command: Notify) -> str:
        """Begins to tell the device and waits for nothing; the id of the notice, whose outcome is told by an
        event. For a text alone. Raises TooManyNotices."""
        return self._begun(command).id

    async def hand_over(self, command: Notify) -> str:
        """As `tell_later`, but returns once the notice is kept over a crash, or told. A cancelled caller has
        it dropped, as with `tell`."""
        notice = self._begun(command)
        try:
            await self._kept.stored()
        except asyncio.CancelledError:
            if not self._closed:
                self._drop(notice)
            raise
        return notice.id

    def _begun(self, command: Notify) -> Notice:
        if command.audio is not None:
            raise TypeError("a sound has to be waited for")
        notice = self._new(command)
        self._begin(notice)
        self._first.pop(notice.id, None)
        return notice

    async def _take(self, command: Notify) -> "tuple[Notice, asyncio.Future[str]]":
        self._list.check(command.device_id)
        notice = self._new(command)
        if command.audio is None:
            return notice, self._begin(notice)
        self._list.check_sound()
        notice.recording = await self._voice.record(command.audio)
        try:
            first = self._begin(notice)
        except BaseException:
            self._release(notice)
            raise
        self._spawn(self._keep_sound(notice), "sound of a notice")
        return notice, first

    def _new(self, command: Notify) -> Notice:
        now = self._now()
        until = expiry(now, command.expires_s)
        return Notice(secrets.token_hex(8), command.device_id, command.text, now, until, command.urgent)

    def _begin(self, notice: Notice) -> "asyncio.Future[str]":
        """Has the notice told in its turn; what becomes of it first."""
        self._list.add(notice)
        first = self._first[notice.id] = self._loop.create_future()
        _waiting.set(len(self._list))
        self._store(notice)
        self._advance(notice.device_id)
        return first

    async def _keep_sound(self, notice: Notice) -> None:
        """Stores a recording once it is whole; one that is cut off is played as far as it goes."""
        recording = notice.recording
        if recording is None:
            return
        await recording.ended()
        if recording.whole and notice in self._list:
            notice.sound_id = hashlib.sha256(recording.stream).hexdigest()
            self._store(notice)

    def _store(self, notice: Notice) -> None:
        if notice not in self._list:
            return
        if notice.recording is None:
            self._kept.keep(notice.row)
        elif notice.sound_id:
            self._kept.keep(notice.row, notice.recording.stream)

    # ── what happens to devices ──────────────────────────────────────────────────────────────────────────

    def _happened(self, event: DeviceEvent) -> None:
        """An observer of events: acts after the publisher has gone on."""
        device_id = event.device_id
        match event:
            case SessionOpened():
                self._offers.withdraw(device_id)
                self._pauses.end(device_id)
            case DeviceConnected() | SessionEnded():
                self._offers.withdraw(device_id, begun=False)
                self._pauses.extend(device_id, SETTLE_S)
            case DeviceGone():
                self._offers.withdraw(device_id, begun=False)
                return
            case DeviceRevoked() if event.moved or not self._control.knows(device_id):
                for notice in self._list.of(device_id):
                    self._drop(notice)
                return
            case _:
                return
        if self._list.of(device_id):
            self._loop.call_soon(self._advance, device_id)

    async def _expire(self) -> None:
        for notice in self._list.expired(self._now()):
            self._over(notice, "expired")
        self._pauses.forget_past()

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────

    def _can_be_told(self, notice: Notice) -> bool:
        """True when the notice is being told, or waits for its turn alone."""
        return self._control.reach(notice.device_id) in (Reach.NOTIFY, Reach.TALKING)

    def _advance(self, device_id: str) -> None:
        """Tells what can be told now."""
        if self._closed:
            return
        for notice in self._list.of(device_id):
            if notice.state is not NoticeState.WAITING:
                continue
            if notice.expires_at <= self._now():
                self._over(notice, "expired")
                continue
            match self._control.reach(device_id):
                case Reach.TALKING:
                    if self._pauses.is_over(device_id):
                        self._announce(notice)
                case Reach.NOTIFY if notice.tries < MAX_TRIES:
                    if self._pauses.is_over(device_id) and self._is_free(device_id):
                        notice.state = NoticeState.NOTIFYING
                        self._spawn(self._notify(notice), "notice")
                case Reach.NOTIFY | Reach.ALERT:
                    self._show(notice)
                case Reach.AWAY | Reach.SILENT:
                    return

    def _is_free(self, device_id: str) -> bool:
        """True when the device is not about to play another one."""
        return all(notice.state is not NoticeState.NOTIFYING for notice in self._list.of(device_id))

    def _announce(self, notice: Notice) -> None:
        """Hands the notice to the device's session, which says it after the running turn."""
        notice.state = NoticeState.ANNOUNCED
        recording = notice.recording
        announcement = Announcement(
            notice.text,
            partial(played, recording, _PLAYED_AT) if recording is not None else None,
            notice.urgent,
            partial(self._announced, notice),
        )
        if notice.urgent:
            self._show(notice)
        if not self._control.announce(notice.device_id, announcement):
            self._announced(notice, False)

    def _announced(self, notice: Notice, spoken: bool) -> None:
        """The session is done with the notice."""
        if notice not in self._list or notice.state is not NoticeState.ANNOUNCED:
            return
        if spoken:
            self._over(notice, "spoken")
        else:
            self._back(notice, REFUSED_S)

    def _show(self, notice: Notice) -> None:
        """Shows the text, once; the words are still to be heard."""
        if notice.shown or not notice.text:
            return
        if self._control.alert(notice.device_id, _STATUS, notice.text[:MAX_ALERT_CHARS], "neutral"):
            notice.shown = True
            self._store(notice)
            if notice.state is NoticeState.WAITING:
                self._outcome(notice, "shown", over=False)

    async def _notify(self, notice: Notice) -> None:
        """Has the idle device fetch the recording, and waits for what comes of it."""
        device_id = notice.device_id
        if not self._offers.may_be_made(device_id):
            _log.warning(
                "a device can't be notified before it asks OTA: how it reaches HTTP is not known",
                extra={"device": device_id},
            )
            notice.tries = MAX_TRIES
            self._back(notice, 0.0)
            return
        try:
            offered = await self._offers.make(notice, partial(self._left_s, notice))
        except (ProviderError, AudioError, OggError) as error:
            _log.warning("a notice can't be spoken: %s", error, extra={"device": device_id})
            self._show(notice)
            if notice.shown:
                self._over(notice, "shown")
            else:
                self._back(notice, AGAIN_S)
            return
        except BaseException:
            notice.state = NoticeState.WAITING  # the server stops: it is told after its next start
            raise
        self._pauses.extend(device_id, offered.busy_s)
        match offered.state:
            case FetchState.WHOLE:
                self._over(notice, "delivered")
            case FetchState.PARTLY:
                self._over(notice, "partly")
            case FetchState.NEVER:
                notice.tries = MAX_TRIES if notice.urgent else notice.tries + 1
                self._back(notice, AGAIN_S if notice.tries < MAX_TRIES else 0.0)
                self._store(notice)
            case _:  # it was not idle any more
                self._back(notice, 0.0)

    def _left_s(self, notice: Notice) -> float:
        """Seconds in which the notice may begin to be told."""
        return (notice.expires_at - self._now()).total_seconds() if notice in self._list else 0.0

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def _back(self, notice: Notice, after_s: float) -> None:
        """The notice waits again, at least for so long."""
        if notice in self._list:
            notice.state = NoticeState.WAITING
            self._pauses.extend(notice.device_id, after_s)
            self._loop.call_soon(self._advance, notice.device_id)

    def _over(self, notice: Notice, outcome: str) -> None:
        """Nothing more will come of the notice; the device's next one has its turn."""
        if not self._list.remove(notice):
            return
        self._release(notice)
        _waiting.set(len(self._list))
        self._kept.forget(notice.id)
        self._outcome(notice, outcome, over=True)
        self._loop.call_soon(self._advance, notice.device_id)

    def _drop(self, notice: Notice) -> None:
        """Drops a notice that is not to be told any more."""
        if notice.state is NoticeState.NOTIFYING:
            self._offers.withdraw(notice.device_id)
        self._over(notice, "dropped")

    def _outcome(self, notice: Notice, outcome: str, *, over: bool) -> None:
        _told.labels(outcome).inc()
        first = self._first.pop(notice.id, None)
        if first is not None and not first.done():
            first.set_result(outcome)
        self._events.publish(
            NoticeTold(device_id=notice.device_id, notice_id=notice.id, outcome=outcome, over=over)
        )

    def _release(self, notice: Notice) -> None:
        recording, notice.recording = notice.recording, None
        if recording is not None:
            recording.release()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("telling a notice failed", exc_info=error)
