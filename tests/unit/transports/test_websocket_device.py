"""One device's WebSocket among fakes: when the end of a session ends the connection."""

from collections.abc import Callable

import pytest

from mimi_mqtt.audio.opus import PacketCheck
from mimi_mqtt.transports.websocket_device import NORMAL, WebSocketAudio, WebSocketDevice
from mimi_mqtt.wire.messages import ServerGoodbye, encode

GOODBYE = encode(ServerGoodbye("s1"))


class Frames:
    """A connection that keeps what was written, and the code of its end."""

    unsent = 0

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.code: int | None = None

    def deliver_to(self, sink: WebSocketDevice) -> None:
        raise NotImplementedError

    def send_now(self, payload: bytes, *, text: bool) -> bool:
        self.sent.append(payload)
        return True

    def ping_now(self) -> None:
        raise NotImplementedError

    def close_now(self, code: int) -> None:
        self.code = code

    def evict(self) -> None:
        raise NotImplementedError


class Host:
    """The server of one connection; what is due soon waits for `run`."""

    messages_per_s = packets_per_s = 50.0
    max_message_bytes = 16_384
    accepting = True

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.reasons: list[str] = []

    def clock(self) -> float:
        return 0.0

    def soon(self, call: Callable[[], None]) -> None:
        self.due.append(call)

    def received(self, device: WebSocketDevice, payload: bytes) -> None:
        raise NotImplementedError

    def sent(self, device: WebSocketDevice, payload: bytes) -> None:
        pass

    def closed(self, device: WebSocketDevice, reason: str) -> None:
        self.reasons.append(reason)

    def run(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


class Deaf:
    """A session that takes no notice of its audio."""

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        pass


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(("stays", "code"), [(False, NORMAL), (True, None)])
def test_goodbye_ends_the_connection_of_stock_firmware_and_not_of_espressifs_component(
    version: int, stays: bool, code: int | None
) -> None:
    host, frames = Host(), Frames()
    device = WebSocketDevice(host, frames, "aa-bb-cc-00-11-22", version, None, None, stays=stays)
    audio = WebSocketAudio(device, PacketCheck(16_000, 60), Deaf())
    device.opened(audio)
    device.send(GOODBYE)
    audio.close()
    host.run()
    assert frames.sent == [GOODBYE]
    assert frames.code == code
    assert host.reasons == ([] if stays else ["its session is over"])
    device.close("revoked")
    assert frames.code == NORMAL
