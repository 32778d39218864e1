"""Notices devices that listen and whose audio never arrives: their UDP is blocked somewhere on the way.

A device that listens sends a packet each frame, silence too, so none within `PATIENCE_S` is no chance. The
person is told on the device's screen, in the device's language.
"""

import logging
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.providers.languages import primary
from mimi_mqtt.session.session import Session
from mimi_mqtt.wire.messages import Alert, Listen

_log = logging.getLogger(__name__)

PATIENCE_S: Final = 3.0
"""Time from `listen` within which the first packet of a session comes, in seconds."""

SHORTEST_S: Final = 1.0
"""A device that listened for a shorter time, in seconds, may have had nothing to send yet."""

_missing = Counter("mimi_session_audio_missing", "Sessions in which a device listened and no audio came.")

_TEXTS: Final = {
    "en": "Your voice does not reach the server: UDP port {port} is blocked.",
    "vi": "Giọng nói của bạn không đến được máy chủ: cổng UDP {port} bị chặn.",
    "ru": "Ваш голос не доходит до сервера: порт UDP {port} закрыт.",
    "ja": "声がサーバーに届きません。UDPポート{port}が塞がれています。",
    "zh": "服务器收不到您的声音：UDP端口{port}被阻止。",
    "ko": "음성이 서버에 도달하지 않습니다. UDP 포트 {port}이(가) 막혀 있습니다.",
    "es": "Su voz no llega al servidor: el puerto UDP {port} está bloqueado.",
    "fr": "Votre voix n'arrive pas au serveur : le port UDP {port} est bloqué.",
    "de": "Ihre Stimme erreicht den Server nicht: Der UDP-Port {port} ist gesperrt.",
    "pt": "A sua voz não chega ao servidor: a porta UDP {port} está bloqueada.",
}


class AudioWatch:
    """The sessions whose first packet is due; `found` is called with each device whose audio is missing.

    `connected` tells whether a device has its control connection, and `acknowledged` whether its network has
    acknowledged all that was sent over it: a device that was just switched off has not.
    """

    def __init__(
        self,
        connected: Callable[[str], bool],
        acknowledged: Callable[[str], bool],
        found: Callable[[str], None],
    ) -> None:
        self._connected = connected
        self._acknowledged = acknowledged
        self._found = found
        self._due: dict[Session, float] = {}
        self._realtime: set[Session] = set()
        self._alerted: set[Session] = set()
        self._logged: set[str] = set()

    def listen(self, session: Session, message: Listen, now: float) -> None:
        """The device told at `now` (loop time, s) that it starts or stops listening."""
        due = self._due.get(session)
        if message.state == "start" and not session.heard and session.udp_port is not None:
            self._due[session] = now + PATIENCE_S
            (self._realtime.add if message.mode == "realtime" else self._realtime.discard)(session)
        elif message.state == "stop" and due is not None and now - (due - PATIENCE_S) < SHORTEST_S:
            del self._due[session]

    def ended(self, session: Session) -> None:
        """The session is over: nothing is due any more."""
        self._due.pop(session, None)
        self._realtime.discard(session)
        self._alerted.discard(session)

    def check(self, now: float) -> None:
        """Looks at the sessions whose time is over.

        A device that speaks sends nothing, and says `listen` again afterwards; in realtime mode it does
        neither. One whose control connection is lost too has no network at all.
        """
        for session in [*self._alerted]:
            if session.heard or not self._connected(session.device_id):
                self._alerted.discard(session)
            elif self._acknowledged(session.device_id):
                self._alerted.discard(session)
                self._found(session.device_id)
        for session, due in [*self._due.items()]:
            if session.heard or session.ended or not self._connected(session.device_id):
                del self._due[session]
            elif session.speaking:
                del self._due[session]
                if session in self._realtime:
                    self._due[session] = now + PATIENCE_S
            elif now >= due:
                del self._due[session]
                self._tell(session)

    def _tell(self, session: Session) -> None:
        _missing.inc()
        port, device_id = session.udp_port, session.device_id
        text = _TEXTS.get(primary(session.language), _TEXTS["en"]).format(port=port)
        session.alert(Alert("Error", text, "sad"))
        if device_id not in self._logged:
            self._logged.add(device_id)
            _log.warning(
                "the device listens, but no audio comes: let UDP port %s through firewalls and NAT to this "
                "server, or give the device a WebSocket (ota.fallback, mimi-mqtt devices set)",
                port,
                extra={"device": device_id, "session": session.session_id},
            )
        self._alerted.add(session)
