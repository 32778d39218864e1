"""Commands by MQTT: requests on `mimi/devices/<id>/command`, answers on `…/reply` (`docs/mqtt.md`)."""

import asyncio
import hashlib
from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.commands.model import CallTool, CommandResult, Principal, Refusal, refused
from mimi_mqtt.commands.request import BadRequest, Request, parse, refusal_reply, reply
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.fleet.identity import Identity
from mimi_mqtt.limits import TokenBucket
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.limits import BURST_FACTOR

MAX_IN_FLIGHT: Final = 8
"""Commands of one user that wait for their result at once."""
REMEMBERED_S: Final = 60.0
"""Seconds that a request's id is remembered: QoS 1 may deliver a message twice, no command is run twice."""
MAX_REMEMBERED: Final = 64
"""Ids remembered of one user; the oldest go first. No user makes the server forget those of another."""
MAX_REMEMBERED_USERS: Final = 64
"""Users whose ids are remembered; the one that has been silent for longest goes first."""

_Key = tuple[str, str]  # device, id


@dataclass(slots=True)
class _Remembered:
    digest: bytes
    at: float
    reply: bytes | None = None  # None while the command runs


class CommandTopic:
    """Runs what users publish on `…/command`; `publish_reply` gets the device id and the reply's JSON.

    A user sends at most `messages_per_s`; `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        commands: Commands,
        publish_reply: Callable[[str, bytes], None],
        counters: Counters,
        messages_per_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._commands = commands
        self._publish_reply = publish_reply
        self._counters = counters
        self._rate = messages_per_s
        self._burst = messages_per_s * BURST_FACTOR
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}
        self._remembered: dict[str, dict[_Key, _Remembered]] = {}  # by user, the last to ask at the end
        self._in_flight: Tally[str] = Tally()
        self._tasks: set[asyncio.Task[None]] = set()

    def received(self, identity: Identity, device_id: str, payload: bytes) -> None:
        """Takes a request of `identity`, which may publish on the topic; never raises or waits."""
        principal = Principal.of(identity)
        if principal is None:
            return
        now = self._clock()
        if not self._allowed(principal.name, now):
            self._counters.limit("command_rate", f"{principal.name} sends too many commands: dropped")
            return
        try:
            request = parse(device_id, payload)
        except BadRequest as error:
            self._publish_reply(device_id, refusal_reply(error))
            return
        user = principal.name
        if request.id and not self._is_new(user, request, payload, now):
            return
        if not isinstance(request.command, CallTool):
            self._answer(user, request, self._commands.run_now(request.command, by=principal))
        elif self._in_flight[principal.name] >= MAX_IN_FLIGHT:
            message = f"{MAX_IN_FLIGHT} commands of {principal.name} wait for their result; ask again later"
            self._remembered.get(user, {}).pop(_key(request), None)
            self._say(request, refused(Refusal.BUSY, message))
        else:
            self._in_flight[principal.name] += 1
            task = asyncio.get_running_loop().create_task(
                self._run(request, principal), name=f"command {request.command.name}"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def sweep(self, now: float) -> None:
        """Forgets ids and buckets that have had their time."""
        for user, ids in list(self._remembered.items()):
            for key, remembered in list(ids.items()):
                if now - remembered.at <= REMEMBERED_S:
                    break  # in the order of their coming
                del ids[key]
            if not ids:
                del self._remembered[user]
        for name, bucket in list(self._buckets.items()):
            if bucket.is_full(now):
                del self._buckets[name]

    async def aclose(self) -> None:
        """Gives up the commands that wait for their result."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, request: Request, principal: Principal) -> None:
        try:
            self._answer(principal.name, request, await self._commands.run(request.command, by=principal))
        finally:
            self._in_flight[principal.name] -= 1
            if not self._in_flight[principal.name]:
                del self._in_flight[principal.name]

    def _allowed(self, name: str, now: float) -> bool:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(self._rate, self._burst, now)
        return bucket.take(now)

    def _is_new(self, user: str, request: Request, payload: bytes, now: float) -> bool:
        """True when the request is to be carried out; one that was is answered again."""
        key, digest = _key(request), hashlib.blake2b(payload, digest_size=16).digest()
        ids = self._remembered.pop(user, {})
        while len(self._remembered) >= MAX_REMEMBERED_USERS:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[user] = ids
        known = ids.get(key)
        if known is not None and now - known.at <= REMEMBERED_S:
            if known.digest != digest:
                message = (
                    f"the id was used for another request less than {REMEMBERED_S:g} s ago: choose a new one"
                )
                self._say(request, refused(Refusal.BAD_ARGUMENTS, message))
            elif known.reply is not None:
                self._publish_reply(request.command.device_id, known.reply)
            return False
        ids.pop(key, None)
        while len(ids) >= MAX_REMEMBERED:
            del ids[next(iter(ids))]
        ids[key] = _Remembered(digest, now)
        return True

    def _answer(self, user: str, request: Request, result: CommandResult) -> None:
        answer = self._say(request, result)
        if (remembered := self._remembered.get(user, {}).get(_key(request))) is not None:
            remembered.reply = answer

    def _say(self, request: Request, result: CommandResult) -> bytes:
        answer = reply(request.id, request.command.name, result)
        self._publish_reply(request.command.device_id, answer)
        return answer


def _key(request: Request) -> _Key:
    return request.command.device_id, request.id
