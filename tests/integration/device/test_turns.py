"""Several turns of the simulated device against a scripted server over real sockets, in virtual time."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device import client, speech
from mimi_mqtt.cli.device.client import Note, Told, converse
from mimi_mqtt.cli.device.options import TurnReport
from mimi_mqtt.errors import ConfigError
from tests.integration.device.server import ScriptedServer, tone_frames
from tests.integration.device.test_converse import SPEECH, SoundCard, options, server

__all__ = ["server"]  # the fixture

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def _voice(monkeypatch: pytest.MonkeyPatch) -> None:
    async def synthesise(text: str, *_: Any) -> Pcm:
        if not text.isascii():
            raise ConfigError(f"there is nothing to say in {text!r}")
        return SPEECH

    monkeypatch.setattr(client, "synthesise", synthesise)


def kinds(server: ScriptedServer) -> list[str]:
    """The messages the device sent, with the state of `listen`."""
    return [" ".join(filter(None, (sent["type"], sent.get("state")))) for sent in server.messages]


@pytest.mark.parametrize("mode", ["auto", "manual", "realtime"])
async def test_turns_follow_each_other_in_one_session(server: ScriptedServer, mode: Any) -> None:
    told: list[Told] = []
    summary = await converse(options(server, say=("one", "two", "three"), mode=mode), told.append)
    assert summary.ok, summary.error
    assert summary.sessions == 1
    assert [turn.number for turn in summary.turns] == [1, 2, 3]
    assert [turn for turn in told if isinstance(turn, TurnReport)] == list(summary.turns)
    for turn in summary.turns:
        assert (turn.heard, turn.reply, turn.audio_ms) == ("what time is it", "It is noon.", 600)
        assert (turn.received, turn.lost, turn.overflowed) == (10, 0, 0)
        assert turn.first_audio_ms is not None
        assert turn.tail_ms is None
    assert summary.audio_ms == 1_800
    assert kinds(server).count("hello") == 1
    assert kinds(server)[-1] == "goodbye"


async def test_device_whose_session_was_ended_opens_another_for_the_next_turn(server: ScriptedServer) -> None:
    async def answer_and_leave() -> None:
        await server.answer_with_speech()
        await server.pause()
        server.push({"type": "goodbye", "session_id": "s1"})

    server.answer = answer_and_leave
    summary = await converse(options(server, say=("one", "two")))
    assert summary.ok, summary.error
    assert summary.sessions == 2


async def test_interruption_leaves_the_tail_to_be_heard(server: ScriptedServer) -> None:
    async def answer_until_interrupted() -> None:
        count = kinds(server).count("abort")
        server.push({"type": "tts", "state": "start", "session_id": "s1"})
        await server.pause()
        for number, opus in enumerate(tone_frames(100)):
            if kinds(server).count("abort") > count:
                break
            server.frame(opus)
            if number >= 3:
                await server.pause(0.06)
        server.push({"type": "tts", "state": "stop", "session_id": "s1"})

    server.answer = answer_until_interrupted
    summary = await converse(options(server, say=("one", "two"), abort_after_ms=500))
    assert summary.ok, summary.error
    assert kinds(server).count("abort") == 2
    for turn in summary.turns:
        assert turn.tail_ms is not None
        assert 120 <= turn.tail_ms <= 300, "what was sent ahead"
        assert turn.audio_ms < 1_000


async def test_interruption_of_replies_that_are_shorter_is_told(server: ScriptedServer) -> None:
    summary = await converse(options(server, abort_after_ms=5_000))
    assert not summary.ok
    assert "nothing was interrupted, the longest reply took 600 ms" in summary.error


async def test_no_reply_to_interrupt_is_told_as_no_answer(server: ScriptedServer) -> None:
    async def nothing() -> None:
        server.push({"type": "stt", "text": "what", "session_id": "s1"})

    server.answer = nothing
    summary = await converse(options(server, abort_after_ms=500))
    assert "no spoken answer within 30 s" in summary.error


async def test_expectations_are_matched_turn_by_turn(server: ScriptedServer) -> None:
    summary = await converse(options(server, say=("one", "two"), expect=("NOON", "What Time")))
    assert summary.ok, summary.error
    summary = await converse(options(server, say=("one", "two"), expect=("noon", "midnight")))
    assert not summary.ok
    assert [turn.ok for turn in summary.turns] == [True, False]
    assert "turn 2: expected 'midnight', but 'what time is it' was heard" in summary.error


# ── a lost control connection ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("at", ["idle", "listening", "thinking", "speaking"])
async def test_stock_device_comes_back_by_itself_without_a_new_hello(server: ScriptedServer, at: Any) -> None:
    server.waits_for_connection = True
    server.speech_ends_after_silence = 8
    summary = await converse(options(server, say=("one", "two"), drop_control=at, timeout_s=60.0))
    assert summary.ok, summary.error
    assert (summary.sessions, summary.reconnects, server.connections) == (1, 1, 2)
    assert kinds(server).count("hello") == 1


async def test_reconnect_takes_ten_seconds_unless_told_otherwise(server: ScriptedServer) -> None:
    loop = asyncio.get_running_loop()
    took = []
    for reconnect_after_s in (None, 2.0):
        began = loop.time()
        changes = {"drop_control": "idle", "reconnect_after_s": reconnect_after_s}
        summary = await converse(options(server, **changes))
        assert summary.ok, summary.error
        took.append(loop.time() - began)
    assert took[0] - took[1] == pytest.approx(8.0, abs=0.2)


async def test_device_that_could_not_say_listen_is_woken_again(server: ScriptedServer) -> None:
    told: list[Told] = []
    changes: dict[str, Any] = {"drop_control": "connecting", "reconnect_after_s": 1.0}
    summary = await converse(options(server, **changes), told.append)
    assert summary.ok, summary.error
    assert summary.turns[0].attempts == 2
    assert kinds(server)[:3] == ["hello", "hello", "listen start"]
    assert any(isinstance(note, Note) and "woken again" in note.text for note in told)


async def test_device_sent_home_after_it_came_back_is_woken_again(server: ScriptedServer) -> None:
    """A server that lost the session says goodbye on the new connection (device contract, section 3)."""

    async def forget_the_first_session() -> None:
        if summary_of_lost():
            await server.answer_with_speech()
            return
        await server.connected.wait()
        server.push({"type": "goodbye", "session_id": "s1"})

    def summary_of_lost() -> bool:
        return kinds(server).count("hello") > 1

    server.answer = forget_the_first_session
    server.speech_ends_after_silence = 8
    summary = await converse(options(server, drop_control="listening"))
    assert summary.ok, summary.error
    assert (summary.sessions, summary.turns[0].attempts) == (2, 2)


async def test_device_stuck_in_speaking_is_freed_by_the_button(server: ScriptedServer) -> None:
    """An answer without an end, as after a crash: `abort` is answered with goodbye, the next turn works."""
    answered = 0

    async def answer_without_an_end() -> None:
        nonlocal answered
        answered += 1
        if answered > 1:
            await server.answer_with_speech()
            return
        server.push({"type": "tts", "state": "start", "session_id": "s1"})
        await server.pause()
        for opus in tone_frames(10):
            server.frame(opus)
        while "abort" not in kinds(server):
            await server.pause()
        server.push({"type": "goodbye", "session_id": "s1"})

    server.answer = answer_without_an_end
    changes: dict[str, Any] = {"drop_control": "speaking", "reconnect_after_s": 1.0, "timeout_s": 20.0}
    summary = await converse(options(server, say=("one", "two"), **changes))
    assert [turn.ok for turn in summary.turns] == [False, True], summary.error
    assert "understood nothing within 20 s" in summary.turns[0].error
    assert summary.sessions == 2


async def test_audio_server_that_vanished_with_its_server_ends_the_turn_only_if_it_stays_away(
    server: ScriptedServer,
) -> None:
    """An ICMP error ends the device's audio until its next hello (device contract, section 4)."""

    async def vanish_and_come_back() -> None:
        if kinds(server).count("hello") > 1:
            await server.answer_with_speech()
            return
        server.hello_udp = {}
        server.hang_up()
        await server.connected.wait()
        server.push({"type": "goodbye", "session_id": "s1"})

    server.hello_udp = {"port": 1}
    server.answer = vanish_and_come_back
    on_message = server._on_message

    def crash_at_listen(message: dict[str, Any]) -> None:
        on_message(message)
        if kinds(server) == ["hello", "listen start"]:
            server._run(vanish_and_come_back())

    server._on_message = crash_at_listen  # type: ignore[method-assign]
    summary = await converse(options(server, reconnect_after_s=1.0))
    assert summary.ok, summary.error
    assert summary.sessions == 2


# ── interactive ──────────────────────────────────────────────────────────────────────────────────────────


async def typed(*lines: str) -> AsyncGenerator[str]:
    for line in lines:
        yield line


async def test_lines_are_turns_until_the_end_of_input(server: ScriptedServer) -> None:
    summary = await converse(options(server, interactive=True), lines=typed("one", "", "two\n"))
    assert summary.ok, summary.error
    assert (len(summary.turns), summary.sessions) == (2, 1)
    assert kinds(server)[-1] == "goodbye"


async def test_quit_ends_after_the_answer(server: ScriptedServer) -> None:
    summary = await converse(options(server, interactive=True), lines=typed("one", "/quit", "two"))
    assert summary.ok, summary.error
    assert len(summary.turns) == 1
    assert summary.audio_ms == 600


async def test_typed_abort_interrupts_the_answer_to_come(server: ScriptedServer) -> None:
    summary = await converse(options(server, interactive=True), lines=typed("one", "/abort", "two"))
    assert [turn.tail_ms is not None for turn in summary.turns] == [True, False]
    assert kinds(server).count("abort") == 1


async def test_what_can_not_be_done_is_told_and_the_talk_goes_on(server: ScriptedServer) -> None:
    told: list[Told] = []
    lines = typed("/abort", "🙂", "/dance", "one")
    summary = await converse(options(server, interactive=True), told.append, lines)
    assert summary.ok, summary.error
    notes = [note.text for note in told if isinstance(note, Note)]
    assert any("no answer to interrupt" in note for note in notes)
    assert any("nothing to say in '🙂'" in note for note in notes)
    assert any("/dance" in note for note in notes)


async def test_nothing_typed_is_not_ok_but_ends_cleanly(server: ScriptedServer) -> None:
    summary = await converse(options(server, interactive=True), lines=typed())
    assert "nothing was said" in summary.error


async def test_unmet_expectation_of_a_turn_that_never_came_is_told(server: ScriptedServer) -> None:
    summary = await converse(options(server, interactive=True, expect=("noon", "noon")), lines=typed("one"))
    assert "--expect is given 2 times, but there were 1 turns" in summary.error


async def test_enter_lets_the_button_go_that_was_pressed_for_the_microphone(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "import_module", lambda _: SoundCard())

    async def lines() -> AsyncGenerator[str]:
        yield "/mic"
        await asyncio.sleep(2.0)
        yield ""
        yield "one"

    summary = await converse(options(server, interactive=True, mode="manual"), lines=lines())
    assert summary.ok, summary.error
    assert len(summary.turns) == 2
    assert kinds(server).count("listen stop") == 2
