"""UDP that loses, delays, repeats and reorders packets, and NATs that forget: turns over a bad audio path."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mimi_mqtt.app import App
from mimi_mqtt.cli.device.actions import Play
from mimi_mqtt.cli.device.client import Told
from tests.integration.network.talking import Talk, ota_of, served, talk
from tests.integration.network.voice import Stage
from tests.servers.impaired import Conditions, UdpProxy

TUNES = ("do mi so", "fa re")


@asynccontextmanager
async def served_through(
    folder: Path, conditions: Conditions | None = None
) -> AsyncIterator[tuple[App, UdpProxy]]:
    """A server whose audio goes through a proxy."""
    async with (
        UdpProxy(conditions) as proxy,
        served(folder, udp={"bind": "127.0.0.1:0", "public_port": proxy.port}) as app,
    ):
        proxy.upstream = app.udp_port
        yield app, proxy


def in_order(melody: str, whole: str) -> bool:
    """True when `melody` is `whole` with gaps at most."""
    rest = iter(whole.split())
    return all(note in rest for note in melody.split())


@pytest.mark.parametrize(
    ("like", "conditions"),
    [
        pytest.param("stock-2.5", Conditions(loss=0.2), id="20 % loss"),
        pytest.param("stock-2.4", Conditions(burst=0.06, burst_length=3), id="bursts"),
        pytest.param("stock-2.4", Conditions(late=0.2), id="reordering"),
        pytest.param("stock-2.5", Conditions(duplicate=0.3, jitter_s=0.06), id="duplicates, 60 ms of jitter"),
        pytest.param(
            "stock-2.5",
            Conditions(loss=0.1, delay_s=0.3, jitter_s=0.06, late=0.1, duplicate=0.1),
            id="everything, 300 ms",
        ),
    ],
)
async def test_turns_are_heard_right_and_answered_in_order(
    tmp_path: Path, like: str, conditions: Conditions
) -> None:
    async with served_through(tmp_path, conditions) as (app, proxy):
        talked = await talk(ota_of(app), *TUNES, like=like)
        up, down = proxy.fate("up"), proxy.fate("down")
    assert talked.summary.ok, talked.summary.error
    assert talked.heard == list(TUNES)
    assert talked.began == talked.ended == len(TUNES)
    assert in_order(talked.melody, " ".join(TUNES))
    assert all(turn.clipped_start_ms == turn.overflowed == 0 for turn in talked.summary.turns)
    # The path was as bad as it should be.
    assert bool(up.lost and down.lost) is bool(conditions.loss or conditions.burst)
    assert bool(up.held_back) is bool(conditions.late)
    assert bool(up.duplicated) is bool(conditions.duplicate)


async def test_speech_from_another_port_is_followed_and_the_old_port_gets_nothing_more(
    tmp_path: Path, stage: Stage
) -> None:
    """The NAT forgets the device between its words and the answer to the turn before."""
    moved = False

    def react(told: Told, talked: Talk) -> None:
        nonlocal moved
        if talked.ended == 1 and not moved:  # the device listens again
            moved = True
            proxy.rebind()

    async with served_through(tmp_path) as (app, proxy):
        talked = await talk(ota_of(app), *TUNES, react=react)
        (flow,) = proxy.flows
        old, new = flow.bindings
    talked.assert_whole(*TUNES)
    assert talked.summary.sessions == 1
    assert old.sent
    assert old.came
    assert new.came
    assert old.after_move == []


async def test_downlink_moves_in_the_middle_of_a_reply_once_the_new_port_has_proved_itself(
    tmp_path: Path, stage: Stage
) -> None:
    stage.times = 4
    moved = False

    def react(told: Told, talked: Talk) -> None:
        nonlocal moved
        if isinstance(told, Play) and len(talked.played) == 10 and not moved:
            moved = True
            proxy.rebind()

    async with served_through(tmp_path) as (app, proxy):
        proof = app.settings.udp.path_proof_packets
        # Realtime: the microphone goes on during the reply, otherwise there is nothing to move by.
        talked = await talk(ota_of(app), "do re mi so", mode="realtime", react=react)
        (flow,) = proxy.flows
        old, new = flow.bindings
    assert talked.summary.ok, talked.summary.error
    assert talked.ended == 1
    assert new.came
    assert old.after_move, "before the proof the reply goes on to where it went"
    # The packet that completes the proof and a frame that leaves at that moment may cross.
    assert max(old.after_move) <= proof
    assert in_order(talked.melody, " ".join(["do re mi so"] * 4))
    (turn,) = talked.summary.turns
    assert turn.lost == len(old.after_move), "nothing else is lost"
    assert turn.clipped_end_ms == 0
