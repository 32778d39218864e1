"""Control connections that break in a turn: it goes on over the next one, and nothing is said twice."""

import asyncio
from pathlib import Path

import pytest

from mimi_mqtt.cli.device.actions import Play
from mimi_mqtt.cli.device.client import Told
from tests.integration.network.packet_link import PacketLink, unavailable
from tests.integration.network.talking import Talk, ota_of, served, talk
from tests.integration.network.voice import Stage
from tests.servers.impaired import TcpProxy

BACK_AFTER_S = 0.5
TUNE = "do re mi so"


@pytest.mark.parametrize(("like", "server_learns"), [("stock-2.4", True), ("stock-2.5", False)])
async def test_reply_goes_on_after_a_cut_while_it_is_spoken(
    tmp_path: Path, stage: Stage, like: str, server_learns: bool
) -> None:
    stage.times = 3
    async with served(tmp_path) as app, TcpProxy(app.mqtt_port) as proxy:

        def react(told: Told, talked: Talk) -> None:
            if isinstance(told, Play) and len(talked.played) == 5:
                proxy.cut(server_learns=server_learns)

        talked = await talk(
            ota_of(app), TUNE, mqtt_port=proxy.port, react=react, like=like, reconnect_after_s=BACK_AFTER_S
        )
        assert proxy.connections == 2
    talked.assert_whole(TUNE, times=3)
    assert (talked.summary.sessions, talked.summary.reconnects) == (1, 1)


async def test_words_spoken_during_a_cut_are_answered_once(tmp_path: Path) -> None:
    async with served(tmp_path) as app, TcpProxy(app.mqtt_port) as proxy:
        talked = await talk(
            ota_of(app), TUNE, mqtt_port=proxy.port, drop_control="listening", reconnect_after_s=1.5
        )
        assert proxy.connections == 2
    talked.assert_whole(TUNE)
    assert (talked.summary.sessions, talked.summary.reconnects) == (1, 1)


needs_a_link = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")


@needs_a_link
async def test_reply_that_was_written_to_a_dead_connection_is_heard_on_the_next(
    tmp_path: Path, stage: Stage
) -> None:
    """The connection dies when the answer begins; the server learns of it by the device's next one."""
    async with PacketLink() as link, served(tmp_path, link.host) as app:

        async def die() -> None:
            link.break_for_device(app.mqtt_port)

        stage.before_answer = die
        talked = await link.inside(
            lambda: talk(ota_of(app, link.host), TUNE, reconnect_after_s=BACK_AFTER_S, timeout_s=10.0)
        )
        assert link.connections(app.mqtt_port) == 2
    talked.assert_whole(TUNE)
    assert talked.summary.sessions == 1


@needs_a_link
async def test_end_of_a_reply_that_was_written_to_a_dead_connection_comes_on_the_next(
    tmp_path: Path, stage: Stage
) -> None:
    loop = asyncio.get_running_loop()
    async with PacketLink() as link, served(tmp_path, link.host) as app:

        def react(told: Told, talked: Talk) -> None:
            if isinstance(told, Play) and len(talked.played) == 2:
                loop.call_soon_threadsafe(link.break_for_device, app.mqtt_port)

        # The reply of a second is over before the device is back.
        talked = await link.inside(
            lambda: talk(ota_of(app, link.host), TUNE, react=react, reconnect_after_s=2.5, timeout_s=10.0)
        )
        assert link.connections(app.mqtt_port) == 2
    talked.assert_whole(TUNE)
    assert talked.summary.sessions == 1
