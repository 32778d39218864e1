"""The core of the broker: sessions of general clients, their subscriptions, and the delivery of messages.

It knows no socket: a client's connection is its `Link`, `ClientProtocol` reads its packets. Every method
returns without waiting, so that packets take effect in order; what is long is done in steps in the
background.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final

from mimi_mqtt.background import Background
from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.shares import Amounts, Ledger
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.access import may_receive, may_subscribe, subject
from mimi_mqtt.transports.mqtt.borders import run_each
from mimi_mqtt.transports.mqtt.client import Client, DueRetained, Link, PendingWill, Subscription
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.offline import OfflineSessions
from mimi_mqtt.transports.mqtt.pacing import Work
from mimi_mqtt.transports.mqtt.retained import Owner, RetainedMessages
from mimi_mqtt.transports.mqtt.sharing import Group
from mimi_mqtt.transports.mqtt.subscriptions import Receivers, Subscriptions
from mimi_mqtt.wire.mqtt_reasons import Reason
from mimi_mqtt.wire.topics import filter_matches, split_share

_LOOKED_AT_IN_A_STEP: Final = 25
"""Retained topics that are compared with a filter, and perhaps sent, in one step of background work."""
_STEPS_AT_ONCE: Final = 8
"""Steps that are done when the client subscribes; the rest is left to the background."""
_ROOM_AGAIN_S: Final = 0.02
"""Seconds after which retained messages go on to a client that had no room for them; twice as many each time
that there is none again."""
_LATEST_ROOM_S: Final = 1.0
"""The longest of these times."""

_GRANTED: Final = (Reason.SUCCESS, Reason.GRANTED_QOS_1, Reason.GRANTED_QOS_2)


class EmbeddedBroker:
    """The sessions and what they are sent. `say_will` is called with a client and its will when a will's
    delay has passed or its session ends; `clock` gives monotonic seconds."""

    def __init__(
        self,
        counters: Counters,
        max_queued_bytes: int,
        shares: SharesSettings,
        ledger: Ledger,
        clock: Callable[[], float],
    ) -> None:
        self.counters = counters
        self.say_will: Callable[[Client, PendingWill], None] = _say_nothing
        self._clock = clock
        self._ledger = ledger
        self._max_queued_bytes = max_queued_bytes
        self._queued = Amounts(limits.MAX_QUEUED_BYTES, limits.MAX_QUEUED_BYTES // 4)
        self._clients: dict[str, Client] = {}
        self._table = Subscriptions(shares.subscriptions_per_account)
        self._retained = RetainedMessages(shares.retained_messages_per_account, ledger)
        self._offline = OfflineSessions(shares.offline_sessions_per_account, ledger)
        self._background = Background(counters)

    def close(self) -> None:
        """Gives up the background work."""
        self._background.close()

    @property
    def sessions(self) -> int:
        """The number of sessions, of clients that are connected or away."""
        return len(self._clients)

    @property
    def subscribed(self) -> int:
        """The number of different filters in subscriptions."""
        return len(self._table)

    # ── sessions ────────────────────────────────────────────────────────────────────────────────────────

    def admit(
        self,
        key: str,
        identity: Identity,
        account: str,
        *,
        clean_start: bool,
        expiry_s: float,
        is_open: bool = True,
    ) -> tuple[Client, bool]:
        """Returns the client of a new connection under `key`, and whether its session was there: with
        `clean_start` the one that was ends. A connection that `is_open` no more leaves a will that waits
        for its delay: its client is not back."""
        client = self._clients.get(key)
        expired = client is not None and client.link is None and client.expires_at <= self._clock()
        if client is not None and (clean_start or expired):
            self.forget(client)
            client = None
        present = client is not None
        if client is None:
            flow = OutgoingFlow(self._max_queued_bytes, queued=self._queued, account=account)
            flow.suspend()
            client = self._clients[key] = Client(key, identity, account, flow)
        if client.will is not None and client.will.due_at <= self._clock():
            self._will_due(client)  # its delay had passed, and the sweep has not come by since
        if is_open:
            client.will = None  # its client is back before its delay had passed
        client.expiry_s = expiry_s
        client.identity = identity
        self._offline.leave(client)
        self._table.move(client, account)
        return client, present

    def attached(self, client: Client) -> None:
        """Notes that a client has got its `link`."""
        self._table.came_or_went(client)

    def leave(self, client: Client, link: Link, now: float) -> None:
        """Detaches `client` from its ended connection `link`, and ends its session unless that is to be kept;
        nothing happens when it has another connection."""
        if client.link is not link:
            return
        client.detach(now)
        self._table.came_or_went(client)
        if client.gone:
            return
        if client.expiry_s <= 0:
            self.forget(client)
            return
        leaving = self._offline.enter(client, now)
        if leaving is not None:
            self.counters.limit("offline_sessions", "too many persistent sessions: the oldest was ended")
            self.forget(leaving)

    def forget(self, client: Client, *, with_will: bool = True) -> None:
        """Ends a session; its subscriptions are removed in the background, and count no more.

        A will that waits is said now (MQTT 5 section 3.1.3.2.2), unless its client's rights were withdrawn.
        """
        if client.gone:
            return
        if self._clients.get(client.key) is client:
            del self._clients[client.key]
        client.gone = True
        self._offline.leave(client)
        self._background.add(client.account, self._table.end(client))
        shared = client.flow.clear()
        if shared:
            self._background.add(client.account, self._hand_on(shared))
        if with_will:
            self._will_due(client)

    def forget_where(self, condition: Callable[[Identity], bool]) -> None:
        """Ends the sessions of absent clients whose identity meets `condition`, without their wills."""
        for client in list(self._clients.values()):
            if client.link is None and condition(client.identity):
                self.forget(client, with_will=False)

    def sweep(self, now: float) -> None:
        """Ends sessions and removes retained messages that have expired, and says wills whose delay has
        passed."""
        due = [client for client in self._offline if client.will is not None and client.will.due_at <= now]
        expired = list(self._offline.expired(now))
        run_each(
            "offline sessions",
            (
                *(partial(self._will_due, client) for client in due),
                *(partial(self.forget, client) for client in expired),
                partial(self._retained.sweep, now),
            ),
        )

    def _will_due(self, client: Client) -> None:
        """Says a will that waited, in the background: many may be due in the same moment."""
        will, client.will = client.will, None
        if will is not None:
            self._background.add(client.account, self._say(client, will))

    def _say(self, client: Client, will: PendingWill) -> Iterator[None]:
        self.say_will(client, will)
        yield

    # ── messages to clients ─────────────────────────────────────────────────────────────────────────────

    def recipients(self, topic: str, publisher: Client | None = None) -> Receivers:
        """Clients that subscribed to `topic` and may receive it, without the `publisher` where it asked
        so."""
        return self._table.receivers(topic, publisher)

    def distribute(self, message: Message, publisher: Client | None = None) -> Work:
        """Sends a message to all subscribers; it is in their buffers when this returns."""
        receivers = self.recipients(message.topic, publisher)
        self.fan_out(receivers, lambda client: message)
        return Work(len(receivers), receivers.visited)

    def fan_out(self, receivers: Receivers, message_for: Callable[[Client], Message]) -> None:
        """Sends each receiver the message that is for it. A fault is this receiver's alone."""
        now = self._clock()
        packets: dict[tuple[int, int, bool], bytes] = {}
        for client, asked in receivers.clients.items():
            self._give(client, asked, message_for(client), now, packets)
        for client, asked, group in receivers.shared:
            self._give(client, asked, message_for(client), now, packets, group)

    def _give(
        self,
        client: Client,
        asked: Subscription,
        message: Message,
        now: float,
        packets: dict[tuple[int, int, bool], bytes],
        group: Group | None = None,
    ) -> None:
        """Sends a message by a subscription; `packets` are those of QoS 0 that were encoded already, which
        are the same for all clients of a version."""
        retain = message.retain and asked.retain_as_published
        form = client.flow.form
        if (message.qos and asked.qos) or asked.identifiers or not form.shareable:
            self.deliver(client, asked, message, retain, group)
            return
        if client.link is None or not client.flow.connected:
            return
        try:
            key = (form.version, id(message), retain)
            packet = packets.get(key)
            if packet is None:
                packet = form.publish(message, now, 0, retain)
                if packet is None:
                    self._too_long(client)
                    return
                packets[key] = packet
            if len(packet) > form.max_packet_bytes:
                self._too_long(client)
                return
            self.counters.messages_out += 1
            client.link.write(packet)
        except Exception:  # noqa: BLE001 - the border of one client
            self.counters.fault("deliver", f"sending a message to {subject(client.identity)} failed")

    def deliver(
        self,
        client: Client,
        asked: Subscription,
        message: Message,
        retain: bool = False,
        group: Hashable | None = None,
    ) -> None:
        """Sends one message to one client, or keeps it when its session is kept and it is away.

        A fault is this client's alone: the sender and the other receivers don't see it.
        """
        try:
            qos = min(message.qos, asked.qos)
            data = client.flow.publish(message, self._clock(), qos, retain, asked.identifiers, group)
            if client.flow.too_long:
                client.flow.too_long = 0
                self._too_long(client)
            if data is None:
                if client.link is not None and client.flow.connected:
                    client.link.cut_off("too slow: unacknowledged messages")
                else:
                    self.counters.limit("offline_queue", "a session's queue is full: message dropped")
                    self._ledger.refuse("queued MQTT messages", client.account, self._clock())
            elif data and client.link is not None:
                self.counters.messages_out += 1
                client.link.write(data)
        except Exception:  # noqa: BLE001 - the border of one client
            self.counters.fault("deliver", f"sending a message to {subject(client.identity)} failed")

    def _too_long(self, client: Client) -> None:
        detail = f"{subject(client.identity)} takes no packets as long as a message: not sent to it"
        self.counters.limit("client_packet_size", detail)

    def _hand_on(self, messages: Iterable[tuple[Message, Hashable]]) -> Iterator[None]:
        """Sends messages of a member that is gone to the next one of its group."""
        for message, group in messages:
            chosen = group.next() if isinstance(group, Group) else None
            if chosen is not None and not message.expired(self._clock()):
                retain = message.retain and chosen[1].retain_as_published
                self.deliver(*chosen, message, retain, group)
            yield

    # ── retained messages and subscriptions ─────────────────────────────────────────────────────────────

    def retain(self, message: Message, owner: Owner | None = None) -> bool:
        """Keeps the message for later subscribers; an empty payload clears it (section 3.3.1.3). False when
        its account has its share."""
        if self._retained.put(message, owner, self._clock()):
            return True
        self.counters.limit("retained", "too many retained messages: the newest was not kept")
        return False

    def subscribe(self, client: Client, topic_filter: str, asked: Subscription) -> tuple[Reason, str]:
        """Grants or refuses a filter: the QoS or the failure, with its reason for people. Retained messages
        come later."""
        name = subject(client.identity)
        _, within = split_share(topic_filter)
        if not within:
            text = "a shared subscription is $share/NAME/FILTER, and NAME has no wildcard"
            self.counters.limit("bad_share", f"{name} subscribes to {topic_filter[:80]!r}")
            return Reason.TOPIC_FILTER_INVALID, text
        if not may_subscribe(client.identity, within):
            self.counters.limit("forbidden_subscribe", f"{name} may not read {within[:80]!r}")
            return Reason.NOT_AUTHORIZED, f"you may not read {within[:80]!r}"
        if len(topic_filter) > limits.MAX_FILTER_CHARS or topic_filter.count("/") >= limits.MAX_FILTER_LEVELS:
            self.counters.limit("filter_size", f"{name} subscribes to {len(topic_filter)} characters")
            most = f"{limits.MAX_FILTER_CHARS} characters and {limits.MAX_FILTER_LEVELS} levels"
            return Reason.QUOTA_EXCEEDED, f"a topic filter has at most {most}"
        if topic_filter not in client.subscriptions and len(client.subscriptions) >= limits.MAX_FILTERS:
            self.counters.limit("filters", f"{name} has {limits.MAX_FILTERS} subscriptions")
            return Reason.QUOTA_EXCEEDED, f"a client has at most {limits.MAX_FILTERS} subscriptions"
        if not self._table.add(client, topic_filter, asked):
            self.counters.limit("filters", f"{client.account} has its share of subscriptions")
            self._ledger.refuse(
                "MQTT subscriptions", client.account, self._clock(),
                setting="shares.subscriptions_per_account",
            )  # fmt: skip
            text = "you have shares.subscriptions_per_account subscriptions: end others"
            return Reason.QUOTA_EXCEEDED, text
        return _GRANTED[asked.qos], ""

    def unsubscribe(self, client: Client, topic_filter: str) -> Reason:
        """Ends one subscription."""
        client.due.pop(topic_filter, None)
        if self._table.remove(client, topic_filter):
            return Reason.SUCCESS
        return Reason.NO_SUBSCRIPTION_EXISTED

    def send_retained(self, client: Client, granted: dict[str, Subscription]) -> None:
        """Sends the retained messages that new subscriptions are due: the first at once, many in slices."""
        client.due.update((each, DueRetained(asked)) for each, asked in granted.items())
        if client.sending or not client.due:
            return
        client.sending = True
        steps = self._retained_steps(client)
        if len(list(islice(steps, _STEPS_AT_ONCE))) == _STEPS_AT_ONCE:
            self._background.add(client.account, steps)

    def _retained_steps(self, client: Client) -> Iterator[None]:
        fleet = client.identity.role is not Role.ANONYMOUS
        looked_at = sent = sent_bytes = 0
        waits = moved = False
        try:
            while client.due and not waits:
                topic_filter = next(iter(client.due))
                asked, topics = client.due.pop(topic_filter)
                looked_at += 1
                if topics is None:
                    topics = deque(self._retained.candidates(topic_filter, fleet=fleet))
                while topics:
                    topic = topics[0]
                    looked_at += 1
                    message = self._retained_for(client, topic_filter, topic)
                    if message is not None and not _has_room(client, message, asked):
                        # It stays the first one, so that a client has the topics of one filter in memory.
                        client.due = {topic_filter: DueRetained(asked, topics), **client.due}
                        waits = True
                        break
                    topics.popleft()
                    if message is not None:
                        self.deliver(client, asked, message, retain=True)
                        sent += 1
                        sent_bytes += message.size
                        moved = True
                    if looked_at >= _LOOKED_AT_IN_A_STEP:
                        client.spend(_cost(sent, sent_bytes, looked_at))
                        looked_at = sent = sent_bytes = 0
                        yield
                        if client.link is None or topic_filter not in client.subscriptions:
                            break
            client.spend(_cost(sent, sent_bytes, looked_at))
        finally:
            client.sending = waits
            if waits:
                longer_s = 0.0 if moved else 2 * client.room_again_s
                client.room_again_s = min(max(longer_s, _ROOM_AGAIN_S), _LATEST_ROOM_S)
                asyncio.get_running_loop().call_later(client.room_again_s, self._go_on, client)

    def _go_on(self, client: Client) -> None:
        client.sending = False
        self.send_retained(client, {})

    def _retained_for(self, client: Client, topic_filter: str, topic: str) -> Message | None:
        """The retained message on `topic`, if the filter matches it and the client may receive it."""
        if not filter_matches(topic_filter, topic) or not may_receive(client.identity, topic):
            return None
        return self._retained.get(topic, self._clock())


def _cost(sent: int, sent_bytes: int, looked_at: int) -> float:
    """The cost of retained messages that were sent, and of topics that were looked at, in messages."""
    return Work(sent, looked_at).cost(sent_bytes // max(1, sent))


def _has_room(client: Client, message: Message, asked: Subscription) -> bool:
    """False while the client, which reads slowly, should take others first: it is not cut off for the number
    of retained messages that its filters match."""
    if min(message.qos, asked.qos) and not client.flow.has_room(message.size):
        return False
    return client.link is None or client.link.has_room(message.size)


def _say_nothing(client: Client, will: PendingWill) -> None:
    del client, will
