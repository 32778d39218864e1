"""Differences between the families of devices, on real sockets, in virtual time."""

from typing import Any

import pytest

from mimi_mqtt.cli.device.client import Note, Told, converse
from mimi_mqtt.cli.device.profiles import PROFILES
from mimi_mqtt.wire.mqtt import PacketType
from mimi_mqtt.wire.ota import OtaRequest
from tests.integration.device.server import ScriptedServer, tone_frames
from tests.integration.device.test_converse import options, server

__all__ = ["server"]  # the fixture

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize(
    ("like", "subscribed"),
    [
        ("stock-2.4", []),
        ("stock-2.5", []),
        ("espressif", [("down/topic", 0)]),
        ("py-xiaozhi", [("down/topic", 1)]),
    ],
)
async def test_each_family_subscribes_as_it_does_and_is_answered(
    server: ScriptedServer, like: str, subscribed: list[tuple[str, int]]
) -> None:
    summary = await converse(options(server, like=like))
    assert summary.ok, summary.error
    assert server.subscriptions == subscribed
    assert (PacketType.SUBSCRIBE in server.packet_types) is bool(subscribed)


@pytest.mark.parametrize(
    ("like", "keepalive"), [("stock-2.4", 90), ("stock-2.5", 90), ("espressif", 90), ("py-xiaozhi", 90)]
)
async def test_keepalive_is_otas_or_the_familys(server: ScriptedServer, like: str, keepalive: int) -> None:
    await converse(options(server, like=like))
    assert server.connect is not None
    assert server.connect.keepalive_s == keepalive


@pytest.mark.parametrize(("like", "keepalive"), [("stock-2.5", 240), ("espressif", 90)])
async def test_keepalive_without_otas_word_is_the_familys(
    server: ScriptedServer, like: str, keepalive: int
) -> None:
    server.keepalive = None
    await converse(options(server, like=like))
    assert server.connect is not None
    assert server.connect.keepalive_s == keepalive


@pytest.mark.parametrize("like", PROFILES)
async def test_silence_is_sent_as_packets_of_one_byte_where_the_encoder_has_dtx(
    server: ScriptedServer, like: str
) -> None:
    server.speech_ends_after_silence = 12
    await converse(options(server, like=like))
    assert (1 in server.silent_sizes) is PROFILES[like].dtx


@pytest.mark.parametrize("like", PROFILES)
async def test_uplink_timestamps_are_ticks_with_espressif_alone(server: ScriptedServer, like: str) -> None:
    await converse(options(server, like=like))
    if like == "espressif":
        assert server.timestamps == sorted(set(server.timestamps))
        assert min(server.timestamps) > 0
    else:
        assert set(server.timestamps) == {0}


async def test_espressif_tells_ota_little_and_names_no_board_and_no_language(server: ScriptedServer) -> None:
    await converse(options(server, like="espressif"))
    assert "accept-language" not in server.ota_headers
    assert "activation-version" not in server.ota_headers
    assert server.ota_headers["user-agent"] == "esp32s3"
    assert server.ota_body["minimum_free_heap_size"] == 8_318_916
    assert OtaRequest.from_http(server.ota_headers, b"").board == "esp32s3"


async def test_espressif_device_says_that_a_real_one_needs_another_port(server: ScriptedServer) -> None:
    told: list[Told] = []
    summary = await converse(options(server, like="espressif"), told.append)
    assert summary.ok, summary.error
    (note,) = [told_.text for told_ in told if isinstance(told_, Note)]
    assert "8883" in note
    assert "WebSocket" in note


async def test_stock_device_is_activated_by_polling(server: ScriptedServer) -> None:
    server.activation = {"code": "654321", "message": "x", "challenge": "y"}
    server.polls_until_allowed = 3
    told: list[Told] = []
    summary = await converse(options(server), told.append)
    assert summary.ok, summary.error
    assert server.polls == [{}, {}, {}]
    assert server.boots == 2
    assert any(isinstance(note, Note) and "654321" in note.text for note in told)


async def test_py_xiaozhi_polls_with_the_signed_body_in_an_envelope(server: ScriptedServer) -> None:
    server.activation = {"code": "654321", "message": "x", "challenge": "y"}
    server.polls_until_allowed = 1
    summary = await converse(options(server, like="py-xiaozhi"))
    assert summary.ok, summary.error
    assert set(server.polls[0]) == {"Payload"}
    assert server.polls[0]["Payload"]["challenge"] == "y"


async def test_espressif_asks_ota_again_and_never_polls(server: ScriptedServer) -> None:
    server.activation = {"code": "654321", "message": "x", "challenge": "y"}
    summary = await converse(options(server, like="espressif"))
    assert not summary.ok
    assert server.polls == []
    assert server.boots == 3, "at once, after 10 s and after 20 s"


async def test_server_that_allows_and_asks_again_is_not_asked_without_a_pause(server: ScriptedServer) -> None:
    server.activation = {"code": "654321", "message": "x", "challenge": "y"}
    server.forgets_activation = True
    summary = await converse(options(server))
    assert "654321" in summary.error
    assert server.boots <= 5


@pytest.mark.parametrize(("like", "dropped"), [("stock-2.4", 9), ("stock-2.5", 29), ("py-xiaozhi", 0)])
async def test_frames_beyond_the_queue_are_counted(server: ScriptedServer, like: str, dropped: int) -> None:
    async def all_at_once() -> None:
        server.push({"type": "tts", "state": "start", "session_id": "s1"})
        await server.pause()
        for opus in tone_frames(50):
            server.frame(opus)
        await server.pause(4.0)
        server.push({"type": "tts", "state": "stop", "session_id": "s1"})

    server.answer = all_at_once
    summary = await converse(options(server, like=like))
    (turn,) = summary.turns
    assert (turn.received, turn.overflowed, turn.lost) == (50, dropped, 0)
    assert turn.audio_ms == (50 - dropped) * 60
    assert summary.lost == dropped


@pytest.mark.parametrize(("like", "woken"), [("stock-2.5", 1), ("py-xiaozhi", 2)])
async def test_stock_device_goes_on_without_its_control_connection(
    server: ScriptedServer, like: str, woken: int
) -> None:
    """A stock device streams on and is answered when it is back; py-xiaozhi has to be woken again."""
    server.speech_ends_after_silence = 20
    server.waits_for_connection = True
    changes: dict[str, Any] = {"drop_control": "listening", "reconnect_after_s": 5.0}
    summary = await converse(options(server, like=like, **changes))
    assert summary.ok, summary.error
    assert (summary.turns[0].attempts, summary.sessions) == (woken, woken)
    assert (summary.reconnects, server.connections) == (1, 2)
