"""Attacks on a running server, each while a device talks to it: the device is heard and answered all the
same, and the attacker learns nothing.

The attacker has a device of its own with good credentials, and sees the victim's datagrams on the network.
"""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
import pytest_asyncio

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device import device as running_device
from mimi_mqtt.cli.device.actions import ChannelOpened, SpeakingBegan
from mimi_mqtt.cli.device.booting import MqttAccess, boot_over_mqtt
from mimi_mqtt.cli.device.client import DeviceOptions, Summary, Told, converse
from mimi_mqtt.cli.device.network import AudioSocket
from mimi_mqtt.cli.device.speech import synthesise
from mimi_mqtt.wire.audio_packet import DOWNLINK_FLAGS, pack_uplink, parse_header
from mimi_mqtt.wire.mqtt import encode_connect, encode_publish, parse_publish
from mimi_mqtt.wire.topics import device_id_from_mac, device_topic
from tests.e2e.conftest import Server, clean_environ, metric
from tests.integration.mqtt.raw import RawClient

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

QUESTION = "what time is it"
VICTIM_MAC, ATTACKER_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
VICTIM = device_id_from_mac(VICTIM_MAC)
WRONG_CREDENTIALS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for all attacks: each finds it as the one before left it."""
    folder: Path = tmp_path_factory.mktemp("attacked")
    (folder / "server.log").touch()
    binds = {f"MIMI_{part}__BIND": "127.0.0.1:0" for part in ("MQTT", "UDP", "HTTP")}
    server = Server(folder, clean_environ(**binds))
    await server.start()
    yield server
    alive = await server.stop(signal.SIGTERM)
    assert alive == 0
    assert "Traceback" not in server.log


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def question() -> Pcm:
    """The victim's words."""
    return await synthesise(QUESTION, 16_000, "en", "offline")


@dataclass
class Tap:
    """What goes over the victim's network, seen by the attacker, who acts at every datagram of the victim."""

    attack: Callable[["Tap"], None] = lambda _: None
    sent: list[bytes] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    opened: "asyncio.Future[ChannelOpened]" = field(default_factory=lambda: asyncio.Future())
    replies: int = 0

    @property
    def server(self) -> tuple[str, int]:
        """Where the victim sends its audio."""
        opened = self.opened.result()
        return opened.server, opened.port

    def tell(self, action: Told) -> None:
        """What the victim does."""
        if isinstance(action, ChannelOpened):
            self.opened.set_result(action)
        self.replies += isinstance(action, SpeakingBegan)


@dataclass
class Attacker:
    """Somebody with a device of his own, and a socket."""

    access: MqttAccess
    port: int
    sock: socket.socket
    clients: list[RawClient] = field(default_factory=list)

    async def open(self) -> RawClient:
        """A connection that has said nothing yet."""
        self.clients.append(await RawClient.open(self.port))
        return self.clients[-1]

    async def log_in(self) -> RawClient:
        """A connection of the attacker's own device."""
        connection = await self.open()
        assert (
            await connection.connack(self.access.client_id, self.access.username, self.access.password) == 0
        )
        return connection

    @property
    def topic(self) -> str:
        """Where his own device publishes."""
        return self.access.publish_topic

    def send(self, datagram: bytes, tap: Tap) -> None:
        """A datagram from an address that is not the victim's."""
        self.sock.sendto(datagram, tap.server)

    def datagrams(self) -> list[bytes]:
        """What the server sent him."""
        got = []
        while True:
            try:
                got.append(self.sock.recv(2048))
            except BlockingIOError:
                return got


@pytest_asyncio.fixture(loop_scope="module")
async def attacker(running: Server) -> AsyncIterator[Attacker]:
    access = await boot_over_mqtt(running.ota, ATTACKER_MAC, "en")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        found = Attacker(access, access.port, sock)
        yield found
        for connection in found.clients:
            await connection.close()


@pytest.fixture
def tap(monkeypatch: pytest.MonkeyPatch) -> Tap:
    """The attacker's ear and hand on the victim's network."""
    tap = Tap()

    class TappedSocket(AudioSocket):
        def send(self, datagram: bytes) -> None:
            tap.sent.append(datagram)
            tap.attack(tap)
            super().send(datagram)

        def datagram_received(self, data: bytes, addr: object) -> None:
            tap.received.append(data)
            super().datagram_received(data, addr)

    monkeypatch.setattr(running_device, "AudioSocket", TappedSocket)
    return tap


@dataclass
class Victim:
    """A device whose owner asks what time it is."""

    ota: str
    question: Pcm
    tap: Tap
    talks: "list[asyncio.Task[Summary]]" = field(default_factory=list)

    def talk(self, pcm: Pcm | None = None) -> "asyncio.Task[Summary]":
        """Begins a conversation."""
        options = DeviceOptions(
            ota=self.ota, mac=VICTIM_MAC, pcm=self.question if pcm is None else pcm, timeout_s=60
        )
        self.talks.append(asyncio.create_task(converse(options, self.tap.tell)))
        return self.talks[-1]


@pytest_asyncio.fixture(loop_scope="module")
async def victim(running: Server, question: Pcm, tap: Tap) -> AsyncIterator[Victim]:
    found = Victim(running.ota, question, tap)
    yield found
    for (
        talk
    ) in found.talks:  # of a test that failed: two devices of one name would end each other's connection
        talk.cancel()
    await asyncio.gather(*found.talks, return_exceptions=True)


async def unharmed(talk: "asyncio.Task[Summary]") -> Summary:
    """The victim was heard right and answered with all of its speech."""
    summary = await talk
    assert summary.ok, summary
    assert summary.heard == QUESTION
    assert (summary.clipped_start_ms, summary.clipped_end_ms) == (0, 0)
    return summary


# ── the control connection ───────────────────────────────────────────────────────────────────────────────


async def test_a_wrong_password_under_the_victims_name_changes_nothing_for_it(
    victim: Victim, attacker: Attacker
) -> None:
    talk = victim.talk()
    await victim.tap.opened
    for guess in ("", "wrong", attacker.access.password, "x" * 43):
        for _ in range(10):
            connection = await attacker.open()
            assert await connection.connack(VICTIM, VICTIM, guess) == WRONG_CREDENTIALS
            assert await connection.closed() == []
    await unharmed(talk)


async def test_another_devices_topics_can_be_neither_written_nor_read(
    victim: Victim, attacker: Attacker
) -> None:
    talk = victim.talk()
    opened = await victim.tap.opened
    spy = await attacker.log_in()
    filters = [device_topic(VICTIM, leaf) for leaf in ("up", "down", "state", "event")]
    filters += ["#", "mimi/#", "+/+/+/down", "mimi/devices/+/up", "$SYS/#"]
    # Granted, as clients that hard-code a filter stop at a refusal; and nothing of others is ever delivered.
    assert set(await spy.subscribe(*((name, 1) for name in filters))) == {1}
    for leaf in ("up", "down"):
        for message in ("abort", "goodbye"):
            payload = json.dumps({"type": message, "session_id": opened.session_id}).encode()
            await spy.publish(device_topic(VICTIM, leaf), payload, retain=True)
    await unharmed(talk)
    assert await spy.round_trip() == []


async def test_the_victims_session_id_is_worth_nothing_on_another_connection(
    victim: Victim, attacker: Attacker
) -> None:
    talk = victim.talk()
    opened = await victim.tap.opened
    spy = await attacker.log_in()
    answers = []
    for session_id in (opened.session_id, "0" * len(opened.session_id)):
        for message in (
            {"type": "abort"},
            {"type": "listen", "state": "stop"},
            {"type": "listen", "state": "start", "mode": "manual"},
            {"type": "mcp", "payload": {"jsonrpc": "2.0", "id": 1, "result": {}}},
            {"type": "goodbye"},
        ):
            payload = json.dumps(message | {"session_id": session_id}).encode()
            await spy.publish_qos0(attacker.topic, payload)
        told = [parse_publish(packet).payload.decode() for packet in await spy.round_trip()]
        answers.append([text.replace(session_id, "<id>") for text in told])
    assert answers[0] == answers[1]
    await unharmed(talk)


async def test_silent_slow_and_oversized_connects_keep_nobody_waiting(
    victim: Victim, attacker: Attacker
) -> None:
    silent = [await attacker.open() for _ in range(300)]
    slow = [await attacker.open() for _ in range(100)]
    oversized = [await attacker.open() for _ in range(100)]
    login = encode_connect(attacker.access.client_id, username="x", password=b"y" * 1000, keepalive_s=60)

    def dribble(tap: Tap) -> None:
        for connection in slow:
            connection.writer.write(login[len(tap.sent) - 1 : len(tap.sent)])

    victim.tap.attack = dribble
    talk = victim.talk()
    for connection in oversized:
        connection.writer.write(b"\x10\xff\xff\x7f" + bytes(20_000))
    closed = await asyncio.gather(*(it.closed() for it in (*silent, *slow, *oversized)))
    assert closed == [[]] * 500
    await unharmed(talk)


async def test_a_thousand_failed_logins_leave_nothing_behind(
    running: Server, victim: Victim, attacker: Attacker
) -> None:
    assert running.process is not None
    process = psutil.Process(running.process.pid)
    refused = 'mimi_mqtt_connects_refused_total{reason="credentials"}'

    async def fail(number: int) -> None:
        connection = await attacker.open()
        assert await connection.connack(f"client-{number}", VICTIM, f"guess-{number}") == WRONG_CREDENTIALS
        await connection.close()
        attacker.clients.remove(connection)

    await asyncio.gather(*(fail(number) for number in range(100)))
    before, sockets, memory = await metric(running, refused), process.num_fds(), process.memory_info().rss
    talk = victim.talk()
    for wave in range(20):
        await asyncio.gather(*(fail(50 * wave + number) for number in range(50)))
    await unharmed(talk)
    assert await metric(running, refused) == before + 1000
    assert process.num_fds() <= sockets + 5
    grown = process.memory_info().rss - memory
    assert grown < 10_000_000, grown


async def test_junk_on_a_devices_own_connection_ends_no_others(victim: Victim, attacker: Attacker) -> None:
    talk = victim.talk()
    await victim.tap.opened
    connection = await attacker.log_in()
    for junk in (b"", b"{", b"[]", b"null", b"\xff" * 100, b"[" * 10_000, b'{"type":1}', b'{"type":"hello"}'):
        await connection.publish_qos0(attacker.topic, junk)
    for fields in (
        {"type": "hello", "version": [], "transport": {}, "audio_params": 3},
        {"type": "listen", "session_id": {}, "state": 7, "mode": None, "text": []},
        {"type": "abort", "session_id": [], "reason": {}},
        {"type": "mcp", "session_id": 0, "payload": "x"},
        {"type": "goodbye", "session_id": 1.5},
    ):
        await connection.publish_qos0(attacker.topic, json.dumps(fields).encode())
    await connection.round_trip()
    connection.writer.write(
        encode_publish(attacker.topic, b'{"type":"hello","x":"' + b"x" * 1_000_000 + b'"}')
    )
    assert await connection.closed() == []  # far beyond what a device may send
    await unharmed(talk)
    again = await attacker.log_in()
    await again.round_trip()


# ── the audio channel ────────────────────────────────────────────────────────────────────────────────────


async def test_forged_and_replayed_datagrams_are_not_heard(victim: Victim, attacker: Attacker) -> None:
    def forge(tap: Tap) -> None:
        nonce, length = tap.sent[-1][:16], len(tap.sent[-1]) - 16
        for sequence in (0xFFFFFFFF, 0, parse_header(tap.sent[-1]).sequence + 3):
            attacker.send(pack_uplink(nonce, 0, sequence, length) + os.urandom(length), tap)
        for recorded in tap.sent[-6:-1]:
            attacker.send(recorded, tap)

    victim.tap.attack = forge
    await unharmed(victim.talk())
    assert len(victim.tap.sent) > 20
    assert attacker.datagrams() == []


async def test_one_packet_from_elsewhere_does_not_carry_the_answer_away(
    victim: Victim, attacker: Attacker
) -> None:
    def overtake(tap: Tap) -> None:
        # Caught on its way, and sent on from elsewhere before the victim's own gets through.
        if len(tap.sent) % 8 == 0:
            attacker.send(tap.sent[-1], tap)

    victim.tap.attack = overtake
    await unharmed(victim.talk())
    assert attacker.datagrams() == []


async def test_a_flood_of_datagrams_does_not_end_the_conversation(
    running: Server, victim: Victim, attacker: Attacker
) -> None:
    def flood(tap: Tap) -> None:
        nonce = tap.sent[-1][:16]
        sequence = parse_header(tap.sent[-1]).sequence
        for number in range(40):
            header = pack_uplink(nonce, 0, sequence + number, 120)
            attacker.send(header + os.urandom(120), tap)
            attacker.send(os.urandom(136), tap)

    before = await metric(running, "mimi_udp_datagrams_total")
    victim.tap.attack = flood
    await unharmed(victim.talk())
    assert await metric(running, "mimi_udp_datagrams_total") > before + 1000
    assert attacker.datagrams() == []


async def test_no_key_stream_is_used_twice_in_a_session_of_several_answers(victim: Victim) -> None:
    pause = np.zeros(5 * 16_000, np.int16)
    question = victim.question
    await unharmed(victim.talk(np.concatenate((question, pause, question, pause, question))))
    assert victim.tap.replies == 3
    headers = [parse_header(datagram) for datagram in victim.tap.received]
    assert len(headers) > 60
    assert {header.flags for header in headers} == {DOWNLINK_FLAGS}
    assert len({header.ssrc for header in headers}) == 1
    # Of the counter block all but the last four bytes: with no two alike, no two key streams can meet.
    assert len({(header.length, header.timestamp) for header in headers}) == len(headers)
    timestamps = [header.timestamp for header in headers]
    sequences = [header.sequence for header in headers]
    assert timestamps == sorted(set(timestamps))
    assert sequences == sorted(set(sequences))
