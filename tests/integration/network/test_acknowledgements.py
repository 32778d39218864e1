"""Late and missing acknowledgements of the control connection: replies are heard from their first frame."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.network.packet_link import PacketLink, unavailable
from tests.integration.network.talking import MACS, Talk, ota_of, served, talk
from tests.integration.network.voice import ANSWERED_MS, Stage

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")


async def test_no_reply_loses_its_beginning_over_80_ms_and_with_acknowledgements_every_250_ms(
    tmp_path: Path,
) -> None:
    tunes = ("do mi", "re fa", "mi do", "fa so")
    async with PacketLink(delay_s=0.04, ack_tick_s=0.25) as link, served(tmp_path, link.host) as app:
        ota = ota_of(app, link.host)

        async def both() -> tuple[Talk, Talk]:
            return await asyncio.gather(
                talk(ota, *tunes, mac=MACS[0], like="stock-2.4"),
                talk(ota, *tunes, mac=MACS[1], like="stock-2.5"),
            )

        talks = await link.inside(both)
    for talked in talks:
        talked.assert_whole(*tunes)


@pytest.mark.parametrize("seconds", [0.4, 1.0])
async def test_reply_waits_for_a_control_connection_that_stalls_when_it_begins(
    tmp_path: Path, stage: Stage, seconds: float
) -> None:
    async with PacketLink(delay_s=0.01) as link, served(tmp_path, link.host) as app:

        async def stall() -> None:
            link.stall(seconds)

        stage.before_answer = stall
        talked = await link.inside(lambda: talk(ota_of(app, link.host), "do re mi", "so fa"))
    talked.assert_whole("do re mi", "so fa")


async def test_reply_waits_for_a_control_connection_that_stalls_for_3_s_from_the_end_of_the_speech(
    tmp_path: Path, stage: Stage
) -> None:
    async with PacketLink(delay_s=0.01) as link, served(tmp_path, link.host) as app:

        async def stall() -> None:
            link.stall(3.0)

        async def think() -> None:
            await asyncio.sleep(0.5)

        stage.before_transcript, stage.before_answer = stall, think
        talked = await link.inside(lambda: talk(ota_of(app, link.host), "do re mi"))
    talked.assert_whole("do re mi")


async def test_turn_ends_although_the_stall_outlasts_the_wait_for_the_acknowledgement(
    tmp_path: Path, stage: Stage
) -> None:
    stage.times = 4
    async with PacketLink(delay_s=0.01) as link, served(tmp_path, link.host) as app:

        async def stall() -> None:
            link.stall(4.5)

        stage.before_answer = stall
        talked = await link.inside(lambda: talk(ota_of(app, link.host), "do re mi so fa"))
    assert talked.summary.ok, talked.summary.error
    (turn,) = talked.summary.turns
    whole = 4 * 5 * ANSWERED_MS
    assert turn.received >= whole // 60, "the reply was sent whole"
    assert 0 < turn.audio_ms < whole, "the device was not speaking when it began"
    assert talked.melody.endswith("do re mi so fa")
    assert talked.began == talked.ended == 1
