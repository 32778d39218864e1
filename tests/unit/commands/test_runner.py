"""Commands are checked against who asks, bounded in time, answered whatever happens, and audited."""

import asyncio
import logging

import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from mimi_mqtt.commands.model import (
    TIMER,
    CallTool,
    Command,
    Disconnect,
    EndSession,
    Play,
    Principal,
    Reboot,
    Refusal,
    Say,
    SetAgent,
    ShowAlert,
    done,
)
from mimi_mqtt.commands.runner import MAX_PER_DEVICE, MAX_RESULT_CHARS, Commands
from mimi_mqtt.errors import NotFound, StoreError
from mimi_mqtt.events import CommandRan, EventBus
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.store.audit import Author
from tests.unit.commands.fake_control import AWAY, DEVICE, IDLE, STRANGER, FakeControl

pytestmark = pytest.mark.virtual_time

ADMIN = Principal("admin", user_tools=True)
OWNER = Principal(DEVICE, DEVICE)
OWNER_OF_IDLE = Principal(IDLE, IDLE)


class Setup:
    def __init__(self) -> None:
        self.control = FakeControl()
        self.events = EventBus()
        self.ran: list[CommandRan] = []
        self.events.subscribe(self.ran.append, CommandRan, name="test")
        self.agents: dict[str, str] = {}
        self.fails: Exception | None = None
        self.commands = Commands(self.control, self.events, asyncio.get_running_loop().time, agents=self)

    async def set_agent(self, device_id: str, agent: str, author: Author) -> None:
        assert author.name == ADMIN.name
        if self.fails is not None:
            raise self.fails
        self.agents[device_id] = agent


@pytest.fixture
async def setup() -> Setup:
    return Setup()


async def test_say_is_spoken_in_a_session_and_shown_without_one(setup: Setup) -> None:
    spoken = await setup.commands.run(Say(device_id=DEVICE, text=" Dinner is ready. "), by=ADMIN)
    shown = await setup.commands.run(Say(device_id=IDLE, text="Dinner is ready."), by=ADMIN)
    assert (spoken, shown) == (done(how="spoken"), done(how="shown"))
    assert setup.control.asked == [
        ("say", DEVICE, "Dinner is ready."),
        ("say", IDLE, "Dinner is ready."),
    ]


async def test_alert_end_and_disconnect_reach_the_device(setup: Setup) -> None:
    commands: list[Command] = [
        ShowAlert(device_id=DEVICE, message="The door is open.", emotion="surprised"),
        EndSession(device_id=DEVICE),
        Disconnect(device_id=DEVICE),
    ]
    for command in commands:
        assert await setup.commands.run(command, by=OWNER) == done()
    assert setup.control.asked == [
        ("alert", DEVICE, "Notice", "The door is open.", "surprised"),
        ("end", DEVICE, "command"),
        ("disconnect", DEVICE, "command"),
    ]


async def test_a_tools_result_is_passed_on_and_cut(setup: Setup) -> None:
    short = await setup.commands.run(CallTool(device_id=DEVICE, tool="volume"), by=OWNER)
    long = await setup.commands.run(CallTool(device_id=DEVICE, tool="long"), by=OWNER)
    assert short == done(text="true")
    assert long.payload == {"text": "x" * MAX_RESULT_CHARS, "cut": True}


@pytest.mark.parametrize(
    ("command", "by", "refusal"),
    [
        (Say(device_id=IDLE, text="x"), OWNER, Refusal.NOT_ALLOWED),
        (Say(device_id=STRANGER, text="x"), OWNER, Refusal.NOT_ALLOWED),  # tells nothing of others' devices
        (Say(device_id=STRANGER, text="x"), ADMIN, Refusal.UNKNOWN_DEVICE),
        (ShowAlert(device_id=AWAY, message="x"), ADMIN, Refusal.NOT_CONNECTED),
        (CallTool(device_id=AWAY, tool="volume"), ADMIN, Refusal.NOT_CONNECTED),
        (EndSession(device_id=IDLE), ADMIN, Refusal.NO_SESSION),
        (Disconnect(device_id=AWAY), ADMIN, Refusal.NOT_CONNECTED),
    ],
)
async def test_what_is_refused_says_why(
    setup: Setup, command: Command, by: Principal, refusal: Refusal
) -> None:
    result = await setup.commands.run(command, by=by)
    assert (result.status, result.refusal) == ("refused", refusal)
    assert result.message
    assert [asked for asked in setup.control.asked if asked[0] != "end"] == []


async def test_a_tool_that_fails_is_told_and_one_that_breaks_is_too(setup: Setup) -> None:
    failed = await setup.commands.run(CallTool(device_id=DEVICE, tool="nothing"), by=ADMIN)
    broken = await setup.commands.run(CallTool(device_id=DEVICE, tool="break"), by=ADMIN)
    setup.control.broken = True
    fault = await setup.commands.run(Say(device_id=DEVICE, text="x"), by=ADMIN)
    assert failed.status == broken.status == fault.status == "failed"
    assert "volume" in failed.message
    assert "a fault" not in broken.message + fault.message  # what broke is for the log


async def test_tools_for_people_are_for_administrators(setup: Setup) -> None:
    reboot = CallTool(device_id=DEVICE, tool="reboot")
    assert (await setup.commands.run(reboot, by=OWNER)).status == "failed"
    assert await setup.commands.run(reboot, by=ADMIN) == done(text="rebooting")


@pytest.mark.parametrize(("asked_s", "waited_s"), [(None, CallTool.default_timeout_s), (3.0, 3.0)])
async def test_a_command_without_a_result_times_out(
    setup: Setup, asked_s: float | None, waited_s: float
) -> None:
    began = asyncio.get_running_loop().time()
    result = await setup.commands.run(CallTool(device_id=DEVICE, tool="hang", timeout_s=asked_s), by=ADMIN)
    assert result.status == "timed_out"
    assert asyncio.get_running_loop().time() - began == pytest.approx(waited_s)


async def test_commands_that_wait_are_bounded_and_make_room_again(setup: Setup) -> None:
    hang = CallTool(device_id=DEVICE, tool="hang")
    async with asyncio.TaskGroup() as tasks:
        waiting = [
            tasks.create_task(setup.commands.run(hang, by=ADMIN), name="command")
            for _ in range(MAX_PER_DEVICE)
        ]
        await asyncio.sleep(0)
        busy = await setup.commands.run(hang, by=ADMIN)
        other = await setup.commands.run(CallTool(device_id=IDLE, tool="volume"), by=ADMIN)
        setup.control.answer.set()
    assert busy.refusal is Refusal.BUSY
    assert other == done(text="true")
    assert [task.result() for task in waiting] == [done(text="at last")] * MAX_PER_DEVICE
    assert await setup.commands.run(hang, by=ADMIN) == done(text="at last")


async def test_a_cancelled_command_makes_room_and_is_audited(setup: Setup) -> None:
    task = asyncio.create_task(
        setup.commands.run(CallTool(device_id=DEVICE, tool="hang"), by=ADMIN), name="command"
    )
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert [ran.status for ran in setup.ran] == ["failed"]
    for _ in range(MAX_PER_DEVICE + 1):
        assert await setup.commands.run(CallTool(device_id=DEVICE, tool="volume"), by=ADMIN) == done(
            text="true"
        )


async def test_what_waits_for_nothing_can_be_run_at_once(setup: Setup) -> None:
    said = Say(device_id=DEVICE, text="Your timer is done.")
    assert setup.commands.run_now(said, by=TIMER) == done(how="spoken")
    result = setup.commands.run_now(CallTool(device_id=DEVICE, tool="volume"), by=TIMER)
    assert result.status == "failed"
    assert [(ran.command, ran.by) for ran in setup.ran] == [("say", "timer"), ("call", "timer")]


async def test_every_command_is_audited_without_its_text(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {"command": "say", "outcome": "not_connected"}
    before = REGISTRY.get_sample_value("mimi_commands_total", labels) or 0.0
    with caplog.at_level(logging.INFO):
        await setup.commands.run(Say(device_id=DEVICE, text="the secret word"), by=OWNER)
        await setup.commands.run(Say(device_id=AWAY, text="the secret word"), by=ADMIN)
    assert [(ran.device_id, ran.command, ran.by, ran.status, ran.refusal) for ran in setup.ran] == [
        (DEVICE, "say", DEVICE, "done", ""),
        (AWAY, "say", "admin", "refused", "not_connected"),
    ]
    assert len(caplog.records) == 2
    assert "secret" not in caplog.text
    assert "secret" not in str(setup.ran)
    assert REGISTRY.get_sample_value("mimi_commands_total", labels) == before + 1


def test_devices_and_strangers_are_no_principals() -> None:
    assert Principal.of(Identity(Role.DEVICE, DEVICE, DEVICE)) is None
    assert Principal.of(Identity(Role.ANONYMOUS, "")) is None
    assert Principal.of(Identity(Role.TESTER, DEVICE, DEVICE)) == OWNER
    assert Principal.of(Identity(Role.ADMIN, "admin")) == ADMIN


async def test_an_idle_device_plays_a_sound_by_its_address(setup: Setup) -> None:
    sound = "http://192.0.2.9/bell.ogg"
    assert await setup.commands.run(Play(device_id=IDLE, url=sound, text="Bell"), by=OWNER_OF_IDLE) == done(
        how="sent"
    )
    assert setup.control.asked == [("play", IDLE, sound, "Bell")]
    for device_id, refusal in ((DEVICE, Refusal.BUSY), (AWAY, Refusal.NOT_CONNECTED)):
        result = await setup.commands.run(Play(device_id=device_id, url=sound), by=ADMIN)
        assert result.refusal is refusal
    setup.control.old = True
    assert (
        await setup.commands.run(Play(device_id=IDLE, url=sound), by=ADMIN)
    ).refusal is Refusal.UNSUPPORTED


@pytest.mark.parametrize(
    "url", ["", "ftp://a/b", "http://", "http://a/b c", "http://a/ü", "http://a/\n", "x" * 2_000]
)
def test_an_address_that_no_device_can_fetch_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Play(device_id=IDLE, url=url)


async def test_a_reboot_is_for_those_who_may_use_the_tools_for_people(setup: Setup) -> None:
    assert (await setup.commands.run(Reboot(device_id=DEVICE), by=OWNER)).refusal is Refusal.NOT_ALLOWED
    assert await setup.commands.run(Reboot(device_id=DEVICE), by=ADMIN) == done()
    assert (await setup.commands.run(Reboot(device_id=AWAY), by=ADMIN)).refusal is Refusal.NOT_CONNECTED


async def test_a_device_gets_another_agent_although_it_is_away(setup: Setup) -> None:
    for device_id, now, ended in ((AWAY, True, False), (DEVICE, False, False), (DEVICE, True, True)):
        command = SetAgent(device_id=device_id, agent="chef", now=now)
        assert await setup.commands.run(command, by=ADMIN) == done(session_ended=ended)
    assert setup.agents == {AWAY: "chef", DEVICE: "chef"}
    assert DEVICE not in setup.control.sessions


@pytest.mark.parametrize(
    ("error", "status"), [(NotFound("there is no agent"), "refused"), (StoreError("locked"), "failed")]
)
async def test_an_agent_that_can_not_be_set_is_told(setup: Setup, error: Exception, status: str) -> None:
    setup.fails = error
    result = await setup.commands.run(SetAgent(device_id=DEVICE, agent="cook", now=True), by=ADMIN)
    assert result.status == status
    assert "locked" not in result.message
    assert DEVICE in setup.control.sessions
    refused = await setup.commands.run(SetAgent(device_id=DEVICE, agent="cook"), by=OWNER)
    assert refused.refusal is Refusal.NOT_ALLOWED
