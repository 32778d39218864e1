"""Prices of providers, all in one currency: what conversations cost is counted by them."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from mimi_mqtt.config.voice import PriceSettings
from mimi_mqtt.errors import NotFound
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.etags import IfMatch
from mimi_mqtt.http.api.managed_models import Key, add_history, expecting
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.managed.parts import ManagedParts
from mimi_mqtt.managed.resources import Change, Resource
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/prices", tags=["prices"])


class PriceIn(PriceSettings):
    """The prices of one provider, in the one currency of all prices."""

    model_config = ConfigDict(strict=True)


class PriceOut(BaseModel):
    """The prices of one provider."""

    name: str = Field(description="A provider, or one with its label as openai:house")
    source: Literal["broker.yaml", "managed"] = Field(description="broker.yaml wins, and is read-only here")
    prices: PriceSettings
    version: int | None
    updated_at: datetime | None
    author: str
    problems: list[str]


class Prices(BaseModel):
    """All prices."""

    items: list[PriceOut]


@router.get("")
async def list_prices(services: Services, caller: Annotated[Caller, callers(Scope.PROVIDERS_READ)]) -> Prices:
    """The prices of all providers that have some."""
    del caller
    parts = services.managed
    managed = {each.key: each for each in await parts.resources.list_all("price")}
    names = sorted({*parts.base().providers.prices, *managed})
    return Prices(items=[_out(parts, name, managed.get(name)) for name in names])


@router.get("/{key}")
async def read_price(
    key: Key,
    response: Response,
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_READ)],
) -> PriceOut:
    """The prices of one provider."""
    del caller
    managed = await services.managed.resources.find("price", key)
    if managed is None and key not in services.managed.base().providers.prices:
        raise NotFound(f"{key!r} has no prices")
    etags.tell(response, managed.version if managed is not None else 0)
    return _out(services.managed, key, managed)


@router.put("/{key}")
async def put_price(
    key: Key,
    body: PriceIn,
    response: Response,
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_WRITE)],
    if_match: IfMatch = None,
) -> PriceOut:
    """Sets the prices of a provider, for what is asked of it from the next turn on."""
    change = Change("price", key, body.model_dump(mode="json", exclude_unset=True))
    managed = await services.managed.resources.put(change, caller.author, expecting(if_match))
    await services.managed.watched.settled()
    etags.tell(response, managed.version)
    return _out(services.managed, key, managed)


@router.delete("/{key}", status_code=204)
async def delete_price(
    key: Key,
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_WRITE)],
    if_match: IfMatch = None,
) -> None:
    """Deletes the prices of a provider: its costs are counted no more."""
    await services.managed.resources.delete("price", key, caller.author, expecting(if_match))
    await services.managed.watched.settled()


add_history(router, "price", Scope.PROVIDERS_READ, Scope.PROVIDERS_WRITE)


def _out(parts: ManagedParts, name: str, managed: Resource | None) -> PriceOut:
    provisioned = parts.base().providers.prices.get(name)
    prices = provisioned or PriceSettings.model_validate(managed.content if managed is not None else {})
    return PriceOut(
        name=name,
        source="managed" if provisioned is None else "broker.yaml",
        prices=prices,
        version=managed.version if managed is not None else None,
        updated_at=managed.updated_at if managed is not None else None,
        author=managed.author if managed is not None else "",
        problems=list(parts.watched.problems("price", name)),
    )
