"""The one implementation of commands: permission, time-out, result, audit line and event."""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from prometheus_client import Counter

from mimi_mqtt.commands.model import (
    CallTool,
    Command,
    CommandResult,
    Disconnect,
    EndSession,
    Notify,
    Play,
    Principal,
    Reboot,
    Refusal,
    Say,
    SetAgent,
    ShowAlert,
    done,
    refused,
)
from mimi_mqtt.commands.notices import Notices
from mimi_mqtt.commands.ports import AgentControl, DeviceControl
from mimi_mqtt.commands.waiting import TooManyNotices
from mimi_mqtt.errors import AudioError, OggError, RequestError, StoreError, ToolError
from mimi_mqtt.events import CommandRan, EventBus
from mimi_mqtt.session.reach import Reach
from mimi_mqtt.store.audit import Author

_log = logging.getLogger(__name__)

MAX_PER_DEVICE: Final = 4
"""Commands for one device that wait for their result at once."""
MAX_WAITING: Final = 500
"""Commands for all devices that wait for their result at once."""
MAX_RESULT_CHARS: Final = 8_000
"""Longest text of a tool's result that is passed on."""

_C = TypeVar("_C", bound=Command)
_CarryOut: TypeAlias = Callable[[_C, Principal], Awaitable[CommandResult]]

_ran = Counter("mimi_commands_total", "Commands, by name and what became of them.", ["command", "outcome"])


class Commands:
    """Carries out commands for devices reached by `control`, and publishes `CommandRan` on `events`.

    Belongs to the running loop's thread. `clock` gives monotonic seconds. Without `notices` there is no
    `notify`, without `agents` no `agent`.
    """

    def __init__(
        self,
        control: DeviceControl,
        events: EventBus,
        clock: Callable[[], float] = time.monotonic,
        *,
        notices: Notices | None = None,
        agents: AgentControl | None = None,
    ) -> None:
        self._control = control
        self._agents = agents
        self._notices = notices
        self._events = events
        self._clock = clock
        self._waiting: Tally[str] = Tally()  # by device
        self._waiting_in_all = 0

    async def run(self, command: Command, *, by: Principal) -> CommandResult:
        """Carries out `command` for `by`, within its time-out. Raises nothing but CancelledError."""
        return await self._run(command, by, self._carry_out)

    async def hand_over(self, command: Notify, *, by: Principal) -> CommandResult:
        """Like `run` for a text, but returns as soon as the notice can't be lost any more."""
        return await self._run(command, by, self._hand_over)

    async def _run(self, command: _C, by: Principal, carry_out: _CarryOut[_C]) -> CommandResult:
        began = self._clock()
        result = CommandResult("failed", message="the command was given up: the server stops")
        try:
            result = self._refusal(command, by) or await carry_out(command, by)
        except Exception:  # noqa: BLE001 - the border of a command: its caller gets a result, whatever happens
            result = self._fault(command)
        finally:
            self._tell(command, by, result, began)
        return result

    def run_now(self, command: Command, *, by: Principal) -> CommandResult:
        """Like `run` for a command that waits for nothing (`Command.waits`); of a Notify the outcome is told
        by an event."""
        began = self._clock()
        try:
            result = self._refusal(command, by) or self._at_once(command)
        except Exception:  # noqa: BLE001 - the border of a command, as in `run`
            result = self._fault(command)
        self._tell(command, by, result, began)
        return result

    def _refusal(self, command: Command, by: Principal) -> CommandResult | None:
        device_id = command.device_id
        if not by.may_command(device_id):
            return refused(Refusal.NOT_ALLOWED, f"{by.name} may not command {device_id}")
        if command.for_people and not by.user_tools:
            return refused(Refusal.NOT_ALLOWED, f"{by.name} may not use the command {command.name}")
        if not self._control.knows(device_id):
            message = f"there is no device {device_id} that may connect; `mimi-mqtt devices` lists them"
            return refused(Refusal.UNKNOWN_DEVICE, message)
        if not self._control.connected(device_id) and not isinstance(command, Notify | SetAgent):
            return _not_connected(device_id)
        return None

    async def _carry_out(self, command: Command, by: Principal) -> CommandResult:
        if isinstance(command, CallTool):
            return await self._call_tool(command, by)
        if isinstance(command, Notify) and self._notices is not None:
            return await self._notify(command, self._notices)
        if isinstance(command, SetAgent) and self._agents is not None:
            return await self._set_agent(command, self._agents, by)
        return self._at_once(command)

    def _at_once(self, command: Command) -> CommandResult:
        device_id = command.device_id
        match command:
            case Say(text=text):
                how = self._control.say(device_id, text)
                return done(how=how) if how is not None else _not_connected(device_id)
            case ShowAlert():
                shown = self._control.alert(device_id, command.status, command.message, command.emotion)
                return done() if shown else _not_connected(device_id)
            case Notify() if self._notices is not None:
                try:
                    return done(how="waiting", notice=self._notices.tell_later(command))
                except TooManyNotices as error:
                    return refused(Refusal.BUSY, str(error))
            case EndSession():
                if self._control.end_session(device_id, "command"):
                    return done()
                message = f"{device_id} has no session that could be ended: it is idle"
                return refused(Refusal.NO_SESSION, message)
            case Disconnect():
                gone = self._control.disconnect(device_id, "command")
                return done() if gone else _not_connected(device_id)
            case Play(url=url, text=text):
                return self._play(device_id, url, text)
            case Reboot():
                return done() if self._control.reboot(device_id) else _not_connected(device_id)
            case _:
                raise TypeError(f"{type(command).__name__} can't be carried out at once")

    def _play(self, device_id: str, url: str, text: str) -> CommandResult:
        reach = self._control.play(device_id, url, text)
        if reach is Reach.NOTIFY:
            return done(how="sent")
        if reach is Reach.AWAY:
            return _not_connected(device_id)
        if reach is Reach.TALKING:
            message = f"{device_id} is in a conversation, in which it plays no other sound; `notify` waits"
            return refused(Refusal.BUSY, message)
        message = f"{device_id} can't play a sound by its address: that needs firmware 2.5.0 over MQTT"
        return refused(Refusal.UNSUPPORTED, message)

    async def _set_agent(self, command: SetAgent, agents: AgentControl, by: Principal) -> CommandResult:
        timeout_s = command.timeout_s or command.default_timeout_s
        author = Author(by.name, by.user_id, by.address)
        try:
            async with asyncio.timeout(timeout_s):
                await agents.set_agent(command.device_id, command.agent, author)
        except RequestError as error:
            return refused(Refusal.BAD_ARGUMENTS, str(error))
        except StoreError as error:
            _log.error("%s", error)
            return CommandResult("failed", message="the server's database does not work: see its log")
        except TimeoutError:
            message = f"the database did not answer within {timeout_s:g} s; ask again"
            return CommandResult("timed_out", message=message)
        ended = command.now and self._control.end_session(command.device_id, "command")
        return done(session_ended=ended)

    async def _notify(self, command: Notify, notices: Notices) -> CommandResult:
        try:
            how, notice = await notices.tell(command, command.timeout_s or command.default_timeout_s)
        except TooManyNotices as error:
            return refused(Refusal.BUSY, str(error))
        except (AudioError, OggError) as error:
            return refused(Refusal.BAD_ARGUMENTS, str(error))
        return done(how=how, notice=notice)

    async def _hand_over(self, command: Notify, by: Principal) -> CommandResult:
        del by
        if self._notices is None:
            raise TypeError("there are no notices")
        try:
            return done(how="waiting", notice=await self._notices.hand_over(command))
        except TooManyNotices as error:
            return refused(Refusal.BUSY, str(error))

    async def _call_tool(self, command: CallTool, by: Principal) -> CommandResult:
        device_id = command.device_id
        if self._waiting[device_id] >= MAX_PER_DEVICE or self._waiting_in_all >= MAX_WAITING:
            message = "other commands are waiting for their result; wait for one of them and ask again"
            return refused(Refusal.BUSY, message)
        timeout_s = command.timeout_s or command.default_timeout_s
        self._waiting[device_id] += 1
        self._waiting_in_all += 1
        try:
            async with asyncio.timeout(timeout_s):
                text = await self._control.call_tool(
                    device_id, command.tool, command.arguments, user_tools=by.user_tools
                )
        except ToolError as error:
            return CommandResult("failed", message=str(error)[:MAX_RESULT_CHARS])
        except TimeoutError:
            message = f"no result within {timeout_s:g} s; the device may or may not have done it"
            return CommandResult("timed_out", message=message)
        finally:
            self._waiting_in_all -= 1
            self._waiting[device_id] -= 1
            if not self._waiting[device_id]:
                del self._waiting[device_id]
        cut = len(text) > MAX_RESULT_CHARS
        return done(text=text[:MAX_RESULT_CHARS], cut=True) if cut else done(text=text)

    def _fault(self, command: Command) -> CommandResult:
        _log.exception("the command %s failed", command.name, extra={"device": command.device_id})
        return CommandResult("failed", message="something went wrong on the server; its log says what")

    def _tell(self, command: Command, by: Principal, result: CommandResult, began: float) -> None:
        """The audit: who, what, which device, with what result; never what was said."""
        refusal = result.refusal.value if result.refusal is not None else ""
        duration_ms = (self._clock() - began) * 1000
        _ran.labels(command.name, refusal or result.status).inc()
        _log.info(
            "command %s by %s: %s, %.0f ms",
            command.name, by.name, f"refused ({refusal})" if refusal else result.status, duration_ms,
            extra={"device": command.device_id},
        )  # fmt: skip
        self._events.publish(
            CommandRan(
                device_id=command.device_id,
                command=command.name,
                by=by.name,
                status=result.status,
                refusal=refusal,
                duration_ms=duration_ms,
            )
        )


def _not_connected(device_id: str) -> CommandResult:
    return refused(Refusal.NOT_CONNECTED, f"{device_id} is not connected; try again when it is")
