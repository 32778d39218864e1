"""The caller's browser as a device, which the Talk page of the web app is."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from mimi_mqtt.fleet.browser_devices import Browser
from mimi_mqtt.http.addressing import advertised_host
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.devices import rights_of
from mimi_mqtt.http.api.models import Input, Output
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.tables import LANGUAGE_CHARS, NAME_CHARS

router = APIRouter(prefix="/me", tags=["me"])

Talker = Annotated[Caller, callers(Scope.DEVICES_WRITE, Scope.COMMANDS)]


class BrowserIn(Input):
    """A browser that is about to talk."""

    device_id: str = Field(
        "", max_length=32, description="The device that it was the last time; empty for a new browser"
    )
    name: str = Field("", max_length=NAME_CHARS, description="Name of a new device; empty: by the person's")
    language: str = Field(
        "", max_length=LANGUAGE_CHARS, pattern="^[A-Za-z0-9-]*$", description="Language of its page, a tag"
    )


class BrowserConnection(Output):
    """A browser's device, and how it connects: `path?device-id=…&token=…&protocol-version=3`, a WebSocket of
    the same origin that speaks the devices' protocol."""

    device_id: str
    name: str
    agent: str
    """Key of the agent that a person gave it; empty for the default."""
    path: str
    token: str
    """Opens connections until `expires_at`; ask again for a later one. Not to be stored."""
    expires_at: datetime


@router.post("/browser-device")
async def connect_browser(
    browser: BrowserIn, caller: Talker, request: Request, response: Response, services: Services
) -> BrowserConnection:
    """Makes the caller's browser a device of his, or finds the one that it was, and gives a token for its
    WebSocket. It is listed, set, shared and removed as any device; an account has at most 5, of which the one
    not seen for longest is given to a further browser."""
    header = request.headers.get("host", "")
    given = Browser(
        device_id=browser.device_id,
        name=" ".join(browser.name.split()),
        language=browser.language,
        origin=f"{request.url.scheme}://{header}" if header else "",
        host=advertised_host(header, None) or "",
    )
    access = await services.browsers.connect(given, caller.name, rights_of(caller))
    response.headers["Cache-Control"] = "no-store"
    return BrowserConnection(
        device_id=access.device.id,
        name=access.device.name,
        agent=access.device.agent,
        path=access.path,
        token=access.token,
        expires_at=datetime.now(UTC) + timedelta(seconds=access.lifetime_s),
    )
