"""The UDP audio server: one IPv4 socket for all sessions, drained in a loop, routed by ssrc.

`transports.udp_channel` decides which datagrams are believed; one with an unknown ssrc is only counted.
The socket stays open as long as a session lives: an ICMP error ends a device's receiver for good.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

from mimi_mqtt.audio.opus import PacketCheck
from mimi_mqtt.config.connections import UdpSettings
from mimi_mqtt.errors import AudioError, AudioPacketError
from mimi_mqtt.session.link import AudioRequest, AudioSink, AudioStats, ControlChannel
from mimi_mqtt.transports.udp_channel import Downlink, Uplink, UplinkLimits
from mimi_mqtt.wire.audio_packet import (
    HEADER_BYTES,
    AudioCipher,
    derive_session_key,
    nonce_template,
    parse_header,
)

_log = logging.getLogger(__name__)

PROBES: Final = 5
"""Datagrams of one probe: some are lost even on a network that works."""
PROBE_EVERY_S: Final = 0.2
"""Seconds between them."""

_DRAIN: Final = 64  # datagrams per wake-up, so that a flood can't keep the loop from everything else
_RECEIVE_BYTES: Final = 2_048  # longer than any datagram a device sends; a cut one fails its exact length
_POLL_S: Final = 0.003
_POLL_BELOW_S: Final = 0.001  # between two wake-ups
_POLL_AFTER: Final = 16  # such wake-ups in a row
_STOP_AFTER: Final = 8  # polls in a row that found one datagram at most
_CUMULATIVE: Final = tuple(f.name for f in fields(AudioStats) if f.name != "jitter_ms")


class UdpChannel:
    """One session's audio over UDP; implements `session.link.AudioChannel`. Made by `UdpServer.open`.

    Ciphers and window are made at the first datagram: hellos come by the thousand, and few of them are
    followed by speech.
    """

    __slots__ = (
        "__weakref__", "_check", "_downlink", "_home", "_key", "_opened", "_request", "_server", "_sink",
        "_ssrc", "_uplink", "failed",
    )  # fmt: skip

    def __init__(
        self,
        server: "UdpServer",
        ssrc: int,
        key: bytes,
        request: AudioRequest,
        check: PacketCheck,
        sink: AudioSink,
        home: str | None,
    ) -> None:
        self._server = server
        self._home = home
        self._ssrc = ssrc
        self._request = request
        self._check = check
        self._sink = sink
        self._opened = server.now()
        self._key = key
        self._uplink: Uplink | None = None
        self._downlink: Downlink | None = None
        self.failed = False
        """True once its sink raised; logged once."""

    @property
    def uplink(self) -> Uplink:
        """The incoming side; made when it is first asked for."""
        if self._uplink is None:
            cipher = AudioCipher(self._key)
            self._downlink = Downlink(cipher, self._ssrc)
            self._uplink = Uplink(
                cipher,
                self._check,
                self._sink,
                self._server.limits,
                self._request.frame_ms,
                self._opened,
                self.ids,
                self._home,
            )
        return self._uplink

    @property
    def ssrc(self) -> int:
        """The session's identity on the wire."""
        return self._ssrc

    @property
    def ids(self) -> Mapping[str, str]:
        """Device and session, for log entries."""
        return {"device": self._request.device_id, "session": self._request.session_id}

    @property
    def stats(self) -> AudioStats:
        """Live counters; all 0 as long as no datagram came."""
        return AudioStats() if self._uplink is None else self._uplink.stats

    @property
    def heard(self) -> bool:
        """True once a datagram named this session, so that there is something to count."""
        return self._uplink is not None

    @property
    def ready(self) -> bool:
        """True once the device was heard, so that the downlink has an address."""
        return self._uplink is not None and self._uplink.address is not None

    @property
    def spare_bytes(self) -> None:
        """None: control messages go another way."""
        return None

    @property
    def carries_timestamps(self) -> bool:
        """True: each datagram has one."""
        return True

    def describe(self) -> Mapping[str, Any]:
        """The hello's `udp` section."""
        return {
            "udp": {
                "server": self._request.host,
                "port": self._server.advertised_port,
                "key": self._key.hex(),
                "nonce": nonce_template(self._ssrc).hex(),
                "encryption": "aes-128-ctr",
            }
        }

    def send(self, opus: bytes, timestamp: int) -> bool:
        """Sends one frame; False when it was dropped: closed, no address yet, a `timestamp` that does not
        increase, an address that is not proven yet, or a socket that would not take it."""
        uplink, downlink = self._uplink, self._downlink
        if uplink is None or downlink is None or not self._server.serves(self):
            return False
        address = uplink.address
        if address is None:
            return False
        datagram = downlink.seal(opus, timestamp)
        if datagram is None or not uplink.spend(len(datagram)):
            return False
        if not self._server.transmit(datagram, address):
            return False
        uplink.stats.sent += 1
        return True

    def close(self) -> None:
        """Forgets the session; its datagrams are as unknown as any from now on. Safe to call twice."""
        self._server.forget(self)


class ReadPace:
    """Choice between two ways to read: the socket wakes the loop, or it is polled every few ms.

    A wake-up costs several times what a datagram does. When many devices talk, one wake-up a datagram is a
    waste, and 3 ms are nothing against a 60 ms frame; when few do, the socket wakes the loop as usual.
    """

    __slots__ = ("_idle_polls", "_quick_wakes", "_woke_at")

    def __init__(self) -> None:
        self._woke_at = 0.0
        self._quick_wakes = 0
        self._idle_polls = 0

    def woke(self, now: float) -> bool:
        """Counts a wake-up at `now` (s); True when the socket should be polled from here on."""
        self._quick_wakes = self._quick_wakes + 1 if now - self._woke_at < _POLL_BELOW_S else 0
        self._woke_at = now
        if self._quick_wakes < _POLL_AFTER:
            return False
        self._quick_wakes = self._idle_polls = 0
        return True

    def polled(self, count: int) -> bool:
        """Counts a poll that found `count` datagrams; False when the socket should wake the loop again."""
        self._idle_polls = self._idle_polls + 1 if count <= 1 else 0
        return self._idle_polls < _STOP_AFTER


class UdpServer:
    """Makes and serves UDP channels; implements `session.link.AudioTransport`.

    `master_key` finds a device's 16-byte UDP key, which OTA gave it; None for a device that has none.
    """

    def __init__(self, settings: UdpSettings, master_key: Callable[[str], bytes | None]) -> None:
        self._settings = settings
        self._master_key = master_key
        self.limits = UplinkLimits(
            max_sequence_jump=settings.max_sequence_jump,
            max_datagrams_per_s=settings.max_datagrams_per_s,
            path_proof_packets=settings.path_proof_packets,
        )
        self._channels: dict[int, UdpChannel] = {}
        self._checks: dict[tuple[int, int, bool], PacketCheck] = {}  # by rate, ms and channels: a handful
        self._ended = AudioStats()
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._collector: _UdpCollector | None = None
        self._port = 0
        self._pace = ReadPace()
        self._poll_handle: asyncio.Handle | None = None
        self._failing = False
        self._probes: dict[bytes, asyncio.Future[None]] = {}
        self.datagrams = 0
        """All datagrams received."""
        self.unknown = 0
        """Datagrams of no session, or too short to name one."""
        self.malformed = 0
        """Datagrams of a session with a wrong type or length."""
        self.receive_errors = 0
        """Errors the socket reported in place of a datagram, such as an ICMP message."""
        self.send_errors = 0
        """Datagrams the kernel did not take."""

    async def start(self, sock: socket.socket) -> None:
        """Serves on `sock`, a bound IPv4 datagram socket, which the server owns from now on."""
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._settings.receive_buffer_bytes)
        self._socket = sock
        self._port = sock.getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)
        self._collector = _UdpCollector(self)
        REGISTRY.register(self._collector)

    async def aclose(self) -> None:
        """Closes remaining channels, then the socket; sessions should have ended. Safe to call twice."""
        for channel in list(self._channels.values()):
            channel.close()
        if self._collector is not None:
            REGISTRY.unregister(self._collector)
            self._collector = None
        if self._poll_handle is not None:
            self._poll_handle.cancel()
            self._poll_handle = None
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    @property
    def port(self) -> int:
        """The bound port."""
        return self._port

    @property
    def advertised_port(self) -> int:
        """The port devices are told to send to."""
        return self._settings.public_port or self._port

    @property
    def count(self) -> int:
        """Open channels."""
        return len(self._channels)

    @property
    def running(self) -> bool:
        """True while the socket is served and the last reading had no fault."""
        return self._socket is not None and not self._failing

    def totals(self) -> AudioStats:
        """The counters of all channels, ended ones included; `jitter_ms` is the mean of those open now."""
        sums = {name: getattr(self._ended, name) for name in _CUMULATIVE}
        live = [channel.stats for channel in self._channels.values() if channel.heard]
        for stats in live:
            for name in _CUMULATIVE:
                sums[name] += getattr(stats, name)
        jitters = [stats.jitter_ms for stats in live if stats.received]
        return AudioStats(**sums, jitter_ms=sum(jitters) / len(jitters) if jitters else 0.0)

    def open(self, channel: ControlChannel, request: AudioRequest, sink: AudioSink) -> UdpChannel:
        """A channel with a fresh random ssrc and its own key; its audio is expected from where `channel`
        comes from. Raises AudioError for a rate Opus doesn't have, and for a device without a key."""
        master_key = self._master_key(request.device_id)
        if master_key is None:
            raise AudioError(f"no UDP key is known for the device {request.device_id}")
        ssrc = secrets.randbits(32)
        while not ssrc or ssrc in self._channels:
            ssrc = secrets.randbits(32)
        form = (request.sample_rate, request.frame_ms, request.stereo)
        check = self._checks.get(form)
        if check is None:
            check = self._checks[form] = PacketCheck(*form)
        key = derive_session_key(master_key, request.session_id)
        opened = self._channels[ssrc] = UdpChannel(self, ssrc, key, request, check, sink, channel.peer_host)
        return opened

    async def probe(self, host: str, port: int) -> None:
        """Sends a datagram from another socket to `host` and waits until this server's own has it. Raises
        OSError; the caller bounds the time."""
        loop = asyncio.get_running_loop()
        (_, _, _, _, address), *_ = await loop.getaddrinfo(
            host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM
        )
        mark = secrets.token_bytes(HEADER_BYTES)
        arrived = self._probes[mark] = loop.create_future()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                for _ in range(PROBES):
                    await loop.sock_sendto(sock, mark, address)
                    done, _ = await asyncio.wait({arrived}, timeout=PROBE_EVERY_S)
                    if done:
                        return
                await arrived
        finally:
            del self._probes[mark]

    # ── for its channels ─────────────────────────────────────────────────────────────────────────────────

    def now(self) -> float:
        """The loop's clock, in seconds."""
        loop = self._loop or asyncio.get_running_loop()
        return loop.time()

    def serves(self, channel: UdpChannel) -> bool:
        """True while `channel` is open."""
        return self._channels.get(channel.ssrc) is channel

    def forget(self, channel: UdpChannel) -> None:
        """Ends `channel` and keeps its counters."""
        if not self.serves(channel):
            return
        del self._channels[channel.ssrc]
        if not channel.heard:
            return
        for name in _CUMULATIVE:
            setattr(self._ended, name, getattr(self._ended, name) + getattr(channel.stats, name))

    def transmit(self, datagram: bytes, address: tuple[str, int]) -> bool:
        """Hands a datagram to the kernel; counts and returns False when that refuses it (buffer, route)."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto(datagram, address)
        except OSError:
            self.send_errors += 1
            return False
        return True

    # ── the socket ───────────────────────────────────────────────────────────────────────────────────────

    def _readable(self) -> None:
        sock, loop = self._socket, self._loop
        if sock is None or loop is None:
            return
        now = loop.time()
        if self._read(sock, now) is not None and self._pace.woke(now):
            loop.remove_reader(sock.fileno())
            self._poll_handle = loop.call_later(_POLL_S, self._poll)

    def _poll(self) -> None:
        sock, loop = self._socket, self._loop
        self._poll_handle = None
        if sock is None or loop is None:
            return
        count = self._read(sock, loop.time())
        if count == _DRAIN:
            self._poll_handle = loop.call_soon(self._poll)
        elif count is None or self._pace.polled(count):
            self._poll_handle = loop.call_later(_POLL_S, self._poll)
        else:
            loop.add_reader(sock.fileno(), self._readable)

    def _read(self, sock: socket.socket, now: float) -> int | None:
        """Reads the datagrams that wait; returns their number, None after a fault."""
        try:
            count = self._drain(sock, now)
        except Exception:  # noqa: BLE001 - the border of the socket: it serves all sessions
            if not self._failing:
                self._failing = True
                _log.exception("reading the audio socket failed; it goes on (logged once until it succeeds)")
            return None
        self._failing = False
        return count

    def _drain(self, sock: socket.socket, now: float) -> int:
        """Reads the datagrams that wait, at most `_DRAIN`; returns their number."""
        receive, channels = sock.recvfrom, self._channels
        for count in range(_DRAIN):
            try:
                datagram, address = receive(_RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                return count
            except OSError:
                self.receive_errors += 1
                continue
            self.datagrams += 1
            if len(datagram) <= HEADER_BYTES:
                if self._probes and (probe := self._probes.get(datagram)) is not None:
                    if not probe.done():
                        probe.set_result(None)
                    continue
                self.unknown += 1
                continue
            channel = channels.get(int.from_bytes(datagram[4:8]))
            if channel is None:
                self.unknown += 1
                continue
            try:
                try:
                    header = parse_header(datagram)
                except AudioPacketError:
                    self.malformed += 1
                    channel.uplink.stats.forged += 1
                    continue
                channel.uplink.receive(datagram, header, address, now)
            except Exception:  # noqa: BLE001 - the border of one session: the others' datagrams must be read
                if not channel.failed:
                    channel.failed = True
                    _log.exception("a session failed on an audio packet (logged once)", extra=channel.ids)
        return _DRAIN


class _UdpCollector(Collector):
    """Reads the plain counters when Prometheus asks."""

    def __init__(self, server: UdpServer) -> None:
        self._server = server

    def describe(self) -> Iterable[Metric]:
        return ()  # so that two servers in one process (a test) don't collide

    def collect(self) -> Iterable[Metric]:
        server, totals = self._server, self._server.totals()
        yield GaugeMetricFamily("mimi_udp_sessions", "Open UDP audio channels.", server.count)
        yield GaugeMetricFamily(
            "mimi_udp_jitter_ms", "Mean uplink jitter (RFC 3550), in ms.", totals.jitter_ms
        )
        yield CounterMetricFamily("mimi_udp_datagrams", "Datagrams received.", server.datagrams)
        packets = CounterMetricFamily(
            "mimi_udp_packets", "Audio packets by what became of them.", labels=["kind"]
        )
        for name in _CUMULATIVE:
            packets.add_metric([name], getattr(totals, name))
        packets.add_metric(["unknown"], server.unknown)
        packets.add_metric(["malformed"], server.malformed)
        yield packets
        errors = CounterMetricFamily("mimi_udp_errors", "Socket errors.", labels=["direction"])
        errors.add_metric(["receive"], server.receive_errors)
        errors.add_metric(["send"], server.send_errors)
        yield errors
