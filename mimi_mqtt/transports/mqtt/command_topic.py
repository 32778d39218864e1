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
MAX_REMEMBERED: Final = 256
"""Ids remembered in all; the oldest go first."""

_Key = tuple[str, str, str]  # user, device, id


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
        self._remembered: dict[_Key, _Remembered] = {}
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
        key = (principal.name, device_id, request.id)
        if request.id and not self._is_new(
            key, hashlib.blake2b(payload, digest_size=16).digest(), request, now
        ):
            return
        if not isinstance(request.command, CallTool):
            self._answer(key, request, self._commands.run_now(request.command, by=principal))
        elif self._in_flight[principal.name] >= MAX_IN_FLIGHT:
            message = f"{MAX_IN_FLIGHT} commands of {principal.name} wait for their result; ask again later"
            self._remembered.pop(key, None)
            self._say(device_id, request, refused(Refusal.BUSY, message))
        else:
            self._in_flight[principal.name] += 1
            task = asyncio.get_running_loop().create_task(
                self._run(key, request, principal), name=f"command {request.command.name}"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def sweep(self, now: float) -> None:
        """Forgets ids and buckets that have had their time."""
        for key, remembered in list(self._remembered.items()):
            if now - remembered.at <= REMEMBERED_S:
                break  # in the order of their coming
            del self._remembered[key]
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

    async def _run(self, key: _Key, request: Request, principal: Principal) -> None:
        try:
            self._answer(key, request, await self._commands.run(request.command, by=principal))
        finally:
            self._in_flight[principal.name] -= 1
            if not self._in_flight[principal.name]:
                del self._in_flight[principal.name]

    def _allowed(self, name: str, now: float) -> bool:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(self._rate, self._burst, now)
        return bucket.take(now)

    def _is_new(self, key: _Key, digest: bytes, request: Request, now: float) -> bool:
        """True when the request is to be carried out; one that was is answered again."""
        known = self._remembered.get(key)
        if known is not None and now - known.at <= REMEMBERED_S:
            if known.digest != digest:
                message = (
                    f"the id was used for another request less than {REMEMBERED_S:g} s ago: choose a new one"
                )
                self._say(key[1], request, refused(Refusal.BAD_ARGUMENTS, message))
            elif known.reply is not None:
                self._publish_reply(key[1], known.reply)
            return False
        self._remembered.pop(key, None)
        while len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key] = _Remembered(digest, now)
        return True

    def _answer(self, key: _Key, request: Request, result: CommandResult) -> None:
        answer = self._say(key[1], request, result)
        if (remembered := self._remembered.get(key)) is not None:
            remembered.reply = answer

    def _say(self, device_id: str, request: Request, result: CommandResult) -> bytes:
        answer = reply(request.id, request.command.name, result)
        self._publish_reply(device_id, answer)
        return answer
