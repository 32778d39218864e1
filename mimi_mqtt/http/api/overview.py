"""An overview in a few numbers for a caller: devices, live sessions, turns, delays, lost audio and costs."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.conversations import asker_of
from mimi_mqtt.http.api.devices import rights_of
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.api.visibility import sees
from mimi_mqtt.memory.history import DAYS_BEFORE
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.statistics import Statistic

router = APIRouter(prefix="/overview", tags=["statistics"])


class DeviceNumbers(BaseModel):
    """Devices that may connect."""

    total: int
    online: int = Field(description="Connected to this server")


class LiveNumbers(BaseModel):
    """Live sessions, by what their devices do."""

    total: int
    listening: int
    thinking: int
    speaking: int


class TurnNumbers(BaseModel):
    """Sums of turns."""

    turns: int
    failed: int
    errors: dict[str, int] = Field(description="Failures by their kind, such as `timeout`")
    minutes: float = Field(description="Minutes of speech: the user's, and of replies that were heard")
    cost: float = Field(description="By the price table; what has no price costs nothing")
    tokens: int = Field(description="Of language models, in and out, of text and audio")
    p50_ms: float | None = Field(
        description="Median ms from the end of the user's speech to the first sound, within 10 %. Null: "
        "nothing was measured"
    )
    p95_ms: float | None


class Loss(BaseModel):
    """Packets of the devices' audio."""

    received: int
    lost: int
    percent: float | None = Field(description="Null: there was no audio")


class Overview(BaseModel):
    """The numbers of what the caller sees."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    at: datetime
    day: date
    """Today in the server's time zone (`server.timezone`)."""
    timezone: str
    devices: DeviceNumbers
    live: LiveNumbers
    today: TurnNumbers | None
    """Turns that began today; absent without the scope `statistics`, as the following."""
    before: TurnNumbers | None
    """Turns of the `days_before` days before today, all together."""
    days_before: int
    loss: Loss
    """In sessions that live, or ended within the last 24 hours; the last 20 of each device are kept."""
    loss_before: Loss
    """In the sessions of the week before that."""
    has_talked: bool
    """False: there was never a turn."""


@router.get("")
async def read_overview(
    caller: Annotated[Caller, callers(Scope.DEVICES_READ)], services: Services
) -> Overview:
    """Present state of the caller's devices, and of those that are shared with him; for administrators of
    all."""
    now = datetime.now(UTC)
    fleet = await services.devices.overview(rights_of(caller), now)
    turns = None
    if caller.may(Scope.STATISTICS):
        turns = await services.conversations.overview(asker_of(caller), now)
    live, received, lost = _live(services, caller)
    return Overview(
        at=now,
        day=now.astimezone(services.conversations.zone).date(),
        timezone=str(services.conversations.zone),
        devices=DeviceNumbers(total=fleet.devices, online=fleet.online),
        live=live,
        today=_numbers(turns.today) if turns is not None else None,
        before=_numbers(turns.before) if turns is not None else None,
        days_before=DAYS_BEFORE,
        loss=_loss(fleet.last_day[0] + received, fleet.last_day[1] + lost),
        loss_before=_loss(*fleet.before),
        has_talked=turns.ever if turns is not None else bool(received),
    )


def _live(services: ApiServices, caller: Caller) -> tuple[LiveNumbers, int, int]:
    """The live sessions that the caller sees, and the packets of their audio that came and that were lost."""
    received = lost = 0
    states: list[str] = []
    for device_id, state, audio in services.sessions.live():
        if sees(caller, services.directory.get(device_id)):
            states.append(state)
            received += audio.received
            lost += max(0, audio.lost)
    return (
        LiveNumbers(
            total=len(states),
            listening=states.count("listening"),
            thinking=states.count("thinking"),
            speaking=states.count("speaking"),
        ),
        received,
        lost,
    )


def _loss(received: int, lost: int) -> Loss:
    sent = received + lost
    return Loss(received=received, lost=lost, percent=round(100 * lost / sent, 2) if sent else None)


def _numbers(found: Statistic) -> TurnNumbers:
    numbers = found.numbers
    tokens = ("input_tokens", "output_tokens", "input_audio_tokens", "output_audio_tokens")
    return TurnNumbers(
        turns=int(numbers["turns"]),
        failed=int(numbers["failed"]),
        errors=dict(found.errors),
        minutes=round((numbers["heard_s"] + numbers["spoken_s"]) / 60, 2),
        cost=round(numbers["cost"], 6),
        tokens=int(sum(numbers[name] for name in tokens)),
        p50_ms=found.p50_ms,
        p95_ms=found.p95_ms,
    )
