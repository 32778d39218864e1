"""The device contract, sections 3, 4 and 6, seen from the device."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.cli.device import actions
from mimi_mqtt.cli.device.actions import Action, Play, Send
from mimi_mqtt.cli.device.firmware import Firmware, State
from mimi_mqtt.cli.device.profiles import DEFAULT, PROFILES, Profile
from mimi_mqtt.wire import messages
from mimi_mqtt.wire.audio_packet import AudioCipher, nonce_template, pack_downlink, parse_header
from mimi_mqtt.wire.glyphs import TextFont
from mimi_mqtt.wire.messages import AudioParams, ListenMode

KEY = bytes(range(16))
SSRC = 0x01020304
UDP = {
    "server": "127.0.0.1",
    "port": 8884,
    "encryption": "aes-128-ctr",
    "key": KEY.hex(),
    "nonce": nonce_template(SSRC).hex(),
}
HELLO: dict[str, Any] = {
    "type": "hello",
    "transport": "udp",
    "session_id": "s1",
    "audio_params": {"format": "opus", "sample_rate": 24000, "channels": 1, "frame_duration": 60},
    "udp": UDP,
}


class Bench:
    """A device on a work bench, with its own clock and the server's end of the audio channel."""

    def __init__(self, mode: ListenMode = "auto", frame_ms: int = 60, like: str = DEFAULT) -> None:
        self.now = 100.0
        self.frame_ms = frame_ms
        self.device = Firmware(profile=PROFILES[like])
        self.cipher = AudioCipher(KEY)
        self.sequence = 0
        self.log: list[Action] = []
        self.device.open_channel(self.now)
        self.say(HELLO | {"audio_params": {"sample_rate": 24000, "frame_duration": frame_ms}})
        self.device.start_listening(mode)
        self.log.clear()

    def say(self, message: dict[str, Any]) -> list[Action]:
        done = self.device.control(json.dumps(message).encode(), self.now)
        self.log += done
        return done

    def tts(self, state: str) -> list[Action]:
        return self.say({"type": "tts", "state": state, "session_id": "s1"})

    def audio(self, sequence: int | None = None, opus: bytes | None = None) -> list[Action]:
        self.sequence = self.sequence + 1 if sequence is None else sequence
        opus = opus or b"\x58%d" % self.sequence
        header = pack_downlink(SSRC, self.sequence * 60, self.sequence, len(opus))
        done = self.device.datagram(self.cipher.encrypt(header, opus), self.now)
        self.log += done
        return done

    def wait(self, seconds: float) -> list[Action]:
        """Lets time pass as a loop would: the device is woken when it wants to be."""
        end = self.now + seconds
        done: list[Action] = []
        while (due := self.device.next_wakeup) is not None and due <= end:
            self.now = max(self.now, due)
            done += self.device.tick(self.now)
        self.now = end
        self.log += done
        return done

    @property
    def played(self) -> list[Play]:
        return [action for action in self.log if isinstance(action, Play)]


def sent(done: list[Action]) -> list[dict[str, Any]]:
    return [json.loads(action.payload) for action in done if isinstance(action, Send)]


# ── hello ────────────────────────────────────────────────────────────────────────────────────────────────


def test_hello_is_one_the_server_understands() -> None:
    (hello,) = Firmware(AudioParams(24_000, 1, 20)).open_channel(0.0)
    assert isinstance(hello, Send)
    assert messages.parse(hello.payload) == messages.DeviceHello(
        3, "udp", AudioParams(24_000, 1, 20), mcp=True, glyph_push=True,
        text_font=TextFont("noto-v1", "common", 20, 4),
    )  # fmt: skip


def test_answered_hello_opens_the_channel() -> None:
    device = Firmware()
    device.open_channel(0.0)
    assert device.state.value == "connecting"
    done = device.control(json.dumps(HELLO).encode(), 1.0)
    assert done == [actions.ChannelOpened("127.0.0.1", 8884, "s1", AudioParams(24_000, 1, 60), SSRC)]
    assert device.channel_open
    assert device.state.value == "connecting", "until the first listen"


def test_hello_without_an_answer_is_given_up_after_ten_seconds() -> None:
    device = Firmware()
    device.open_channel(5.0)
    assert device.next_wakeup == 15.0
    assert device.tick(14.9) == []
    (closed,) = device.tick(15.0)
    assert isinstance(closed, actions.ChannelClosed)
    assert device.control(json.dumps(HELLO).encode(), 15.1) == []
    assert not device.channel_open


@pytest.mark.parametrize(
    "change",
    [
        {"transport": "websocket"},
        {"udp": None},
        {"udp": {**UDP, "key": "00"}},
        {"udp": {**UDP, "key": "g" * 32}},
        {"udp": {**UDP, "key": None}},
        {"udp": {**UDP, "nonce": "0" * 31}},
        {"udp": {**UDP, "nonce": 1}},
        {"udp": {**UDP, "server": ""}},
        {"udp": {**UDP, "server": 7}},
        {"udp": {**UDP, "port": 0}},
        {"udp": {**UDP, "port": "8884"}},
        {"udp": {**UDP, "port": 70_000}},
    ],
)
def test_answers_a_device_can_not_use_are_rejected(change: dict[str, Any]) -> None:
    device = Firmware()
    device.open_channel(0.0)
    (closed,) = device.control(json.dumps(HELLO | change).encode(), 1.0)
    assert isinstance(closed, actions.ChannelClosed)
    assert not device.channel_open


def test_stream_parameters_default_to_the_firmwares() -> None:
    device = Firmware()
    device.open_channel(0.0)
    hello = {name: value for name, value in HELLO.items() if name != "audio_params"}
    (opened,) = device.control(json.dumps(hello).encode(), 1.0)
    assert isinstance(opened, actions.ChannelOpened)
    assert opened.audio == AudioParams(24_000, 1, 60)


def test_hello_nobody_asked_for_is_ignored() -> None:
    bench = Bench()
    assert bench.say(HELLO | {"session_id": "other"}) == []
    assert bench.device.session_id == "s1"


# ── the uplink ───────────────────────────────────────────────────────────────────────────────────────────


def test_microphone_packets_are_numbered_from_one_under_the_nonces_ssrc() -> None:
    bench = Bench()
    for sequence in (1, 2, 3):
        datagram = bench.device.microphone(b"opus", bench.now)
        assert datagram is not None
        assert parse_header(datagram) == (1, 0, 4, SSRC, 0, sequence)
        assert bench.cipher.decrypt(datagram) == b"opus"


def test_microphone_is_sent_only_while_listening() -> None:
    device = Firmware()
    assert device.microphone(b"opus", 0.0) is None
    device.open_channel(0.0)
    device.control(json.dumps(HELLO).encode(), 0.0)
    assert device.microphone(b"opus", 0.0) is None
    device.start_listening("manual")
    assert device.microphone(b"opus", 0.0) is not None
    assert sent(device.stop_listening()) == [{"session_id": "s1", "type": "listen", "state": "stop"}]
    assert device.microphone(b"opus", 0.0) is None
    assert device.stop_listening() == []


@pytest.mark.parametrize(("mode", "goes_on"), [("auto", False), ("manual", False), ("realtime", True)])
def test_only_realtime_mode_goes_on_sending_while_speaking(mode: ListenMode, goes_on: bool) -> None:
    bench = Bench(mode)
    bench.tts("start")
    assert (bench.device.microphone(b"opus", bench.now) is not None) is goes_on


def test_messages_of_a_turn_are_ones_the_server_understands() -> None:
    bench = Bench()
    done = [
        *bench.device.start_listening("realtime"),
        *bench.device.stop_listening(),
        *bench.device.wake_word("hi mimi"),
        *bench.device.start_listening("auto"),
        *bench.device.interrupt(),
        *bench.device.close_channel(),
    ]
    parsed = [messages.parse(action.payload) for action in done if isinstance(action, Send)]
    assert parsed == [
        messages.Listen("s1", "start", "realtime"),
        messages.Listen("s1", "stop"),
        messages.Listen("s1", "detect", text="hi mimi"),
        messages.Listen("s1", "start", "auto"),
        messages.Abort("s1"),
        messages.Listen("s1", "start", "auto"),
        messages.DeviceGoodbye("s1"),
    ]
    assert not bench.device.channel_open
    assert bench.device.close_channel() == []


# ── the downlink ─────────────────────────────────────────────────────────────────────────────────────────


def test_frames_play_in_real_time_from_the_first_arrival() -> None:
    bench = Bench()
    bench.tts("start")
    bench.wait(0.1)
    for _ in range(3):
        bench.audio()
    bench.wait(1.0)
    assert [play.at for play in bench.played] == pytest.approx([100.1, 100.16, 100.22])
    assert [play.opus for play in bench.played] == [b"\x581", b"\x582", b"\x583"]
    assert [play.fresh for play in bench.played] == [True, False, False]


def test_late_wake_up_does_not_delay_what_was_waiting() -> None:
    bench = Bench()
    bench.tts("start")
    bench.audio()
    bench.audio()
    bench.now += 0.075
    bench.log += bench.device.tick(bench.now)
    assert [play.at for play in bench.played] == pytest.approx([100.0, 100.06])


def test_after_running_dry_play_resumes_with_the_next_arrival() -> None:
    bench = Bench()
    bench.tts("start")
    bench.audio()
    bench.wait(0.5)
    bench.audio()
    assert [play.at for play in bench.played] == pytest.approx([100.0, 100.5])


def test_frames_of_twenty_ms_play_every_twenty_ms() -> None:
    bench = Bench(frame_ms=20)
    bench.tts("start")
    for _ in range(3):
        bench.audio()
    bench.wait(1.0)
    assert [play.at for play in bench.played] == pytest.approx([100.0, 100.02, 100.04])


def test_audio_before_speaking_is_discarded_and_counted_as_a_cut_start() -> None:
    bench = Bench()
    bench.audio()
    bench.audio()
    bench.tts("start")
    bench.audio()
    bench.wait(0.2)
    assert [play.opus for play in bench.played] == [b"\x583"]
    assert bench.device.counters.clipped_start_ms == 120
    assert bench.device.counters.clipped_end_ms == 0


@pytest.mark.parametrize(("like", "holds"), [("stock-2.4", 40), ("stock-2.5", 20)])
def test_packets_beyond_the_queue_are_dropped_and_counted(like: str, holds: int) -> None:
    bench = Bench(like=like)
    bench.tts("start")
    for _ in range(holds + 6):
        bench.audio()
    bench.wait(5.0)
    counters = bench.device.counters
    # One packet was playing while the others waited.
    assert len(bench.played) == counters.played == holds + 1
    assert counters.overflowed == 5
    assert counters.lost == 0


def test_sequences_that_are_not_greater_are_dropped() -> None:
    bench = Bench()
    bench.tts("start")
    for sequence in (1, 2, 2, 1, 5, 4, 6):
        bench.audio(sequence)
    bench.wait(1.0)
    assert [play.opus[1:] for play in bench.played] == [b"1", b"2", b"5", b"6"]
    assert bench.device.counters.stale == 3
    assert bench.device.counters.lost == 2


def test_datagrams_that_lie_about_their_length_or_type_are_dropped() -> None:
    bench = Bench()
    bench.tts("start")
    good = bench.cipher.encrypt(pack_downlink(SSRC, 60, 1, 4), b"opus")
    for damaged in (good + b"x", good[:-1], b"\x02" + good[1:], good[:16], b""):
        assert bench.device.datagram(damaged, bench.now) == []
    assert bench.device.counters.malformed == 5
    assert bench.device.datagram(good, bench.now) == [Play(b"opus", bench.now, True)]


def test_flags_and_ssrc_are_not_looked_at() -> None:
    bench = Bench()
    bench.tts("start")
    header = bytes.fromhex("01 77 0004 ffffffff 00000000 00000001")
    assert bench.device.datagram(bench.cipher.encrypt(header, b"opus"), bench.now) != []


def test_datagrams_without_a_channel_are_ignored() -> None:
    assert Firmware().datagram(bytes(40), 0.0) == []


# ── speaking ─────────────────────────────────────────────────────────────────────────────────────────────


def test_auto_mode_listens_again_when_the_queue_has_drained() -> None:
    bench = Bench()
    bench.tts("start")
    bench.audio()
    bench.audio()
    assert bench.tts("stop") == []
    assert bench.device.state is State.SPEAKING
    done = bench.wait(0.119)
    assert bench.device.state is State.SPEAKING
    done = bench.wait(0.01)
    assert bench.device.state.value == "listening"
    assert done[0] == actions.SpeakingEnded()
    assert sent(done) == [{"session_id": "s1", "type": "listen", "state": "start", "mode": "auto"}]
    assert len(bench.played) == 2
    assert bench.device.counters.clipped_end_ms == 0


def test_realtime_mode_listens_on_without_saying_so() -> None:
    bench = Bench("realtime")
    bench.tts("start")
    assert bench.tts("stop") == [actions.SpeakingEnded()]
    assert bench.device.state is State.LISTENING


def test_manual_mode_becomes_idle_at_once_and_cuts_what_waits() -> None:
    bench = Bench("manual")
    bench.tts("start")
    for _ in range(4):
        bench.audio()
    assert bench.tts("stop") == [actions.SpeakingEnded()]
    assert bench.device.state is State.IDLE
    bench.wait(1.0)
    assert len(bench.played) == 1
    assert bench.device.counters.clipped_end_ms == 180


def test_late_packets_are_dropped_and_counted_as_a_cut_end() -> None:
    bench = Bench()
    bench.tts("start")
    bench.audio()
    bench.tts("stop")
    bench.audio()
    bench.wait(0.1)
    bench.audio()
    bench.device.settle()
    assert len(bench.played) == 1
    assert bench.device.counters.clipped_end_ms == 120
    assert bench.device.counters.clipped_start_ms == 0


def test_second_reply_tells_a_cut_start_from_a_cut_end() -> None:
    bench = Bench()
    bench.tts("start")
    bench.tts("stop")
    bench.audio()
    bench.wait(2.0)
    bench.audio()
    bench.tts("start")
    assert bench.device.counters.clipped_end_ms == 60
    assert bench.device.counters.clipped_start_ms == 60


def test_new_speech_empties_the_queue_and_resets_the_decoder() -> None:
    bench = Bench()
    bench.tts("start")
    for _ in range(3):
        bench.audio()
    bench.tts("stop")
    assert bench.tts("start") == [actions.SpeakingEnded(), actions.SpeakingBegan()]
    bench.audio()
    bench.wait(1.0)
    assert [(play.opus, play.fresh) for play in bench.played] == [(b"\x581", True), (b"\x584", True)]
    assert bench.device.counters.clipped_end_ms == 120


def test_second_start_changes_nothing() -> None:
    bench = Bench()
    bench.tts("start")
    bench.audio()
    bench.audio()
    assert bench.tts("start") == []
    bench.wait(1.0)
    assert len(bench.played) == 2


def test_stop_without_start_changes_nothing() -> None:
    bench = Bench()
    assert bench.tts("stop") == []
    assert bench.device.state is State.LISTENING


def test_an_idle_device_can_be_spoken_to() -> None:
    bench = Bench("manual")
    bench.device.stop_listening()
    assert bench.tts("start") == [actions.SpeakingBegan()]
    assert bench.device.state is State.SPEAKING


# ── goodbye ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("goodbye", [{}, {"session_id": "old"}, {"session_id": 1}, {"session_id": ""}])
def test_goodbye_to_another_session_is_ignored(goodbye: dict[str, Any]) -> None:
    bench = Bench()
    assert bench.say({"type": "goodbye", **goodbye}) == []
    assert bench.device.channel_open


def test_goodbye_closes_the_channel_and_cuts_what_waits() -> None:
    bench = Bench()
    bench.tts("start")
    for _ in range(3):
        bench.audio()
    (closed,) = bench.say({"type": "goodbye", "session_id": "s1"})
    assert isinstance(closed, actions.ChannelClosed)
    assert bench.device.state is State.IDLE
    assert bench.device.counters.clipped_end_ms == 120
    assert bench.device.next_wakeup is None
    assert bench.audio() == []


def test_silence_of_120_seconds_is_noticed_only_when_somebody_wakes_the_device() -> None:
    bench = Bench()
    bench.say({"type": "llm", "emotion": "happy"})
    assert bench.wait(119.9) == []
    assert bench.device.usable(bench.now)
    assert bench.wait(3_600.0) == []
    assert bench.device.state is State.LISTENING
    assert bench.device.microphone(b"opus", bench.now) is not None, "it streams on, to nobody"
    assert not bench.device.usable(bench.now)
    bench.say({"type": "llm", "emotion": "happy"})
    assert bench.device.usable(bench.now)


def test_sequences_begin_anew_with_each_hello() -> None:
    bench = Bench()
    bench.device.microphone(b"x", bench.now)
    bench.audio(7)
    bench.device.close_channel()
    bench.device.open_channel(bench.now)
    bench.say(HELLO)
    bench.device.start_listening("auto")
    datagram = bench.device.microphone(b"x", bench.now)
    assert datagram is not None
    assert parse_header(datagram).sequence == 1
    bench.tts("start")
    bench.audio(1)
    assert bench.device.counters.stale == 0


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_shown_to_the_user() -> None:
    bench = Bench()
    assert bench.say({"type": "stt", "text": "what time is it"}) == [actions.Heard("what time is it")]
    assert bench.say({"type": "llm", "emotion": "happy", "text": "🙂"}) == [actions.Face("happy")]
    assert bench.say({"type": "tts", "state": "sentence_start", "text": "Hi."}) == [actions.Sentence("Hi.")]
    alert = {"type": "alert", "status": "Error", "message": "Sorry", "emotion": "sad"}
    assert bench.say(alert) == [actions.AlertShown("Error", "Sorry")]


@pytest.mark.parametrize("missing", ["status", "message", "emotion"])
def test_alert_needs_all_three_fields(missing: str) -> None:
    alert = {"type": "alert", "status": "Error", "message": "Sorry", "emotion": "sad"}
    del alert[missing]
    assert Bench().say(alert) == []


def test_alert_needs_no_session() -> None:
    device = Firmware()
    alert = b'{"type":"alert","status":"a","message":"b","emotion":"sad"}'
    assert device.control(alert, 0.0) == [actions.AlertShown("a", "b")]


def test_reboot() -> None:
    bench = Bench()
    done = bench.say({"type": "system", "command": "reboot"})
    assert done[-1] == actions.Rebooted()
    assert not bench.device.channel_open
    assert bench.say({"type": "system", "command": "dance"}) == []


def test_tool_calls_are_answered_with_the_session() -> None:
    bench = Bench()
    call = {"name": "self.audio_speaker.set_volume", "arguments": {"volume": 40}}
    request = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call}
    done = bench.say({"type": "mcp", "payload": request})
    assert done[0] == actions.ToolCalled("self.audio_speaker.set_volume")
    (reply,) = sent(done)
    assert (reply["type"], reply["session_id"], reply["payload"]["id"]) == ("mcp", "s1", 3)
    assert bench.device.tools.volume == 40


def test_mcp_works_before_any_hello() -> None:
    device = Firmware()
    request = b'{"type":"mcp","payload":{"jsonrpc":"2.0","id":1,"method":"initialize"}}'
    assert len(sent(device.control(request, 0.0))) == 1


@pytest.mark.parametrize("kind", ["error", "custom"])
def test_message_of_an_unknown_type_is_shown_and_ignored(kind: str) -> None:
    bench = Bench()
    assert bench.say({"type": kind, "payload": {}}) == [actions.Ignored(kind)]
    assert bench.device.state is State.LISTENING


@pytest.mark.parametrize(
    "payload",
    [b"", b"junk", b"[]", b"{}", b'{"type":7}', b'{"type":"mcp"}',
     b'{"type":"tts"}', b'{"type":"tts","state":"pause"}', b"[" * 10_000],
)  # fmt: skip
def test_what_it_does_not_understand_it_ignores(payload: bytes) -> None:
    bench = Bench()
    assert bench.device.control(payload, bench.now) == []
    assert bench.device.state is State.LISTENING


events = st.one_of(
    st.sampled_from(["start", "stop", "sentence_start"]).map(lambda state: ("tts", state)),
    st.integers(1, 60).map(lambda sequence: ("audio", sequence)),
    st.floats(0, 0.5).map(lambda seconds: ("wait", seconds)),
)


@given(st.lists(events, max_size=60), st.sampled_from(["auto", "manual", "realtime"]))
def test_every_accepted_packet_is_accounted_for(script: list[tuple[str, Any]], mode: ListenMode) -> None:
    bench = Bench(mode)
    for kind, value in script:
        if kind == "tts":
            bench.tts(value)
        elif kind == "audio":
            bench.audio(value)
        else:
            bench.wait(value)
    bench.wait(10.0)
    bench.device.settle()
    counters = bench.device.counters
    clipped = (counters.clipped_start_ms + counters.clipped_end_ms) // 60
    assert counters.received == counters.played + counters.overflowed + clipped
    assert counters.played == len(bench.played)
    times = [play.at for play in bench.played]
    assert all(later - earlier >= 0.0599 for earlier, later in pairwise(times))


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_anything_at_all_is_survived(payload: bytes, datagram: bytes) -> None:
    bench = Bench()
    bench.tts("start")
    bench.device.control(payload, bench.now)
    bench.device.datagram(datagram, bench.now)
    bench.device.tick(bench.now)
    # It goes on: what is right is played as if nothing had been.
    played = len(bench.played)
    bench.audio()
    bench.wait(1.0)
    assert len(bench.played) == played + 1


# ── what families differ in ──────────────────────────────────────────────────────────────────────────────


def test_speech_before_the_first_listen_is_ignored_with_its_audio() -> None:
    bench = Bench()
    bench.device.open_channel(bench.now)
    bench.say(HELLO)
    assert bench.tts("start") == []
    bench.sequence = 0
    bench.audio()
    bench.wait(1.0)
    assert bench.played == []
    bench.device.start_listening("auto")
    assert bench.tts("start") == [actions.SpeakingBegan()]


def test_what_was_sent_ahead_of_an_abort_is_still_heard() -> None:
    bench = Bench()
    bench.tts("start")
    for _ in range(5):
        bench.audio()
    assert sent(bench.device.interrupt()) == [{"session_id": "s1", "type": "abort"}]
    assert bench.device.state is State.SPEAKING
    bench.tts("stop")
    bench.wait(1.0)
    assert len(bench.played) == 5
    assert bench.device.state.value == "listening"


def test_interruption_while_listening_is_abort_and_listen_with_no_stop_between() -> None:
    bench = Bench()
    assert sent(bench.device.interrupt()) == [
        {"session_id": "s1", "type": "abort"},
        {"session_id": "s1", "type": "listen", "state": "start", "mode": "auto"},
    ]
    bench.device.stop_listening()
    assert bench.device.interrupt() == []


def test_message_that_can_not_be_sent_makes_the_device_idle_until_it_is_woken() -> None:
    bench = Bench()
    (closed,) = bench.device.send_failed()
    assert isinstance(closed, actions.ChannelClosed)
    assert bench.device.state is State.IDLE
    assert not bench.device.usable(bench.now)
    assert bench.device.send_failed() == []


@pytest.mark.parametrize(("like", "goes_on"), [(name, name != "py-xiaozhi") for name in PROFILES])
def test_stock_device_does_not_notice_a_lost_control_connection(like: str, goes_on: bool) -> None:
    bench = Bench(like=like)
    bench.device.control_lost()
    assert bench.device.channel_open is goes_on
    assert (bench.device.microphone(b"opus", bench.now) is not None) is goes_on


@pytest.mark.parametrize(("like", "closes"), [(name, name == "py-xiaozhi") for name in PROFILES])
def test_goodbye_without_an_id_closes_older_builds_only(like: str, closes: bool) -> None:
    bench = Bench(like=like)
    bench.say({"type": "goodbye"})
    assert bench.device.channel_open is not closes


def test_espressif_stamps_ticks_says_mode_unknown_and_shows_no_alert() -> None:
    bench = Bench(like="espressif")
    datagram = bench.device.microphone(b"opus", 12.5)
    assert datagram is not None
    assert parse_header(datagram).timestamp == 12_500
    abort, listen = sent(bench.device.interrupt())
    assert abort["reason"] == "unknown"
    assert listen["mode"] == "unknown"
    alert = {"type": "alert", "status": "Error", "message": "Sorry", "emotion": "sad"}
    assert bench.say(alert) == [actions.Ignored("alert")]
    assert sent(bench.device.start_listening("manual"))[0]["mode"] == "manual"


@pytest.mark.parametrize(("like", "taken"), [("espressif", 3), ("stock-2.5", 2)])
def test_equal_sequence_is_taken_by_espressif_alone(like: str, taken: int) -> None:
    bench = Bench(like=like)
    bench.tts("start")
    for sequence in (1, 2, 2):
        bench.audio(sequence)
    bench.wait(1.0)
    assert len(bench.played) == taken
    assert bench.device.counters.lost == 0


@pytest.mark.parametrize(("like", "has_code"), [("stock-2.4", False), ("stock-2.5", True)])
def test_mcp_errors_have_a_code_from_2_5_on(like: str, has_code: bool) -> None:
    bench = Bench(like=like)
    request = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "self.dance"}}
    (reply,) = sent(bench.say({"type": "mcp", "payload": request}))
    assert ("code" in reply["payload"]["error"]) is has_code


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
def test_every_profile_is_one_the_contract_allows(profile: Profile) -> None:
    assert profile.name in PROFILES
    assert profile.queue_packets >= 5
    assert ("/" in profile.user_agent) is (profile.name != "espressif")
    assert {"hello", "goodbye", "mcp", "tts", "stt", "llm", "system"} <= profile.understands


# ── notify ───────────────────────────────────────────────────────────────────────────────────────────────

NOTIFY = {
    "type": "notify",
    "audio_url": "http://h/xiaozhi/n/x",
    "subtitles": [{"start_ms": 0, "text": "One."}, {"start_ms": 900, "text": "Two."}, 7],
}


def test_an_idle_device_fetches_what_it_is_notified_of() -> None:
    device = Firmware()
    done = device.control(json.dumps(NOTIFY).encode(), 0.0)
    assert done == [actions.FetchNotice("http://h/xiaozhi/n/x", ("One.", "Two."))]
    assert device.control(json.dumps(NOTIFY).encode(), 1.0) == [actions.Ignored("notify")], "it plays one"
    device.notice_over()
    assert device.control(json.dumps(NOTIFY).encode(), 2.0) == done


def test_a_notify_in_any_other_state_is_dropped_without_a_trace() -> None:
    bench = Bench()
    assert bench.say(NOTIFY) == [actions.Ignored("notify")]
    bench.tts("start")
    assert bench.say(NOTIFY) == [actions.Ignored("notify")]
    connecting = Firmware()
    connecting.open_channel(0.0)
    assert connecting.control(json.dumps(NOTIFY).encode(), 0.0) == [actions.Ignored("notify")]
    assert sent(bench.log) == []


def test_a_wake_word_or_button_cancels_it() -> None:
    for button in (False, True):
        device = Firmware()
        device.control(json.dumps(NOTIFY).encode(), 0.0)
        woken = device.start_listening("manual") if button else device.open_channel(1.0)
        assert actions.StopNotice() in woken
        assert actions.StopNotice() not in device.start_listening("auto")


@pytest.mark.parametrize("like", ["stock-2.4", "espressif", "py-xiaozhi"])
def test_firmware_that_does_not_know_notify_ignores_it(like: str) -> None:
    device = Firmware(profile=PROFILES[like])
    assert device.control(json.dumps(NOTIFY).encode(), 0.0) == [actions.Ignored("notify")]


def test_a_notify_without_an_address_does_nothing() -> None:
    assert Firmware().control(b'{"type":"notify","subtitles":3}', 0.0) == []
    odd = b'{"type":"notify","audio_url":"http://h/n/x","subtitles":3}'
    assert Firmware().control(odd, 0.0) == [actions.FetchNotice("http://h/n/x", ())]
