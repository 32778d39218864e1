"""SIGTERM over a bad network: the device is told goodbye, and the server ends whatever the network does."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device.actions import ChannelOpened, Play
from mimi_mqtt.cli.device.client import Told
from mimi_mqtt.cli.device.speech import synthesise
from tests.e2e.conftest import Server, clean_environ
from tests.integration.network.packet_link import PacketLink, unavailable
from tests.integration.network.talking import Talk, talk
from tests.servers.impaired import Conditions, TcpProxy, UdpProxy

BAD = Conditions(loss=0.1, delay_s=0.05, jitter_s=0.06, duplicate=0.1)
GOODBYE = "the server said goodbye"


@pytest.fixture
async def question() -> Pcm:
    """The user's words."""
    return await synthesise("what time is it", 16_000, "en", "offline")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A process with the offline voice, not started; it is ended with the test."""
    (tmp_path / "server.log").touch()
    binds = {f"MIMI_{part}__BIND": "127.0.0.1:0" for part in ("MQTT", "UDP", "HTTP")}
    made = Server(tmp_path, clean_environ(**binds))
    yield made
    if made.process is not None and made.process.returncode is None:
        await made.stop(signal.SIGKILL)


def port(server: Server, name: str) -> int:
    """A port that the server told at its start."""
    found = re.search(rf"{name}\s+(\d+)", server.welcome)
    assert found
    return int(found[1])


@pytest.mark.parametrize("at", [ChannelOpened, Play])
async def test_device_is_told_goodbye_over_a_bad_network(
    server: Server, question: Pcm, at: type[ChannelOpened | Play]
) -> None:
    async with UdpProxy(BAD) as udp:
        server.environ |= {"MIMI_UDP__PUBLIC_PORT": str(udp.port)}
        await server.start()
        udp.upstream = port(server, "UDP")
        stopping: list[asyncio.Task[int]] = []

        def react(told: Told, _: Talk) -> None:
            if isinstance(told, at) and not stopping:
                stopping.append(asyncio.create_task(server.stop()))

        async with TcpProxy(port(server, "MQTT"), delay_s=0.05) as tcp:
            talked = await talk(server.ota, pcm=question, mqtt_port=tcp.port, react=react)
            assert await stopping[0] == 0
    assert talked.closed[0] == GOODBYE
    assert "Traceback" not in server.log
    if at is Play:
        assert talked.summary.ok, talked.summary.error
        assert talked.began == talked.ended == 1


@pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")
async def test_server_ends_although_a_device_acknowledges_nothing(server: Server, question: Pcm) -> None:
    loop = asyncio.get_running_loop()
    async with PacketLink() as link:
        server.environ |= {f"MIMI_{part}__BIND": f"{link.host}:0" for part in ("MQTT", "UDP", "HTTP")}
        await server.start()
        stopping: list[asyncio.Task[int]] = []

        def stop() -> None:
            link.tcp_down.hold()
            stopping.append(asyncio.create_task(server.stop()))

        def react(told: Told, talked: Talk) -> None:
            if isinstance(told, Play) and len(talked.played) == 1:
                loop.call_soon_threadsafe(stop)

        await link.inside(lambda: talk(server.ota, pcm=question, react=react, timeout_s=10.0))
        assert await stopping[0] == 0
    assert "Traceback" not in server.log
