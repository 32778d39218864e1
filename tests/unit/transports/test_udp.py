import asyncio
import socket
from collections.abc import AsyncIterator

import numpy as np
import pytest
from prometheus_client import REGISTRY

from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.config.connections import UdpSettings
from mimi_mqtt.errors import AudioError
from mimi_mqtt.session.link import AudioRequest, AudioStats
from mimi_mqtt.transports.udp import ReadPace, UdpChannel, UdpServer
from mimi_mqtt.wire.audio_packet import (
    AudioCipher,
    derive_session_key,
    nonce_template,
    pack_uplink,
    parse_header,
)
from tests.fakes.session import FakeControlChannel

MASTER = bytes(range(16))
CONTROL = FakeControlChannel("aa-bb")


class Silent:
    """A sink for tests that never receive."""

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        raise AssertionError("nothing was sent")


def request(session_id: str = "s1", sample_rate: int = 16_000) -> AudioRequest:
    return AudioRequest("aa-bb", session_id, "192.0.2.7", sample_rate, 60)


class Deaf:
    """A sink that takes everything."""

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        pass


PEER = ("127.0.0.1", 9)


def hear(server: UdpServer, session_id: str = "s1") -> UdpChannel:
    """A channel whose device was heard, at the address of its control connection."""
    control = FakeControlChannel("aa-bb", peer_host=PEER[0])
    channel = server.open(control, request(session_id), Deaf())
    cipher = AudioCipher(derive_session_key(MASTER, session_id))
    opus = OpusEncoder(16_000).encode(np.zeros(960, np.int16))
    datagram = cipher.encrypt(pack_uplink(nonce_template(channel.ssrc), 0, 1, len(opus)), opus)
    channel.uplink.receive(datagram, parse_header(datagram), PEER, server.now())
    return channel


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


@pytest.fixture
async def server() -> AsyncIterator[UdpServer]:
    server = UdpServer(UdpSettings(), lambda device_id: MASTER)
    await server.start(bound())
    yield server
    await server.aclose()


def hello(channel: UdpChannel) -> dict[str, object]:
    section = channel.describe()["udp"]
    assert isinstance(section, dict)
    return section


async def test_hello_says_all_a_device_needs(server: UdpServer) -> None:
    channel = server.open(CONTROL, request(), Silent())
    section = hello(channel)
    assert section["server"] == "192.0.2.7"
    assert section["port"] == server.port
    assert section["key"] == derive_session_key(MASTER, "s1").hex()
    assert section["nonce"] == f"01000000{channel.ssrc:08x}0000000000000000"
    assert section["encryption"] == "aes-128-ctr"


async def test_a_mapped_port_is_advertised_instead_of_the_bound_one() -> None:
    server = UdpServer(UdpSettings(public_port=18884), lambda device_id: MASTER)
    await server.start(bound())
    assert hello(server.open(CONTROL, request(), Silent()))["port"] == 18884
    assert server.port != 18884
    await server.aclose()


async def test_every_session_has_its_own_ssrc_and_key(server: UdpServer) -> None:
    channels = [server.open(CONTROL, request(f"s{number}"), Silent()) for number in range(50)]
    assert len({channel.ssrc for channel in channels}) == 50
    assert len({hello(channel)["key"] for channel in channels}) == 50
    assert server.count == 50


async def test_nothing_is_sent_before_the_device_was_heard_or_after_close(server: UdpServer) -> None:
    unheard = server.open(CONTROL, request("s0"), Silent())
    assert not unheard.send(b"\x08abc", 60)
    unheard.close()
    channel = hear(server)
    ready = [unheard.ready, channel.ready]
    assert ready == [False, True]
    assert channel.send(b"\x08abc", 60)
    assert not channel.send(b"\x08abc", 60)
    channel.close()
    channel.close()
    assert not channel.send(b"\x08abc", 120)
    assert (channel.stats.sent, server.totals().sent, server.count) == (1, 1, 0)


class Refusing:
    """A socket the kernel takes nothing from."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def sendto(self, datagram: bytes, address: tuple[str, int]) -> int:
        raise self.error


@pytest.mark.parametrize(
    "error", [BlockingIOError(), OSError(105, "no buffer space"), ConnectionRefusedError()]
)
async def test_a_datagram_the_kernel_refuses_is_dropped_and_counted(
    server: UdpServer, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = hear(server)
    with monkeypatch.context() as patch:
        patch.setattr(server, "_socket", Refusing(error))
        assert not channel.send(b"\x08abc", 60)
    assert server.send_errors == 1
    assert channel.stats.sent == 0
    assert channel.send(b"\x08abc", 120)


async def test_a_session_that_nobody_talked_in_counts_nothing_and_sends_nothing(server: UdpServer) -> None:
    channel = server.open(CONTROL, request(), Silent())
    assert not channel.send(b"\x08abc", 60)
    assert not channel.ready
    assert channel.stats == server.totals() == AudioStats()
    channel.close()
    assert server.totals() == AudioStats()


class Failing:
    """A socket that reports ICMP errors between its datagrams."""

    def __init__(self, answers: list[tuple[bytes, tuple[str, int]] | OSError]) -> None:
        self.answers = answers

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        if not self.answers:
            raise BlockingIOError
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


async def test_an_icmp_error_does_not_stop_the_reader(
    server: UdpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = (bytes(40), ("127.0.0.1", 9))
    with monkeypatch.context() as patch:
        patch.setattr(
            server, "_socket", Failing([ConnectionRefusedError(), stranger, OSError(113, "no route")])
        )
        server._readable()
    assert server.receive_errors == 2
    assert server.datagrams == server.unknown == 1


async def test_one_wake_up_reads_a_bounded_number(server: UdpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing([(bytes(40), ("127.0.0.1", 9))] * 200)
    with monkeypatch.context() as patch:
        patch.setattr(server, "_socket", failing)
        server._readable()
    assert server.datagrams == 64
    assert len(failing.answers) == 136


def test_many_quick_wake_ups_turn_into_polls_and_quiet_ones_back() -> None:
    pace = ReadPace()
    assert [pace.woke(10 + number * 0.0002) for number in range(17)] == [False] * 16 + [True]
    assert all(pace.polled(count) for count in (9, 1, 0, 0, 5, 1, 1, 1, 1, 1, 1, 1))
    assert not pace.polled(0)
    assert not any(pace.woke(11 + number * 0.0002) for number in range(16))


def test_single_talkers_wake_the_loop_themselves() -> None:
    pace = ReadPace()
    assert not any(pace.woke(number * 0.02) for number in range(1000))


async def test_a_rate_opus_does_not_have_opens_nothing(server: UdpServer) -> None:
    with pytest.raises(AudioError, match="44100"):
        server.open(CONTROL, request(sample_rate=44_100), Silent())
    assert server.count == 0


async def test_a_device_without_a_key_is_opened_nothing() -> None:
    server = UdpServer(UdpSettings(), lambda device_id: None)
    with pytest.raises(AudioError, match="aa-bb"):
        server.open(CONTROL, request(), Silent())
    assert server.count == 0


async def test_metrics_are_exported_while_it_runs() -> None:
    server = UdpServer(UdpSettings(), lambda device_id: MASTER)
    assert REGISTRY.get_sample_value("mimi_udp_sessions") is None
    await server.start(bound())
    server.open(CONTROL, request(), Silent())
    assert REGISTRY.get_sample_value("mimi_udp_sessions") == 1
    assert REGISTRY.get_sample_value("mimi_udp_packets_total", {"kind": "forged"}) == 0
    assert REGISTRY.get_sample_value("mimi_udp_errors_total", {"direction": "send"}) == 0
    await server.aclose()
    await server.aclose()
    assert not server.running
    assert server.count == 0
    assert REGISTRY.get_sample_value("mimi_udp_sessions") is None


async def test_a_server_can_close_before_it_started() -> None:
    server = UdpServer(UdpSettings(), lambda device_id: MASTER)
    channel = hear(server)
    assert not channel.send(b"\x08abc", 60)
    await server.aclose()
    await asyncio.sleep(0)


async def test_a_failing_session_does_not_stop_the_reader(
    server: UdpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
            raise ValueError("a bug in a session")

    channel = server.open(CONTROL, request(), Broken())
    cipher = AudioCipher(derive_session_key(MASTER, "s1"))
    opus = OpusEncoder(16_000).encode(np.zeros(960, np.int16))
    sealed = [
        cipher.encrypt(pack_uplink(nonce_template(channel.ssrc), 0, number, len(opus)), opus)
        for number in (1, 2)
    ]
    stranger = (bytes(40), ("127.0.0.1", 9))
    with monkeypatch.context() as patch:
        patch.setattr(server, "_socket", Failing([*((one, ("127.0.0.1", 9)) for one in sealed), stranger]))
        server._readable()
    assert channel.failed
    assert server.datagrams == 3
    assert server.unknown == 1
    assert channel.stats.received == 2
