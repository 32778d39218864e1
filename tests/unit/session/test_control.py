"""Commands reach a device in its session, between sessions, and not when it is away; what happens is told."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from mimi_mqtt.commands.model import (
    CallTool,
    Disconnect,
    EndSession,
    Play,
    Principal,
    Reboot,
    Refusal,
    Say,
    ShowAlert,
    done,
)
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.events import (
    DeviceConnected,
    DeviceEvent,
    DeviceGone,
    EventBus,
    SessionEnded,
    SessionOpened,
    ToolCalled,
)
from mimi_mqtt.session.control import LiveDevices
from mimi_mqtt.session.overview import LiveSessions
from mimi_mqtt.session.reach import Reach
from mimi_mqtt.session.session import MAX_UNSPOKEN
from mimi_mqtt.voice.ports import Announcement
from mimi_mqtt.wire.messages import Subtitle
from tests.fakes.session import DEVICE, OTHER_DEVICE, FakeControlChannel
from tests.unit.session.conftest import House
from tests.unit.session.test_discovery import WITH_MCP, serve_mcp

pytestmark = pytest.mark.virtual_time

ADMIN = Principal("admin", user_tools=True)
OWNER = Principal(DEVICE, DEVICE)
VOLUME = "self.audio_speaker.set_volume"


class Desk:
    """A house with commands."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.commands = Commands(LiveDevices(house.manager), EventBus())

    def device(self) -> FakeControlChannel:
        """A connected device whose MCP server answers; `asked` keeps what it was asked."""
        channel = self.house.connect()
        self.asked: list[dict[str, Any]] = serve_mcp(self.house, channel)
        return channel


@pytest.fixture
def desk(house: House) -> Desk:
    return Desk(house)


async def test_say_speaks_in_a_session_and_shows_without_one(desk: Desk) -> None:
    channel = desk.house.connect()
    assert await desk.commands.run(Say(device_id=DEVICE, text="Dinner."), by=ADMIN) == done(how="shown")
    assert channel.of_type("alert")[-1]["message"] == "Dinner."
    talk = desk.house.listen(channel, desk.house.hello(channel))
    assert await desk.commands.run(Say(device_id=DEVICE, text="Dinner."), by=ADMIN) == done(how="spoken")
    assert talk.calls[-1] == ("announce", "Dinner.")


async def test_an_alert_is_shown_in_every_state(desk: Desk) -> None:
    channel = desk.house.connect()
    alert = ShowAlert(device_id=DEVICE, status="Door", message="It is open.", emotion="surprised")
    assert await desk.commands.run(alert, by=OWNER) == done()
    desk.house.hello(channel)
    assert await desk.commands.run(alert, by=OWNER) == done()
    shown = channel.of_type("alert")
    assert len(shown) == 2
    assert (shown[0]["status"], shown[0]["message"], shown[0]["emotion"]) == (
        "Door", "It is open.", "surprised",
    )  # fmt: skip


@pytest.mark.parametrize("tool", [VOLUME, "self__audio_speaker__set_volume"])
async def test_a_device_tool_is_called_by_either_name_before_any_hello(desk: Desk, tool: str) -> None:
    desk.device()
    call = CallTool(device_id=DEVICE, tool=tool, arguments={"volume": 40})
    assert await desk.commands.run(call, by=OWNER) == done(text="true")
    assert desk.asked[-1]["params"] == {"name": VOLUME, "arguments": {"volume": 40}}


async def test_wrong_arguments_of_a_tool_are_told_and_do_not_reach_the_device(desk: Desk) -> None:
    desk.device()
    call = CallTool(device_id=DEVICE, tool=VOLUME, arguments={"volume": 400})
    result = await desk.commands.run(call, by=OWNER)
    assert result.status == "failed"
    assert "volume" in result.message
    assert all(asked["method"] != "tools/call" for asked in desk.asked)


async def test_the_servers_tools_can_be_called_too(desk: Desk) -> None:
    desk.device()
    call = CallTool(device_id=DEVICE, tool="set_timer", arguments={"seconds": 60, "label": "tea"})
    assert (await desk.commands.run(call, by=OWNER)).status == "done"


async def test_a_tool_for_people_is_called_for_an_administrator_alone(desk: Desk) -> None:
    desk.device()
    reboot = CallTool(device_id=DEVICE, tool="self.reboot")
    refused = await desk.commands.run(reboot, by=OWNER)
    assert refused.status == "failed"
    assert all(asked["method"] != "tools/call" for asked in desk.asked)
    assert (await desk.commands.run(reboot, by=ADMIN)).status == "done"
    assert desk.asked[-1]["params"]["name"] == "self.reboot"


async def test_a_call_of_a_tool_for_people_is_told_and_waits_for_its_turn(desk: Desk) -> None:
    told: list[ToolCalled] = []
    desk.house.events.subscribe(told.append, ToolCalled, name="test")
    channel = desk.device()
    desk.house.hello(channel)
    volume = CallTool(device_id=DEVICE, tool=VOLUME, arguments={"volume": 40})
    assert (await desk.commands.run(volume, by=ADMIN)).status == "done"
    answer, channel.on_message = channel.on_message, None
    first = asyncio.create_task(desk.commands.run(volume, by=ADMIN))
    await asyncio.sleep(1)
    reboot = CallTool(device_id=DEVICE, tool="self.reboot", arguments={"in": {"s": 1}})
    second = asyncio.create_task(desk.commands.run(reboot, by=ADMIN))
    await asyncio.sleep(1)
    channel.on_message = answer
    assert (await first).status == "failed"  # the device never answered it
    assert await second == done(text="true")
    assert desk.asked[-1]["params"] == {"name": "self.reboot", "arguments": {"in": {"s": 1}}}
    assert [(each.tool, each.ok) for each in told[1:]] == [
        ("self__audio_speaker__set_volume", False),
        ("self.reboot", True),
    ]


async def test_a_device_that_answers_nothing_makes_the_call_fail_in_time(desk: Desk) -> None:
    desk.house.connect()
    result = await desk.commands.run(CallTool(device_id=DEVICE, tool=VOLUME), by=ADMIN)
    assert result.status == "failed"
    assert "did not answer" in result.message
    soon = await desk.commands.run(CallTool(device_id=DEVICE, tool=VOLUME, timeout_s=1.0), by=ADMIN)
    assert soon.status == "timed_out"


async def test_a_tool_of_the_server_does_not_wait_for_a_device_without_tools(desk: Desk) -> None:
    desk.house.connect()
    began = asyncio.get_running_loop().time()
    result = await desk.commands.run(CallTool(device_id=DEVICE, tool="get_time"), by=ADMIN)
    assert result.status == "done"
    assert asyncio.get_running_loop().time() - began < 0.1


async def test_a_call_right_after_hello_waits_for_the_tools(desk: Desk) -> None:
    channel = desk.device()
    desk.house.say(channel, WITH_MCP)
    call = CallTool(device_id=DEVICE, tool=VOLUME, arguments={"volume": 40})
    assert await desk.commands.run(call, by=OWNER) == done(text="true")


async def test_end_sends_the_device_home_and_leaves_it_connected(desk: Desk) -> None:
    channel = desk.house.connect()
    session_id = desk.house.hello(channel)
    assert await desk.commands.run(EndSession(device_id=DEVICE), by=OWNER) == done()
    assert [message["session_id"] for message in channel.of_type("goodbye")] == [session_id]
    assert channel.closed is None
    again = await desk.commands.run(EndSession(device_id=DEVICE), by=OWNER)
    assert again.refusal is Refusal.NO_SESSION


async def test_disconnect_says_goodbye_and_closes(desk: Desk) -> None:
    channel = desk.house.connect()
    desk.house.hello(channel)
    assert await desk.commands.run(Disconnect(device_id=DEVICE), by=OWNER) == done()
    assert channel.of_type("goodbye")
    assert channel.closed is not None


async def test_a_device_that_is_away_or_revoked_is_refused(desk: Desk) -> None:
    say = Say(device_id=OTHER_DEVICE, text="x")
    assert (await desk.commands.run(say, by=ADMIN)).refusal is Refusal.NOT_CONNECTED
    del desk.house.devices[OTHER_DEVICE]
    assert (await desk.commands.run(say, by=ADMIN)).refusal is Refusal.UNKNOWN_DEVICE


async def test_what_happens_to_a_device_is_told(house: House) -> None:
    told: list[DeviceEvent] = []
    house.events.subscribe(told.append, DeviceEvent, name="test")
    channel = house.connect()
    asked = serve_mcp(house, channel)
    house.say(channel, WITH_MCP)
    session_id = str(channel.of_type("hello")[-1]["session_id"])
    await asyncio.sleep(1)
    tools = house.listen(channel, session_id).tools
    assert await tools.call("self__audio_speaker__set_volume", {"volume": 40}) == "true"
    assert asked
    house.say(channel, {"type": "goodbye", "session_id": session_id})
    house.manager.control_closed(channel, "keepalive expired")
    assert [type(event) for event in told] == [
        DeviceConnected, SessionOpened, ToolCalled, SessionEnded, DeviceGone,
    ]  # fmt: skip
    _, opened, called, ended, gone = told
    assert isinstance(opened, SessionOpened)
    assert isinstance(called, ToolCalled)
    assert isinstance(ended, SessionEnded)
    assert isinstance(gone, DeviceGone)
    assert opened.session_id == ended.session_id == session_id
    assert (called.tool, called.ok) == ("self__audio_speaker__set_volume", True)
    assert ended.reason == "goodbye"
    assert ended.duration_s == pytest.approx(1.0, abs=0.1)
    assert gone.reason == "keepalive expired"


async def test_a_device_that_comes_back_to_its_session_is_told_as_gone_and_connected(house: House) -> None:
    told: list[DeviceEvent] = []
    house.events.subscribe(told.append, DeviceEvent, name="test")
    first = house.connect()
    house.hello(first)
    house.manager.control_closed(first, "keepalive expired")
    second = house.connect()
    third = house.connect()  # takes over
    house.manager.control_closed(second, "taken over")
    house.manager.control_closed(third, "disconnected")
    await asyncio.sleep(house.settings.session.reattach_s + 5)
    assert [type(event) for event in told] == [
        DeviceConnected, SessionOpened, DeviceGone, DeviceConnected, DeviceConnected, DeviceGone,
        SessionEnded,
    ]  # fmt: skip


async def test_an_observer_of_a_sessions_end_can_have_the_device_told_something(house: House) -> None:
    channel = house.connect()
    commands = Commands(LiveDevices(house.manager), EventBus())

    def tell(event: SessionEnded) -> None:
        assert commands.run_now(Say(device_id=event.device_id, text="Bye."), by=ADMIN) == done(how="shown")

    house.events.subscribe(tell, SessionEnded, name="test")
    session_id = house.hello(channel)
    house.say(channel, {"type": "goodbye", "session_id": session_id})
    assert channel.of_type("alert")[-1]["message"] == "Bye."


async def test_a_device_that_is_awaited_is_not_connected_for_commands(desk: Desk) -> None:
    channel = desk.house.connect()
    desk.house.hello(channel)
    desk.house.manager.control_closed(channel, "keepalive expired")
    for command in (Say(device_id=DEVICE, text="x"), ShowAlert(device_id=DEVICE, message="x")):
        assert (await desk.commands.run(command, by=ADMIN)).refusal is Refusal.NOT_CONNECTED


async def test_a_tester_who_plays_a_device_can_be_commanded_and_does_not_count_as_the_device(
    house: House,
) -> None:
    told: list[DeviceEvent] = []
    house.events.subscribe(told.append, DeviceConnected, DeviceGone, name="test")
    channel = house.connect(is_tester=True)
    commands = Commands(LiveDevices(house.manager), EventBus())
    assert await commands.run(Say(device_id=DEVICE, text="Hello."), by=OWNER) == done(how="shown")
    house.manager.control_closed(channel, "left")
    assert told == []


# ── notices ──────────────────────────────────────────────────────────────────────────────────────────────


def firmware(house: House, version: str, **facts: Any) -> None:
    house.devices[DEVICE] = replace(house.devices[DEVICE], firmware_version=version, **facts)


@pytest.mark.parametrize(
    ("version", "facts", "reach"),
    [
        ("2.5.0", {}, Reach.NOTIFY),
        ("2.4.2", {}, Reach.ALERT),
        ("", {}, Reach.ALERT),
        ("2.6.0", {"espressif": True}, Reach.SILENT),
    ],
)
async def test_an_idle_device_is_reached_by_what_its_firmware_knows(
    house: House, version: str, facts: dict[str, Any], reach: Reach
) -> None:
    firmware(house, version, **facts)
    devices = LiveDevices(house.manager)
    assert devices.reach(DEVICE) is Reach.AWAY
    channel = house.connect()
    assert devices.reach(DEVICE) is reach
    session_id = house.hello(channel)
    assert devices.reach(DEVICE) is Reach.TALKING
    house.say(channel, {"type": "goodbye", "session_id": session_id})
    assert devices.reach(DEVICE) is reach
    house.manager.control_closed(channel, "gone")
    assert devices.reach(DEVICE) is Reach.AWAY


async def test_a_device_over_websocket_without_a_session_is_told_nothing(house: House) -> None:
    firmware(house, "2.5.0")
    house.connect(transport="websocket")
    assert LiveDevices(house.manager).reach(DEVICE) is Reach.SILENT


async def test_a_notify_has_no_session_and_fits_the_device(house: House) -> None:
    firmware(house, "2.5.0", cellular=True)
    devices, channel = LiveDevices(house.manager), house.connect()
    lines = tuple(Subtitle(number * 100, "a sentence of some length") for number in range(200))
    assert devices.notify(DEVICE, "http://h/n/x", lines)
    (told,) = channel.of_type("notify")
    assert "session_id" not in told
    assert told["audio_url"] == "http://h/n/x"
    assert len(json.dumps(told, separators=(",", ":"))) <= 2_000
    assert not devices.notify(OTHER_DEVICE, "http://h/n/x", ())


async def test_an_announcement_waits_for_the_first_listen_urgent_ones_first(house: House) -> None:
    devices, channel = LiveDevices(house.manager), house.connect()
    told: list[tuple[str, bool]] = []

    def announcement(text: str, *, urgent: bool = False) -> Announcement:
        return Announcement(text, urgent=urgent, concluded=lambda spoken: told.append((text, spoken)))

    assert not devices.announce(DEVICE, announcement("too early"))
    session_id = house.hello(channel)
    for text, urgent in (("calm", False), ("fire", True), ("water", True)):
        assert devices.announce(DEVICE, announcement(text, urgent=urgent))
    talk = house.listen(channel, session_id)
    said = [call for call in talk.calls if call[0] == "announce"]
    assert said == [("announce", "fire"), ("announce", "water"), ("announce", "calm")]
    assert told == []


async def test_announcements_of_a_session_that_never_listened_are_given_back(house: House) -> None:
    devices, channel = LiveDevices(house.manager), house.connect()
    told: list[bool] = []
    session_id = house.hello(channel)
    for _ in range(MAX_UNSPOKEN + 2):
        devices.announce(DEVICE, Announcement("Dinner.", concluded=told.append))
    assert told == [False, False]
    house.say(channel, {"type": "goodbye", "session_id": session_id})
    assert told == [False] * (MAX_UNSPOKEN + 2)
    assert channel.of_type("alert") == []


@pytest.mark.parametrize("ended_by", ["its loss", "the next one"])
async def test_texts_of_a_websocket_that_drops_before_the_first_listen_are_said_in_the_next_session(
    house: House, ended_by: str
) -> None:
    """They were written to the connection that was gone."""
    house.manager._audio_transports = {"websocket": house.audio}
    devices, channel = LiveDevices(house.manager), house.connect(transport="websocket")
    house.hello(channel, transport="websocket")
    for text in ("Dinner.", "Now."):
        assert devices.say(DEVICE, text) == "spoken"
    if ended_by == "its loss":
        house.manager.control_closed(channel, "connection lost")
    following = house.connect(transport="websocket")
    assert channel.story() == ["hello"]
    talk = house.listen(following, house.hello(following, transport="websocket"))
    assert [call for call in talk.calls if call[0] == "announce"] == [
        ("announce", "Dinner."),
        ("announce", "Now."),
    ]
    assert following.of_type("alert") == []


@pytest.mark.parametrize("otherwise", ["too late", "another owner", "another device"])
async def test_texts_that_wait_for_the_next_session_are_dropped(house: House, otherwise: str) -> None:
    house.manager._audio_transports = {"websocket": house.audio}
    devices, channel = LiveDevices(house.manager), house.connect(transport="websocket")
    house.hello(channel, transport="websocket")
    devices.say(DEVICE, "Dinner.")
    house.manager.control_closed(channel, "connection lost")
    if otherwise == "too late":
        await asyncio.sleep(house.settings.session.reattach_s)
    elif otherwise == "another owner":
        house.manager.forget_owner(DEVICE)
    else:  # of the same address, after this one was forgotten
        forgotten = house.devices.pop(DEVICE)
        house.manager.disconnect(DEVICE, "revoked")
        house.devices[DEVICE] = forgotten
    following = house.connect(transport="websocket")
    talk = house.listen(following, house.hello(following, transport="websocket"))
    assert "announce" not in {call[0] for call in talk.calls}


async def test_the_speaker_is_that_of_the_device(house: House) -> None:
    devices = LiveDevices(house.manager)
    assert devices.speaker(DEVICE) == ("default", "vi-VN")
    assert devices.speaker("aa-bb-cc-00-11-99")[0] == "default"


async def test_a_reboot_reaches_a_device_in_every_state(desk: Desk) -> None:
    channel = desk.house.connect()
    assert await desk.commands.run(Reboot(device_id=DEVICE), by=ADMIN) == done()
    assert channel.of_type("system") == [{"type": "system", "command": "reboot"}]
    session_id = desk.house.hello(channel)
    assert await desk.commands.run(Reboot(device_id=DEVICE), by=ADMIN) == done()
    assert channel.of_type("system")[-1]["session_id"] == session_id


async def test_a_sound_is_played_by_the_device_that_can(desk: Desk) -> None:
    play = Play(device_id=DEVICE, url="http://192.0.2.9/bell.ogg", text="Somebody is at the door.")
    channel = desk.house.connect()
    assert (await desk.commands.run(play, by=OWNER)).refusal is Refusal.UNSUPPORTED
    desk.house.devices[DEVICE] = replace(desk.house.devices[DEVICE], board="bread", firmware_version="2.5.0")
    channel = desk.house.connect()
    assert await desk.commands.run(play, by=OWNER) == done(how="sent")
    assert channel.of_type("notify") == [
        {
            "type": "notify",
            "audio_url": "http://192.0.2.9/bell.ogg",
            "subtitles": [{"start_ms": 0, "text": "Somebody is at the door."}],
        }
    ]
    desk.house.hello(channel)
    assert (await desk.commands.run(play, by=OWNER)).refusal is Refusal.BUSY


async def test_live_sessions_are_told_with_what_they_are_doing(desk: Desk) -> None:
    sessions = LiveSessions(desk.house.manager)
    assert list(sessions) == []
    channel = desk.house.connect()
    session_id = desk.house.hello(channel)
    (told,) = sessions
    assert (told.session_id, told.device_id, told.state) == (session_id, DEVICE, "opened")
    assert told == replace(sessions.get(session_id) or told, since=told.since)
    desk.house.listen(channel, session_id)
    (told,) = sessions
    assert (told.state, told.transport, told.audio.received) == ("listening", "udp", 0)
    assert sessions.get("x") is None
