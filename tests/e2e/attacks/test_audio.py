"""Attacks on the audio channel, while devices talk: datagrams under their names, and others' long speech."""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from mimi_mqtt.cli.bench.attacks._victims import QUESTION
from mimi_mqtt.cli.device import device as running_device
from mimi_mqtt.cli.device.actions import ChannelOpened
from mimi_mqtt.cli.device.client import DeviceOptions, Summary, Told, converse
from mimi_mqtt.cli.device.network import AudioSocket
from mimi_mqtt.wire.audio_packet import pack_uplink, parse_header
from tests.e2e.attacks.scene import Scene

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

VICTIM_MAC, VICTIM_SOURCE = "02:00:00:00:00:a0", "127.0.0.22"
STRANGER = "127.0.240.1"


async def test_datagrams_under_the_victims_names_are_neither_heard_nor_answered(scene: Scene) -> None:
    done = await scene.withstands("datagrams")
    did = done.did["datagrams"]
    assert did.sent >= 500
    assert did.caught == 0


async def test_a_small_datagram_brings_no_larger_answer_to_its_address(scene: Scene) -> None:
    done = await scene.withstands("reflection", seconds=8.0)
    did = done.did["reflection"]
    assert did.sent_bytes > 0
    assert did.caught_bytes <= did.sent_bytes


async def test_long_speech_of_six_devices_keeps_another_waiting_for_a_moment_only(scene: Scene) -> None:
    # The second recogniser has to start first.
    done = await scene.withstands("speeches", seconds=36.0, later_ms=600.0)
    assert done.did["speeches"].sent >= 6


# ── the downlink's address ───────────────────────────────────────────────────────────────────────────────


@dataclass
class Tap:
    """The victim's network: `before_first` and `after_each` act before its first datagram and after each."""

    ssrc: int = 0
    before_first: Callable[["Tap"], None] = lambda _: None
    after_each: Callable[["Tap"], None] = lambda _: None
    sent: list[bytes] = field(default_factory=list)
    own: Callable[[bytes], None] = lambda _: None
    """Sends a datagram under the victim's own address."""

    def tell(self, action: Told) -> None:
        if isinstance(action, ChannelOpened):
            self.ssrc = action.ssrc

    def garbage(self, number: int) -> bytes:
        """A datagram with the victim's number, and nothing that the server could have sealed."""
        header = pack_uplink(b"\x01" + bytes(3) + self.ssrc.to_bytes(4, "big") + bytes(8), 0, number, 60)
        return header + os.urandom(60)


@pytest.fixture
def tap(monkeypatch: pytest.MonkeyPatch) -> Tap:
    tap = Tap()

    class TappedSocket(AudioSocket):
        def send(self, datagram: bytes) -> None:
            tap.own = super().send
            if not tap.sent:
                tap.before_first(tap)
            tap.sent.append(datagram)
            super().send(datagram)
            tap.after_each(tap)

    monkeypatch.setattr(running_device, "AudioSocket", TappedSocket)
    return tap


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    """Somebody on the network who saw the victim's number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((STRANGER, 0))
        sock.setblocking(False)
        yield sock


def caught(stranger: socket.socket) -> int:
    """Datagrams that came to the stranger."""
    number = 0
    while True:
        try:
            stranger.recv(2_048)
        except BlockingIOError:
            return number
        number += 1


async def conversation(scene: Scene, tap: Tap) -> Summary:
    """The victim's question and its answer."""
    options = DeviceOptions(
        ota=scene.server.ota, mac=VICTIM_MAC, pcm=scene.sound, timeout_s=30.0, source=VICTIM_SOURCE
    )
    return await converse(options, tap.tell)


async def test_a_stranger_who_comes_before_the_device_gets_nothing_of_the_answer(
    scene: Scene, tap: Tap, stranger: socket.socket
) -> None:
    to = ("127.0.0.1", scene.server.udp)

    def flood(tap: Tap, number: int = 300) -> None:
        for sequence in range(1, number):  # some of so many pass for audio
            stranger.sendto(tap.garbage(sequence), to)

    tap.before_first = flood
    tap.after_each = lambda tap: flood(tap, 4)
    summary = await conversation(scene, tap)
    assert (summary.ok, summary.heard) == (True, QUESTION), summary
    assert caught(stranger) == 0


async def test_garbage_under_the_devices_own_address_takes_nothing_from_it(
    scene: Scene, tap: Tap, stranger: socket.socket
) -> None:
    to = ("127.0.0.1", scene.server.udp)

    def forge(tap: Tap) -> None:
        sequence = parse_header(tap.sent[-1]).sequence
        for ahead in range(3):
            tap.own(tap.garbage(sequence + ahead))
            stranger.sendto(tap.garbage(sequence + ahead), to)

    def forge_before(tap: Tap) -> None:
        for sequence in range(1, 60):
            tap.own(tap.garbage(sequence))

    tap.before_first, tap.after_each = forge_before, forge
    summary = await conversation(scene, tap)
    assert summary.ok, summary
    assert summary.lost == 0
    assert caught(stranger) == 0
