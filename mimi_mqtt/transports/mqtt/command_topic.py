"""Commands by MQTT: requests on `mimi/devices/<id>/command`, replies on `…/reply` (`docs/mqtt.md`).

A request of MQTT 5 with a response topic (section 4.10) is answered there as well, with its correlation data.
"""

import asyncio
import hashlib
from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from mimi_mqtt.commands.model import CommandResult, Notify, Principal, Refusal, refused
from mimi_mqtt.commands.request import BadRequest, Request, parse, refusal_reply, reply
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.fleet.identity import Identity
from mimi_mqtt.limits import TokenBucket
from mimi_mqtt.transports.mqtt.access import may_be_answered
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.limits import BURST_FACTOR
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.wire.mqtt_properties import Properties, encode_travelling, parse_travelling
from mimi_mqtt.wire.topics import device_topic

MAX_IN_FLIGHT: Final = 8
"""Commands of one user that wait for their result at once."""
REMEMBERED_S: Final = 60.0
"""Seconds that a request's id is remembered: QoS 1 may deliver a message twice, no command is run twice."""
MAX_REMEMBERED: Final = 64
"""Ids remembered of one user; the oldest go first. No user makes the server forget those of another."""
MAX_REMEMBERED_USERS: Final = 64
"""Users whose ids are remembered; the one that has been silent for longest goes first."""

_Key = tuple[str, str]  # device, id


class Response(NamedTuple):
    """The response topic of a request, and the encoded properties that its reply has there."""

    topic: str
    travelling: bytes

    @classmethod
    def asked_for(cls, request: Message) -> "Response | None":
        """The response that a request asks for by its properties; None without a response topic."""
        if not request.travelling:
            return None
        asked = parse_travelling(request.travelling)
        if asked.response_topic is None:
            return None
        if asked.correlation_data is None:
            return cls(asked.response_topic, b"")
        known = Properties(correlation_data=asked.correlation_data)
        return cls(asked.response_topic, encode_travelling(known))


@dataclass(slots=True)
class _Remembered:
    digest: bytes
    at: float
    reply: bytes | None = None  # None while the command runs


class CommandTopic:
    """Runs what users publish on `…/command`; `publish` sends the replies.

    A user sends at most `messages_per_s`; `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        commands: Commands,
        publish: Callable[[Message], object],
        counters: Counters,
        messages_per_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._commands = commands
        self._publish = publish
        self._counters = counters
        self._rate = messages_per_s
        self._burst = messages_per_s * BURST_FACTOR
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}
        self._remembered: dict[str, dict[_Key, _Remembered]] = {}  # by user, the last to ask at the end
        self._in_flight: Tally[str] = Tally()
        self._tasks: set[asyncio.Task[None]] = set()

    def received(self, identity: Identity, device_id: str, message: Message) -> None:
        """Takes a request of `identity`, which may publish on the topic; never raises or waits."""
        payload = message.payload
        principal = Principal.of(identity)
        if principal is None:
            return
        now = self._clock()
        if not self._allowed(principal.name, now):
            self._counters.limit("command_rate", f"{principal.name} sends too many commands: dropped")
            return
        response = Response.asked_for(message)
        if response is not None and not may_be_answered(identity, device_id, response.topic):
            self._refuse_response(device_id, payload)
            return
        try:
            request = parse(device_id, payload)
        except BadRequest as error:
            self._send(device_id, refusal_reply(error), response)
            return
        user = principal.name
        if request.id and not self._is_new(user, request, payload, response, now):
            return
        full = self._in_flight[principal.name] >= MAX_IN_FLIGHT
        at_once = full if isinstance(request.command, Notify) else not request.command.waits
        if at_once:
            self._answer(user, request, response, self._commands.run_now(request.command, by=principal))
        elif full:
            text = f"{MAX_IN_FLIGHT} commands of {principal.name} wait for their result; ask again later"
            self._remembered.get(user, {}).pop(_key(request), None)
            self._say(request, response, refused(Refusal.BUSY, text))
        else:
            self._in_flight[principal.name] += 1
            task = asyncio.get_running_loop().create_task(
                self._run(request, response, principal), name=f"command {request.command.name}"
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

    async def _run(self, request: Request, response: Response | None, principal: Principal) -> None:
        try:
            result = await self._commands.run(request.command, by=principal)
            self._answer(principal.name, request, response, result)
        finally:
            self._in_flight[principal.name] -= 1
            if not self._in_flight[principal.name]:
                del self._in_flight[principal.name]

    def _allowed(self, name: str, now: float) -> bool:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(self._rate, self._burst, now)
        return bucket.take(now)

    def _is_new(
        self, user: str, request: Request, payload: bytes, response: Response | None, now: float
    ) -> bool:
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
                self._say(request, response, refused(Refusal.BAD_ARGUMENTS, message))
            elif known.reply is not None:
                self._send(request.command.device_id, known.reply, response)
            return False
        ids.pop(key, None)
        while len(ids) >= MAX_REMEMBERED:
            del ids[next(iter(ids))]
        ids[key] = _Remembered(digest, now)
        return True

    def _answer(self, user: str, request: Request, response: Response | None, result: CommandResult) -> None:
        answer = self._say(request, response, result)
        if (remembered := self._remembered.get(user, {}).get(_key(request))) is not None:
            remembered.reply = answer

    def _say(self, request: Request, response: Response | None, result: CommandResult) -> bytes:
        answer = reply(request.id, request.command.name, result)
        self._send(request.command.device_id, answer, response)
        return answer

    def _refuse_response(self, device_id: str, payload: bytes) -> None:
        """Answers a request whose response topic is not allowed, on `…/reply` alone."""
        own = device_topic(device_id, "reply")
        text = (
            f"you may not be answered on this response topic: take {own}, a topic below it or, as the "
            "administrator, one outside mimi/"
        )
        try:
            request = parse(device_id, payload)
        except BadRequest as error:
            self._send(device_id, refusal_reply(error), None)
        else:
            self._say(request, None, refused(Refusal.NOT_ALLOWED, text))

    def _send(self, device_id: str, answer: bytes, response: Response | None) -> None:
        topic = device_topic(device_id, "reply")
        if response is None or response.topic != topic:
            self._publish(Message(topic, answer, 1))
        if response is not None:
            self._publish(Message(response.topic, answer, 1, travelling=response.travelling))


def _key(request: Request) -> _Key:
    return request.command.device_id, request.id
