"""The log of OTA requests: what each device asked, what it was answered, and why; written behind.

The last requests of each device are kept, those that got credentials apart from others: whoever asks under a
device's MAC address can't push its own requests out. Devices that may not come in are recorded as *seen*, a
bounded number of them with a share for each address.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.shares import Rates
from mimi_mqtt.store import ota_log, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import OtaExchange
from mimi_mqtt.store.values import bounded
from mimi_mqtt.store.write_behind import WriteBehind

KEPT_FOR: Final = timedelta(days=30)
MAX_SEEN: Final = 1_000
"""Devices that are recorded without being registered."""
MAX_WAITING: Final = 10_000
"""Requests that wait for the database; further ones are dropped."""
REFUSED_PER_S: Final = 1.0
"""Refused requests that are recorded in a second in the long run; a fifth of it from one address."""
REFUSED_AT_ONCE: Final = 20
"""Refused requests that are recorded at once."""

_PRUNED_EVERY: Final = timedelta(hours=1)
_REQUESTS = Counter("mimi_ota_logged_total", "OTA requests by the outcome of logging them", ["outcome"])


class Answer(StrEnum):
    """The answer to an OTA request."""

    MQTT = "mqtt"
    WEBSOCKET = "websocket"
    CODE = "code"
    LOCKED = "locked"
    REFUSED = "refused"
    """429 or 503: it is to ask again later."""
    UNREADABLE = "unreadable"
    """400: the request is not one of a device's."""


SENTENCES: Mapping[Answer, str] = {
    Answer.MQTT: "got its credentials for MQTT",
    Answer.WEBSOCKET: "got its credentials for the WebSocket",
    Answer.CODE: "shows a code: it is new, was revoked, or has another Client-Id than before",
    Answer.LOCKED: "got no credentials: it is not listed (ota.new_devices is locked)",
    Answer.REFUSED: "was refused",
    Answer.UNREADABLE: "was refused: it is not the request of a device",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One OTA request and its answer; texts are of any length. `device_id` is "" where it names none.
    `firmware` is the reason why none was offered; "": it was not looked for, or was offered. `reason` is that
    of a refusal."""

    device_id: str
    at: datetime
    address: str
    board: str
    firmware_version: str
    answer: Answer
    firmware: str = ""
    offered_version: str = ""
    serial_number: str = ""
    signal_dbm: int | None = None
    reason: str = ""


def sentence(row: OtaExchange) -> str:
    """The answer and its reason, for people."""
    told = [SENTENCES[Answer(row.answer)] if row.answer in list(Answer) else row.answer]
    if row.reason:
        told[0] = f"{told[0]}: {row.reason}"
    if row.offered_version:
        told.append(f"was offered firmware {row.offered_version}")
    elif row.firmware:
        told.append(f"no firmware: {row.firmware}")
    return "; ".join(told)


class OtaLog:
    """Accepts requests at once and writes them when the database has time. `share`: devices of one address
    that are recorded as seen. `on_saved` is told of requests that can be read from then on."""

    def __init__(
        self,
        store: Store,
        *,
        share: int = MAX_SEEN,
        on_saved: Callable[[Sequence[Request]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._on_saved = on_saved
        self._refused = Rates(REFUSED_PER_S, REFUSED_AT_ONCE)
        self._refused_of_one = Rates(REFUSED_PER_S / 5, REFUSED_AT_ONCE / 4)
        self._share = share
        self._requests = WriteBehind(self._save, "OTA requests", _REQUESTS, max_waiting=MAX_WAITING)
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._pruned_at: datetime | None = None

    @property
    def healthy(self) -> bool:
        """True while requests are written."""
        return self._requests.healthy

    async def start(self) -> None:
        """Starts the writer."""
        await self._requests.start()

    async def aclose(self) -> None:
        """Writes what waits, bounded to a few seconds; safe to call twice."""
        await self._requests.aclose()

    def knows(self, device_id: str) -> bool:
        """True when a device that may not come in was seen a moment ago: it counts as no new one."""
        return device_id in self._recent

    def add(self, request: Request) -> None:
        """Takes note of a request; never blocks, never raises."""
        if request.answer is Answer.LOCKED:
            self._recent[request.device_id] = None
            self._recent.move_to_end(request.device_id)
            if len(self._recent) > MAX_SEEN:
                self._recent.popitem(last=False)
        if request.answer in (Answer.REFUSED, Answer.UNREADABLE) and not self._takes_refused(request):
            return
        self._requests.add(request)

    def _takes_refused(self, request: Request) -> bool:
        """True for few: whoever is refused can ask as often as he likes."""
        now = request.at.timestamp()
        return self._refused_of_one.take(request.address, now) and self._refused.take("", now)

    async def _save(self, batch: Sequence[Request]) -> None:
        now = batch[-1].at
        async with self._store.write() as session:
            await ota_log.add(session, [_row(request) for request in batch])
            seen = {request.device_id: request for request in batch if request.answer is Answer.LOCKED}
            for request in seen.values():
                await ota_log.see(
                    session, request.device_id, request.at,
                    serial_number=bounded(request.serial_number, tables.SERIAL_CHARS),
                    board=bounded(request.board, tables.BOARD_CHARS),
                    firmware_version=bounded(request.firmware_version, tables.VERSION_CHARS),
                    address=bounded(request.address, tables.ADDRESS_CHARS),
                    most=MAX_SEEN, share=self._share,
                )  # fmt: skip
            if self._pruned_at is None or now - self._pruned_at >= _PRUNED_EVERY:
                await ota_log.prune(session, now - KEPT_FOR)
                self._pruned_at = now
        self._on_saved(batch)


def _row(request: Request) -> dict[str, object]:
    return {
        "device_id": request.device_id,
        "at": request.at,
        "address": bounded(request.address, tables.ADDRESS_CHARS),
        "board": bounded(request.board, tables.BOARD_CHARS),
        "firmware_version": bounded(request.firmware_version, tables.VERSION_CHARS),
        "answer": request.answer.value,
        "firmware": bounded(request.firmware, tables.NO_FIRMWARE_CHARS),
        "offered_version": bounded(request.offered_version, tables.VERSION_CHARS),
        "signal_dbm": request.signal_dbm,
        "reason": bounded(request.reason, tables.OTA_REASON_CHARS),
    }
