"""Sessions with real conversations, hello to goodbye, in virtual time; only the providers are scripted."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.providers.contract.chat import LlmEvent, ToolCall
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.voice.conversation import Conversation
from tests.fakes.reminders import reminders
from tests.fakes.session import DEVICE, FakeAudioChannel, FakeAudioTransport, FakeControlChannel
from tests.fakes.voice import SILENCE, SPEECH, ScriptedLlm, ScriptedStt, services

pytestmark = pytest.mark.virtual_time

FRAME_S = 0.06
HELLO = {"type": "hello", "version": 3, "transport": "udp"}


class Room:
    """A session manager, and one connected device that can speak."""

    def __init__(self, llm: ScriptedLlm) -> None:
        self.services = services(stt=ScriptedStt("set a timer"), llm=llm)
        self.audio = FakeAudioTransport(ready=False)
        told, self.scheduler = reminders(
            lambda device_id, text: self.manager.announce(device_id, text), lambda _: "en"
        )
        self.scheduler.start()
        self.manager = SessionManager(
            Settings(),
            devices={DEVICE: DeviceInfo(DEVICE, "192.0.2.1", "en")},
            audio_transports={"udp": self.audio},
            agents=AgentCatalog(AgentsInForce(Settings().every_agent)),
            converse=lambda agent: functools.partial(Conversation, services=self.services),
            reminders=told,
        )
        self.channel = FakeControlChannel()
        self.manager.control_opened(self.channel)

    def say(self, message: dict[str, Any]) -> None:
        self.manager.control_message(self.channel, json.dumps(message).encode())

    async def listen(self, mode: str = "auto") -> None:
        """Hello, and the beginning of listening, with silence as from a microphone."""
        self.say(HELLO)
        self.say({"type": "listen", "session_id": "", "state": "start", "mode": mode})
        await self.hear(SILENCE, 2)

    async def hear(self, packet: bytes, count: int) -> None:
        for _ in range(count):
            self.uplink.hear(packet)
            await asyncio.sleep(FRAME_S)

    async def ask(self) -> None:
        await self.hear(SPEECH, 12)
        await self.hear(SILENCE, 14)

    @property
    def uplink(self) -> FakeAudioChannel:
        return self.audio.channels[-1]

    async def told(self, what: str, times: int = 1) -> None:
        """Until the device was told `what`."""
        changed = asyncio.Event()
        self.channel.on_message = lambda _: changed.set()
        while self.channel.story().count(what) < times:
            await changed.wait()
            changed.clear()


@pytest.fixture
async def room(request: pytest.FixtureRequest) -> AsyncIterator[Room]:
    room = Room(ScriptedLlm(*getattr(request, "param", [["Here you are. ", "Anything else?"]])))
    yield room
    await room.scheduler.aclose()
    await room.manager.aclose()
    room.services.encoders.close()


async def test_question_is_answered_in_the_order_devices_need(room: Room) -> None:
    await room.listen()
    await room.ask()
    await room.told("tts stop")
    story = room.channel.story()
    assert story[:4] == ["hello", "stt", "llm", "tts start"]
    assert story[4:] == [
        "tts sentence_start Here you are.",
        "tts sentence_start Anything else?",
        "tts stop",
    ]
    started, stopped = (at for at, message in room.channel.sent if message.get("state") in ("start", "stop"))
    frames = room.uplink.sent
    assert frames[0][0] - started >= 0.1
    assert stopped == pytest.approx(frames[0][0] + len(frames) * FRAME_S + 0.12)
    assert all(later[2] > sooner[2] for sooner, later in pairwise(frames))


Script = Sequence[Sequence[str | LlmEvent]]

TIMER: Script = [[ToolCall("1", "set_timer", {"seconds": 5, "label": "tea"})], ["Done."]]


@pytest.mark.parametrize("room", [TIMER], indirect=True)
async def test_timer_set_by_voice_is_announced_by_voice(room: Room) -> None:
    await room.listen()
    await room.ask()
    await room.told("tts stop")
    await room.told("tts sentence_start Your tea timer is done.")
    await room.told("tts stop", 2)


async def test_greeting_waits_for_the_devices_address(room: Room) -> None:
    room.say(HELLO)
    room.say({"type": "listen", "session_id": "", "state": "detect", "text": "hi mimi"})
    await asyncio.sleep(0.5)
    assert "tts start" not in room.channel.story()
    room.say({"type": "listen", "session_id": "", "state": "start", "mode": "auto"})
    await room.hear(SILENCE, 1)
    await room.told("tts stop")
    # Nothing of the greeting was lost: as many frames left as were played before the stop.
    (first, _, _) = room.uplink.sent[0]
    stopped = room.channel.sent[-1][0]
    assert len(room.uplink.sent) == round((stopped - 0.12 - first) / FRAME_S)


async def test_greeting_of_a_silent_device_is_shown_and_ended(room: Room) -> None:
    room.say(HELLO)
    room.say({"type": "listen", "session_id": "", "state": "detect", "text": "hi mimi"})
    await room.told("tts stop")
    assert [line.split(" ")[:2] for line in room.channel.story() if "sentence" in line]
    assert room.uplink.sent == []


async def test_abort_silences_at_once(room: Room) -> None:
    await room.listen()
    await room.ask()
    await room.told("tts sentence_start Here you are.")
    await asyncio.sleep(0.2)
    room.say({"type": "abort", "session_id": ""})
    assert room.channel.story()[-1] == "tts stop"
    sent = len(room.uplink.sent)
    await asyncio.sleep(2)
    assert len(room.uplink.sent) == sent
    assert room.channel.story().count("tts stop") == 1


async def test_hello_in_the_middle_of_a_reply_begins_anew(room: Room) -> None:
    await room.listen()
    await room.ask()
    await room.told("tts sentence_start Here you are.")
    old = room.uplink
    told = len(room.channel.messages)
    await room.listen()
    sent = len(old.sent)
    await room.ask()
    await room.told("tts stop")
    assert room.channel.story()[told] == "hello"
    assert len(old.sent) == sent
    assert room.uplink is not old
    assert room.uplink.sent


async def test_stop_of_the_server_lets_the_sentence_end(room: Room) -> None:
    await room.listen()
    await room.ask()
    await room.told("tts sentence_start Here you are.")
    await room.manager.aclose()
    assert room.channel.story()[-3:] == ["tts sentence_start Here you are.", "tts stop", "goodbye"]
    spoken = sum(1 for _ in room.uplink.sent) * FRAME_S
    assert spoken == pytest.approx(len("Here you are.") * 0.06, abs=0.2)


async def test_silence_ends_the_session(room: Room) -> None:
    await room.listen()
    await room.told("goodbye")
    assert room.manager.count == 0


END = ToolCall("1", "end_conversation", {})
GOODBYE_FIRST: Script = [["Goodbye! See you soon.", END], ["never asked for"]]
GOODBYE_LAST: Script = [[END], ["Goodbye! See you soon."]]


@pytest.mark.parametrize("room", [GOODBYE_FIRST, GOODBYE_LAST], indirect=True)
@pytest.mark.parametrize("mode", ["auto", "realtime"])
async def test_a_goodbye_is_heard_to_its_end_and_ends_the_session(room: Room, mode: str) -> None:
    await room.listen(mode)
    session_id = room.channel.messages[0]["session_id"]
    await room.ask()
    await room.told("goodbye")
    story = room.channel.story()
    assert [line for line in story if "sentence" in line] == [
        "tts sentence_start Goodbye!",
        "tts sentence_start See you soon.",
    ]
    assert story[-2:] == ["tts stop", "goodbye"]
    assert room.channel.messages[-1]["session_id"] == session_id
    assert room.uplink.closed
    assert room.manager.count == 0
    # All of it was played: as many frames as the time to the stop has.
    (first, _, _) = room.uplink.sent[0]
    stopped = room.channel.sent[-2][0]
    assert len(room.uplink.sent) == round((stopped - 0.12 - first) / FRAME_S)


@pytest.mark.parametrize("room", [GOODBYE_LAST], indirect=True)
async def test_whoever_interrupts_a_goodbye_goes_on_talking(room: Room) -> None:
    await room.listen()
    await room.ask()
    await room.told("tts sentence_start Goodbye!")
    room.say({"type": "abort", "session_id": ""})
    room.say({"type": "listen", "session_id": "", "state": "start", "mode": "auto"})
    await room.ask()
    await room.told("tts stop", 2)
    await asyncio.sleep(1)
    assert "goodbye" not in room.channel.story()
    assert room.manager.count == 1


@pytest.mark.parametrize("room", [GOODBYE_LAST], indirect=True)
async def test_what_waits_to_be_said_is_said_before_the_session_ends(room: Room) -> None:
    await room.listen()
    await room.ask()
    await room.told("tts sentence_start Goodbye!")
    assert room.manager.announce(DEVICE, "Your tea timer is done.")
    await room.told("goodbye")
    assert room.channel.story()[-3:] == [
        "tts sentence_start Your tea timer is done.", "tts stop", "goodbye",
    ]  # fmt: skip


@pytest.mark.parametrize("room", [GOODBYE_LAST], indirect=True)
async def test_a_press_of_the_button_during_a_goodbye_goes_on_talking(room: Room) -> None:
    stop = {"type": "listen", "session_id": "", "state": "stop"}
    await room.listen("manual")
    await room.hear(SPEECH, 12)
    room.say(stop)
    await room.told("tts sentence_start Goodbye!")
    room.say({"type": "abort", "session_id": ""})
    room.say({"type": "listen", "session_id": "", "state": "start", "mode": "manual"})
    await room.hear(SPEECH, 12)
    room.say(stop)
    await room.told("tts stop", 2)
    assert room.manager.count == 1


# ── what fails, and what crosses ─────────────────────────────────────────────────────────────────────────


async def test_a_reply_that_can_not_be_sent_is_told_and_the_next_one_is_heard(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.listen()
    with monkeypatch.context() as patch:
        patch.setattr(room.uplink, "send", None)
        await room.ask()
        await room.told("tts stop")
        await room.told("alert")
    assert room.uplink.sent == []
    assert room.channel.story().count("tts start") == room.channel.story().count("tts stop")
    told = room.channel.story().count("tts stop")
    room.say({"type": "listen", "session_id": "", "state": "start", "mode": "auto"})
    await room.ask()
    await room.told("tts stop", told + 1)
    assert room.uplink.sent
    await room.told("goodbye")  # and the session expires when nobody speaks any more
    assert room.manager.count == 0


@pytest.mark.parametrize("room", [GOODBYE_LAST], indirect=True)
async def test_goodbye_goes_out_once_although_the_device_listens_again_by_itself(room: Room) -> None:
    await room.listen()
    session_id = room.channel.messages[0]["session_id"]
    await room.ask()
    await room.told("goodbye")
    # An auto-mode device listens again after `tts stop`: that crosses the goodbye.
    room.say({"type": "listen", "session_id": session_id, "state": "start", "mode": "auto"})
    room.say({"type": "goodbye", "session_id": session_id})
    await asyncio.sleep(1)
    assert room.channel.story().count("goodbye") == 1


async def test_an_announcement_between_hello_and_listen_is_heard_after_listen(room: Room) -> None:
    room.say(HELLO)
    assert room.manager.announce(DEVICE, "Your tea timer is done.")
    await room.hear(SILENCE, 20)
    assert room.channel.story() == ["hello"]
    room.say({"type": "listen", "session_id": "", "state": "start", "mode": "auto"})
    await room.told("tts sentence_start Your tea timer is done.")
    await room.told("tts stop")
    assert room.uplink.sent
