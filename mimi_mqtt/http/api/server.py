"""The server itself: what it is, for whoever finds it, and how devices reach it, for callers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict

from mimi_mqtt import __version__
from mimi_mqtt.fleet.provisioning import Endpoints
from mimi_mqtt.http.addressing import ota_address
from mimi_mqtt.http.api.access import anyone, callers, visitor
from mimi_mqtt.http.api.scalars import NoNumber
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/server", tags=["server"])


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The endpoints of the running server, and since when it runs."""

    endpoints: Endpoints
    started_at: datetime


class Ports(BaseModel):
    """Ports of the server."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    http: int
    mqtt: int
    mqtt_tls: int | None
    """Empty without TLS."""
    udp: int


class ServerDetails(BaseModel):
    """Facts that callers are told besides."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    ota_address: str
    """The OTA address to enter in a device, by the name with which this request was sent."""
    ports: Ports
    started_at: datetime
    uptime_s: int


class Server(BaseModel):
    """The server."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    version: str
    details: ServerDetails | None = None
    """For signed-in callers alone."""


class ChecksIn(BaseModel):
    """The caller's circumstances."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    browser_time: Annotated[AwareDatetime | None, NoNumber] = None
    """The caller's clock, with which the server's is compared."""


class CheckOut(BaseModel):
    """The outcome of a check."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    check: str
    """`name`, `ports`, `ota`, `mqtt`, `udp` or `clock`."""
    grade: Literal["ok", "warn", "fail"]
    told: str
    """The finding, or the cause of what is wrong."""
    cure: str
    """How to mend it; empty when nothing is wrong."""
    ms: float | None
    """The time of the round trip."""


class ChecksOut(BaseModel):
    """The outcome of all checks, in the order in which a device needs them."""

    items: list[CheckOut]


@router.post("/checks")
async def check_server(
    given: ChecksIn, services: Services, caller: Annotated[Caller, callers(Scope.SETTINGS_WRITE)]
) -> ChecksOut:
    """Round trips of the server through its own advertised addresses: name, OTA, MQTT, UDP; and its clock.
    One at a time, some seconds."""
    del caller
    return ChecksOut(
        items=[
            CheckOut(check=each.check, grade=each.grade, told=each.told, cure=each.cure, ms=each.ms)
            for each in await services.checks.run(given.browser_time)
        ]
    )


@router.get("")
@anyone
async def read_server(
    request: Request, services: Services, caller: Annotated[Caller | None, Depends(visitor)]
) -> Server:
    """The name and version of the server; for signed-in callers also its addresses and uptime."""
    if caller is None:
        return Server(name="mimi_mqtt", version=__version__)
    facts, now = services.server, datetime.now(UTC)
    endpoints = facts.endpoints
    details = ServerDetails(
        ota_address=ota_address(request, endpoints.public_host),
        ports=Ports(
            http=endpoints.http_port or 0,
            mqtt=endpoints.mqtt_port,
            mqtt_tls=endpoints.mqtt_tls_port,
            udp=endpoints.udp_port,
        ),
        started_at=facts.started_at,
        uptime_s=max(0, int((now - facts.started_at).total_seconds())),
    )
    return Server(name="mimi_mqtt", version=__version__, details=details)
