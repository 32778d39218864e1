"""The pace of general clients: each account's message rate, and a bound on the packets of one loop turn.

A packet is handled when its account has tokens left and it is the account's turn; until then it waits in its
connection's `PacketSource`, and the socket is not read once enough wait. Nothing is dropped. What a packet
cost is charged when it has been handled, because only then the number of its receivers is known.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from mimi_mqtt.shares import Ledger, Rates
from mimi_mqtt.transports.mqtt.limits import TURN_COST
from mimi_mqtt.wire.mqtt import PacketType, RawPacket
from mimi_mqtt.wire.mqtt_reasons import Reason

_BYTES_OF_ONE: Final = 8_192
"""Bytes that make a message, and each delivery of it, cost as much again."""
_DELIVERIES_OF_ONE: Final = 10
"""Deliveries that cost as much as a message."""
_LOOKED_AT_OF_ONE: Final = 100
"""Nodes of filters, or retained topics, that cost as much as a message when they are looked at."""
_PROPERTIES_OF_ONE: Final = 50
"""User properties that cost as much as a message to read."""
_FILTER_BYTES: Final = 8
"""Bytes of a SUBSCRIBE or UNSUBSCRIBE in which a topic filter fits: what the packet may cost is not known
before it is parsed."""
_SHORTEST_WAIT_S: Final = 0.005
_OVERDRAFT: Final = 4.0
"""Messages by which turns may have cost more than expected, as those with many receivers do, before there is
a rest."""
_REST_S_OF_ONE: Final = 0.0002
"""Seconds of rest for each message beyond: about as long as it took."""
_LONGEST_REST_S: Final = 0.1

SHARE: Final = "MQTT messages"
SETTING: Final = "shares.messages_per_s"


class Work(NamedTuple):
    """Work for a message: messages sent to clients, and nodes or topics looked at."""

    deliveries: int = 0
    looked_at: int = 0

    def cost(self, message_bytes: int = 0) -> float:
        """The work without the message itself, in messages."""
        sent = self.deliveries / _DELIVERIES_OF_ONE * (1 + message_bytes / _BYTES_OF_ONE)
        return sent + self.looked_at / _LOOKED_AT_OF_ONE


def message_cost(message_bytes: int) -> float:
    """A message's own cost, in messages, without its deliveries."""
    return 1 + message_bytes / _BYTES_OF_ONE


def properties_cost(user_properties: int) -> float:
    """Cost of a packet's user properties, besides the packet's own, in messages."""
    return user_properties / _PROPERTIES_OF_ONE


def estimated_cost(packet: RawPacket) -> float:
    """Least cost of a packet, in messages, as far as its size tells."""
    if packet.type in (PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE):
        return 1 + len(packet.raw) / _FILTER_BYTES
    return message_cost(len(packet.raw))


class Outcome(NamedTuple):
    """The result of a client's publish: its work, and what its acknowledgement says in MQTT 5."""

    work: Work
    reason: Reason = Reason.SUCCESS
    text: str = ""


class _Turn(NamedTuple):
    given: asyncio.Future[None]
    cost: float


def _give(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


class Pacer:
    """Gives turns to the connections of all accounts; `clock` gives monotonic seconds."""

    def __init__(self, rates: Rates, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._rates = rates
        self._ledger = ledger
        self._clock = clock
        self._waiting: dict[str, deque[_Turn]] = {}
        self._order: deque[str] = deque()  # accounts that wait for their turn, not for tokens
        self._left: float = TURN_COST
        self._spent_at = 0.0
        self._scheduled = False
        self._stopped = False

    def turn(self, account: str, cost: float) -> asyncio.Future[None]:
        """The turn of a packet of the account that costs about `cost` messages: done when it may be handled.

        Whoever waits may end the wait itself, by setting its result.
        """
        loop = asyncio.get_running_loop()
        turn = _Turn(loop.create_future(), cost)
        if self._stopped:
            loop.call_soon(_give, turn.given)
            return turn.given
        waiting = self._waiting.get(account)
        if waiting is None:
            self._waiting[account] = deque((turn,))
            self._order.append(account)
            self._schedule()
        else:
            waiting.append(turn)
        return turn.given

    def spend(self, account: str, amount: float) -> None:
        """Charges what was done for the account, in messages."""
        self._spent_at = self._clock()
        self._rates.spend(account, amount, self._spent_at)
        self._left -= amount

    def stop(self) -> None:
        """Lets everything that waits pass, and all that comes later: the server stops."""
        self._stopped = True
        for waiting in self._waiting.values():
            for turn in waiting:
                _give(turn.given)
        self._waiting.clear()
        self._order.clear()

    def _schedule(self) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        loop = asyncio.get_running_loop()
        if self._left < -_OVERDRAFT:
            # Without a rest the loop would never wait, and threads that recognise and make speech would
            # hardly run: they need the interpreter, too.
            rest_s = self._spent_at - self._left * _REST_S_OF_ONE - self._clock()
            self._left = 0.0
            loop.call_later(min(max(0.0, rest_s), _LONGEST_REST_S), self._give_turns)
        else:
            loop.call_soon(self._give_turns)

    def _give_turns(self) -> None:
        self._scheduled = False
        now = self._clock()
        # A turn of the loop that cost too much is made up for by the next ones.
        self._left = min(TURN_COST, self._left + TURN_COST)
        given = 0.0
        while self._order and given < self._left:
            account = self._order.popleft()
            waiting = self._waiting[account]
            while waiting and waiting[0].given.done():  # its connection was cancelled
                waiting.popleft()
            if not waiting:
                del self._waiting[account]
                continue
            wait_s = self._rates.wait_s(account, now)
            if wait_s > 0:
                self._ledger.refuse(SHARE, account, now, setting=SETTING)
                delay_s = max(wait_s, _SHORTEST_WAIT_S)
                asyncio.get_running_loop().call_later(delay_s, self._go_on, account)
                continue
            turn = waiting.popleft()
            turn.given.set_result(None)
            given += turn.cost
            self._order.append(account)
        if self._order:
            self._schedule()

    def _go_on(self, account: str) -> None:
        if account in self._waiting:
            self._order.append(account)
            self._schedule()
