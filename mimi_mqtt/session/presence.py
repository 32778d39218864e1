"""Control connections of all devices: handing sessions over to the next connection, and sending `goodbye` to
devices that believe in a session that is over.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from mimi_mqtt.session.attachment import Attachment
from mimi_mqtt.session.device_kind import DeviceKind
from mimi_mqtt.session.last_sessions import RemembersSessions
from mimi_mqtt.session.link import ControlChannel
from mimi_mqtt.wire.messages import ServerGoodbye, encode

_log = logging.getLogger(__name__)

HELLO_GRACE_S: Final = 1.0
"""The time that a device which connects has to say hello before it is told that its last session is over, in
seconds: in a device that is just about to say hello, the goodbye would close the channel it opens."""
GOODBYE_AGAIN_S: Final = 5.0
"""The time in which `goodbye` is not repeated for the same session and connection, in seconds: what the
device had sent before it read the first is still arriving."""
MAX_SESSION_ID_CHARS: Final = 128
"""An unknown session id is repeated in `goodbye` up to this length; a longer one was never a session's."""


class Presence:
    """Every control channel of every transport, and the attachment behind it. Made on the running loop."""

    def __init__(self, reattach_s: float, last: RemembersSessions) -> None:
        self._reattach_s = reattach_s
        self._last = last
        self._loop = asyncio.get_running_loop()
        self._by_channel: dict[ControlChannel, Attachment] = {}
        self._of_device: dict[str, Attachment] = {}
        self._unconfirmed: dict[str, tuple[ControlChannel, str]] = {}  # goodbyes on their way, by device

    def __iter__(self) -> Iterator[Attachment]:
        """Every attachment, those without a connection included."""
        return iter({*self._by_channel.values(), *self._of_device.values()})

    def by_channel(self, channel: ControlChannel) -> Attachment | None:
        """The attachment behind `channel`; None when it is not, or no longer, a device's connection."""
        return self._by_channel.get(channel)

    def of_device(self, device_id: str) -> Attachment | None:
        """The device's attachment: its connection, or what waits for it."""
        return self._of_device.get(device_id)

    def connected(self, device_id: str) -> bool:
        """True while the device itself has a connection."""
        attachment = self._of_device.get(device_id)
        return attachment is not None and attachment.connected and not attachment.is_tester

    def acknowledged(self, device_id: str) -> bool:
        """True when the device's network has acknowledged all that was sent to it."""
        attachment = self._of_device.get(device_id)
        return attachment is not None and not attachment.undelivered()

    def claim(self, attachment: Attachment) -> None:
        """`attachment` said hello: it stands for its device from now on."""
        self._of_device[attachment.device_id] = attachment

    # ── connections come and go ──────────────────────────────────────────────────────────────────────────

    def opened(self, channel: ControlChannel, kind: DeviceKind) -> None:
        """A device of this `kind` connected: ends its older connection, and hands that one's session over."""
        known = self._of_device.get(channel.device_id)
        if known is not None and channel.is_tester and not known.is_tester:
            if not known.connected:  # the device's own session goes on waiting for the device
                self._by_channel[channel] = Attachment(channel, kind)
            return
        resumed = False
        if known is not None:
            old, was_resumable = known.channel, known.resumable
            if old is not None:
                del self._by_channel[old]
                known.detach(self._loop.time())
                _close(old, "the device connected again")
            resumed = self._resume(known, channel) if was_resumable else False
            if not resumed:
                self._let_go(known)
        if not resumed:
            fresh = Attachment(channel, kind)
            self._by_channel[channel] = self._of_device[channel.device_id] = fresh
        if resumed or self._believes(channel) is not None:
            self._loop.call_soon(self._entered, channel)

    def booted(self, device_id: str) -> None:
        """The device asked for its configuration: it knows nothing of its session, which does not go over to
        its next connection. Such a request can be forged, so a session that has its connection goes on."""
        attachment = self._of_device.get(device_id)
        if attachment is not None:
            attachment.restarted = True

    def _believes(self, channel: ControlChannel) -> str | None:
        """The session that the device on `channel` may believe in although it is over."""
        if channel.is_tester or channel.transport != "mqtt":
            return None
        return self._last.get(channel.device_id)

    def _resume(self, known: Attachment, channel: ControlChannel) -> bool:
        if known.session is None or channel.is_tester or channel.transport != "mqtt":
            return False
        if known.overfull or known.restarted:
            return False
        known.attach(channel)
        self._by_channel[channel] = known
        _log.info(
            "the device is back and goes on with its session",
            extra={"device": channel.device_id, "session": known.session.session_id},
        )
        return True

    def _entered(self, channel: ControlChannel) -> None:
        """The transport has accepted the connection: messages may be sent."""
        attachment = self._by_channel.get(channel)
        if attachment is None:
            return
        attachment.flush(channel)
        last = self._believes(channel)
        if last is not None and attachment.session is None:
            self._loop.call_later(HELLO_GRACE_S, self._send_home, channel, last)

    def closed(self, channel: ControlChannel) -> None:
        """The connection is gone: its session waits for the next one, or ends with it."""
        attachment = self._by_channel.pop(channel, None)
        if attachment is None:
            return
        if attachment.session is not None and attachment.resumable and self._reattach_s > 0:
            attachment.detach(self._loop.time())
        else:
            self._let_go(attachment)

    def _let_go(self, attachment: Attachment) -> None:
        """Ends an attachment that has no connection, and its session."""
        session = attachment.session
        attachment.channel = None  # what is sent from here on would be lost without a word
        if session is not None:
            session.end("disconnected")
        self._forget(attachment)

    def _forget(self, attachment: Attachment) -> None:
        if self._of_device.get(attachment.device_id) is attachment:
            del self._of_device[attachment.device_id]
        attachment.close()

    def session_ended(self, attachment: Attachment, session_id: str, *, goodbye: bool) -> None:
        """The session of `attachment` is over. `goodbye`: the device was sent one, or waits for one."""
        attachment.session = None
        attachment.overfull = False  # the story that could not be told whole was this session's
        if not goodbye:
            attachment.drop_waiting()
        if attachment.channel is None:
            self._forget(attachment)
        elif goodbye:
            self._goodbye_sent(attachment, attachment.channel, session_id)

    def expire(self, now: float) -> None:
        """Ends the sessions of devices that were away for too long, and looks after goodbyes on their way."""
        since = now - self._reattach_s
        for attachment in list(self._of_device.values()):
            lost_at = attachment.lost_at
            if attachment.overfull or (lost_at is not None and lost_at <= since):
                if attachment.session is not None:
                    attachment.session.end("disconnected", goodbye=attachment.connected)
                elif not attachment.connected:
                    self._forget(attachment)
        self._confirm()

    def disconnect(self, device_id: str, reason: str) -> None:
        """Says goodbye to the device and ends its connection. A goodbye that may be lost with the connection
        is said again on the next one."""
        attachment = self._of_device.get(device_id)
        if attachment is not None and attachment.session is not None:
            attachment.session.end(reason, goodbye=True)
        last = self._last.get(device_id)
        if last is not None and attachment is not None and attachment.channel is not None:
            self._goodbye(attachment, attachment.channel, last)
        for each in [each for each in self._by_channel.values() if each.device_id == device_id]:
            if each.session is not None:
                each.session.end(reason, goodbye=True)
            if each.channel is not None:
                _close(each.channel, reason)

    def close(self) -> None:
        """Every tool call that waits for a device fails; connections stay."""
        self._confirm()
        for attachment in self:
            attachment.close_tools()

    # ── goodbyes ─────────────────────────────────────────────────────────────────────────────────────────

    def stale(self, attachment: Attachment, session_id: str) -> None:
        """The device named a session that it has not: it is told that this session is over."""
        if attachment.channel is not None and len(session_id) <= MAX_SESSION_ID_CHARS:
            self._goodbye(attachment, attachment.channel, session_id)

    def _send_home(self, channel: ControlChannel, session_id: str) -> None:
        """Ends the device's belief in a session that is lost, unless it has said hello meanwhile."""
        attachment = self._by_channel.get(channel)
        if attachment is None or attachment.session is not None:
            return
        if self._last.get(channel.device_id) == session_id:
            self._goodbye(attachment, channel, session_id)

    def _goodbye(self, attachment: Attachment, channel: ControlChannel, session_id: str) -> None:
        if attachment.said_goodbye_since(session_id, self._loop.time() - GOODBYE_AGAIN_S):
            return
        attachment.send(encode(ServerGoodbye(session_id)))
        self._goodbye_sent(attachment, channel, session_id)

    def _goodbye_sent(self, attachment: Attachment, channel: ControlChannel, session_id: str) -> None:
        attachment.goodbye_said(session_id, self._loop.time())
        if not attachment.is_tester and self._last.get(attachment.device_id) == session_id:
            self._unconfirmed[attachment.device_id] = channel, session_id

    def _confirm(self) -> None:
        """A goodbye that the device's TCP has acknowledged need not be said again."""
        for device_id, (channel, session_id) in list(self._unconfirmed.items()):
            if channel not in self._by_channel:
                del self._unconfirmed[device_id]  # it may have been lost with the connection
            elif not channel.undelivered():
                del self._unconfirmed[device_id]
                self._last.over(device_id, session_id)


def _close(channel: ControlChannel, reason: str) -> None:
    """Ends a connection that is not needed any more: a fault in it must not keep the next one out."""
    try:
        channel.close(reason)
    except Exception:  # noqa: BLE001 - the border of one connection
        _log.exception("a connection could not be closed", extra={"device": channel.device_id})
