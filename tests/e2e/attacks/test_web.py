"""Attacks on the HTTP port, while devices talk."""

import pytest

from tests.e2e.attacks.scene import Scene

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize(
    "names", [("websocket_pings", "websocket_fragments"), ("websocket_pings_of_a_device",)], ids="+".join
)
async def test_frames_that_are_not_read_or_never_end_harm_nobody(
    scene: Scene, names: tuple[str, ...]
) -> None:
    done = await scene.withstands(*names)
    assert all(did.sent >= 4 for did in done.did.values()), done.did


@pytest.mark.parametrize(
    "names", [("pipelined_metrics",), ("pipelined_pages", "pipelined_ota")], ids="+".join
)
async def test_requests_whose_answers_are_not_read_harm_nobody(scene: Scene, names: tuple[str, ...]) -> None:
    done = await scene.withstands(*names)
    assert all(did.sent >= 20 for did in done.did.values()), done.did


@pytest.mark.parametrize("names", [("ota_flood", "two_lengths"), ("large_heads", "slow_heads")], ids="+".join)
async def test_floods_of_odd_requests_harm_nobody(scene: Scene, names: tuple[str, ...]) -> None:
    done = await scene.withstands(*names)
    assert all(did.opened + did.refused >= 100 for did in done.did.values()), done.did


async def test_connections_that_say_nothing_keep_no_new_device_out(scene: Scene) -> None:
    async def let_in() -> None:
        assert await scene.newcomers(16) == 16

    done = await scene.withstands("silent_http", "half_requests", meanwhile=let_in)
    assert all(did.opened + did.refused >= 1_100 for did in done.did.values()), done.did


async def test_silent_connections_from_everywhere_keep_no_known_device_out(scene: Scene) -> None:
    done = await scene.withstands("silent_http_everywhere")
    assert done.did["silent_http_everywhere"].opened >= 1_100


async def test_a_thousand_half_open_upgrades_and_devices_without_a_hello_harm_nobody(scene: Scene) -> None:
    async def let_in() -> None:
        assert await scene.newcomers(16) == 16

    done = await scene.withstands("half_upgrades", "mute_devices", meanwhile=let_in)
    half, mute = done.did["half_upgrades"], done.did["mute_devices"]
    assert half.opened + half.refused >= 1_100
    assert mute.opened >= 100
