"""Whatever happens in whatever order: what a device is sent is what it can take in the state it is in."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.errors import ToolError
from tests.fakes.session import DEVICE, FakeControlChannel
from tests.unit.session.conftest import House
from tests.virtual_time import run

STEPS = (
    "hello", "hello", "detect", "start", "start", "stop", "abort", "goodbye", "hear", "speak", "finish",
    "hush", "pause", "resume", "announce", "timer", "fail", "drop", "back", "again", "stall", "wait", "wait",
    "wait long",
)  # fmt: skip


class Device:
    """A device's own view: which session it has, whether it listens, what it plays."""

    def __init__(self) -> None:
        self.session_id: str | None = None
        self.listened = False
        self.speaking = False
        self.faults: list[str] = []

    def told(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "hello":
            self.session_id, self.listened, self.speaking = message["session_id"], False, False
        elif kind == "goodbye":
            if message["session_id"] == self.session_id:
                self.session_id, self.speaking = None, False
        elif kind == "tts":
            self._tts(message)

    def _tts(self, message: dict[str, Any]) -> None:
        if message["session_id"] != self.session_id:
            self.faults.append("tts of another session")
        elif not self.listened:
            self.faults.append("tts before the first listen")
        elif message["state"] == "start":
            if self.speaking:
                self.faults.append("tts start while speaking")
            self.speaking = True
        elif message["state"] == "stop":
            if not self.speaking:
                self.faults.append("tts stop while silent")
            self.speaking = False
        elif not self.speaking:
            self.faults.append("sentence_start while silent")


class Story:
    """One device, its server, and what happens to them."""

    def __init__(self) -> None:
        self.house = House()
        self.device = Device()
        self.frames = 0
        self.speeches: list[asyncio.Task[None]] = []
        self.connected = False
        self.channel = self.connect()

    def connect(self) -> FakeControlChannel:
        self.connected = True
        return self.house.connect(on_message=self.device.told)

    async def take(self, step: str) -> None:
        house, device = self.house, self.device
        match step:
            case "hello":
                house.say(self.channel, {"type": "hello", "transport": "udp"})
                self.watch()
            case "detect" | "start" | "stop":
                device.listened = device.listened or device.session_id is not None
                house.say(
                    self.channel,
                    {"type": "listen", "session_id": device.session_id or "gone", "state": step},
                )
            case "goodbye" if not self.connected:
                pass  # the server can't know of a goodbye that was never sent
            case "abort" | "goodbye":
                house.say(self.channel, {"type": step, "session_id": device.session_id or "gone"})
                if step == "goodbye":
                    device.session_id, device.speaking = None, False
            case "announce":
                house.manager.announce(DEVICE, "Dinner is ready.")
            case "drop":
                house.manager.control_closed(self.channel, "reset")
                self.connected = False
            case "back" | "again":
                self.channel = self.connect()
            case "stall":
                self.channel.unacknowledged_bytes = 0 if self.channel.unacknowledged_bytes else 100
            case "wait":
                await asyncio.sleep(0.25)
            case "wait long":
                await asyncio.sleep(12)
            case _:
                await self.converse(step)
        await asyncio.sleep(0)

    async def converse(self, step: str) -> None:
        """The conversation, or the audio, of the newest session."""
        house = self.house
        if step == "hear" and house.audio.channels and not house.last_audio.closed:
            house.last_audio.hear()
        if not house.conversations:
            return
        talk = house.conversations[-1]
        match step:
            case "speak":
                self.speeches.append(asyncio.ensure_future(self.speak(talk.output)))
            case "finish":
                self.speeches.append(asyncio.ensure_future(talk.output.finish_speech()))
            case "hush":
                talk.output.stop_speech()
            case "pause":
                talk.output.pause_speech()
            case "resume":
                talk.output.resume_speech()
            case "timer":
                with contextlib.suppress(ToolError):
                    await talk.tools.call("set_timer", {"seconds": 1, "label": ""})
            case "fail":
                talk.failure = None if talk.failure else RuntimeError("a defect")

    @staticmethod
    async def speak(output: Any) -> None:
        output.begin_speech()
        await output.play_sentence("Hello.")
        for _ in range(5):
            await output.play(b"frame")

    def watch(self) -> None:
        """Frames that the newest session's channel is given while the device does not play."""
        if not self.house.audio.channels:
            return
        audio, device = self.house.last_audio, self.device
        send = audio.send

        def watched(opus: bytes, timestamp: int) -> bool:
            sent = send(opus, timestamp)
            if sent and not device.listened and not audio.closed:
                device.faults.append("audio before the first listen")
            return sent

        audio.send = watched  # type: ignore[method-assign]

    async def end(self) -> None:
        await self.house.manager.aclose()
        for speech in self.speeches:
            speech.cancel()
        await asyncio.gather(*self.speeches, return_exceptions=True)


async def _told(steps: list[str]) -> Device:
    story = Story()
    for step in steps:
        await story.take(step)
    story.channel.unacknowledged_bytes = 0
    await story.take("hush")  # as the watchdog of a conversation would
    await asyncio.sleep(70)  # longer than any session here
    assert story.house.manager.count == 0
    await story.end()
    return story.device


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=40))
def test_nothing_is_spoken_before_the_first_listen_and_every_speech_is_whole(steps: list[str]) -> None:
    device = run(_told(steps))
    assert device.faults == []
    assert not device.speaking or device.session_id is not None


@pytest.mark.parametrize("before", [["announce"], ["hear", "announce"], ["hear", "speak"]])
def test_what_comes_before_the_first_listen_is_spoken_or_said_after_it(before: list[str]) -> None:
    async def told() -> House:
        story = Story()
        for step in ["hello", *before, "wait"]:
            await story.take(step)
        assert not [message for message in story.channel.messages if message["type"] == "tts"]
        for step in ["start", "wait"]:
            await story.take(step)
        await story.end()
        return story.house

    house = run(told())
    (talk,) = house.conversations
    if "announce" in before:
        assert talk.calls[-2:] == [("announce", "Dinner is ready."), ("drain",)]
        assert ("listen", "auto") in talk.calls
    else:
        assert house.last_audio.sent


def test_an_announcement_of_a_session_that_never_listens_is_shown_at_its_end() -> None:
    async def told() -> FakeControlChannel:
        story = Story()
        for step in ["hello", "announce", "goodbye"]:
            await story.take(step)
        await story.end()
        return story.channel

    (alert,) = run(told()).of_type("alert")
    assert alert["message"] == "Dinner is ready."
