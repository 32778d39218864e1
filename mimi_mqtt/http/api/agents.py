"""Agents: those of broker.yaml, which are read-only, and those that people make."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from mimi_mqtt.config.agents import DEFAULT_AGENT, FASTEST, SLOWEST, AgentSettings
from mimi_mqtt.errors import Conflict, NotFound
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.etags import IfMatch
from mimi_mqtt.http.api.loading import API_PREFIX
from mimi_mqtt.http.api.managed_models import Key, add_history, expecting
from mimi_mqtt.http.api.problems import Problem
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.managed.parts import ManagedParts
from mimi_mqtt.managed.previews import WrongTemplate
from mimi_mqtt.managed.resources import Change, Resource
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/agents", tags=["agents"])

MAX_TEMPLATE_CHARS = 32_000

_NULL: dict[str, JsonValue] = {"type": "null"}

_PRIVATE = frozenset({"prompt"})
"""Settings that only administrators see: a prompt may tell what is not for everybody in the house."""


def _properties() -> dict[str, JsonValue]:
    """The JSON schema of each setting as people may give it: a list of one may be its item, and null takes a
    setting back."""
    names: dict[str, JsonValue] = {"type": "string"}
    listed: list[JsonValue] = [names, {"type": "array", "items": names}]
    speed: dict[str, JsonValue] = {"type": "number", "minimum": SLOWEST, "maximum": FASTEST}
    by_language: list[JsonValue] = [speed, {"type": "object", "additionalProperties": speed}]
    other: dict[str, list[JsonValue]] = {
        **dict.fromkeys(("stt", "llm", "tts", "tools"), listed),
        "speed": by_language,
        "s2s": [names, {"const": False}],
    }
    found: dict[str, JsonValue] = {}
    for name, schema in AgentSettings.model_json_schema()["properties"].items():
        kept = {key: schema[key] for key in ("description", "title") if key in schema}
        kinds = other.get(name) or schema.get("anyOf") or [
            {key: value for key, value in schema.items() if key not in (*kept, "default")}
        ]  # fmt: skip
        found[name] = {**kept, "anyOf": [*(kind for kind in kinds if kind != _NULL), _NULL]}
    return found


_FLAGS = {key for key, field in AgentSettings.model_fields.items() if field.annotation is bool}
"""Settings that broker.yaml and the environment may also have as words, such as "on"."""


class AgentIn(BaseModel):
    """The settings of an agent; a key that is left out is the default agent's. The keys are those of the
    section `assistant` of broker.yaml, and are checked by the same rules."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "properties": _properties(),
            "examples": [{"name": "Linh", "language": "vi", "voice": "female", "tools": ["set_timer"]}],
        },
    )

    @model_validator(mode="after")
    def _flags_are_flags(self) -> "AgentIn":
        for key, value in (self.model_extra or {}).items():
            if key in _FLAGS and value is not None and not isinstance(value, bool):
                raise ValueError(f"{key} is true or false")
        return self

    def given(self) -> dict[str, Any]:
        """The keys with their values."""
        return dict(self.model_extra or {})


class NewAgent(BaseModel):
    """An agent to make."""

    key: str = Field(max_length=32, description="Small letters, digits, - and _", examples=["teacher"])
    settings: AgentIn


class AgentOut(BaseModel):
    """An agent."""

    key: str
    source: Literal["broker.yaml", "managed", "both"] = Field(
        description="both: the default agent, of which broker.yaml sets some keys and people others"
    )
    settings: dict[str, Any] = Field(
        description="Complete, as they are in force; without the prompt for members"
    )
    given: dict[str, Any] | None = Field(
        description="What people set of it; null for an agent that broker.yaml alone has. Not for members"
    )
    fixed: list[str] = Field(description="Keys that broker.yaml sets, and that can't be changed here")
    providers: dict[str, list[str]] = Field(description="By role, in the order in which they are asked")
    version: int | None = Field(description="The version of what people set")
    updated_at: datetime | None
    author: str
    problems: list[str] = Field(description="What does not work as it was set, and how to mend it")
    devices: int = Field(description="Devices that talk to it, of those that the caller may see")


class Agents(BaseModel):
    """All agents, the default one first."""

    items: list[AgentOut]


class PreviewIn(BaseModel):
    """A prompt to fill in: the agent's, or `prompt` in its place."""

    agent: str = Field(default=DEFAULT_AGENT, max_length=32)
    prompt: str | None = Field(default=None, max_length=MAX_TEMPLATE_CHARS)
    name: str | None = Field(default=None, max_length=64, description="In place of the agent's name")
    device: str | None = Field(default=None, max_length=17, description="The device that it is for")


class Preview(BaseModel):
    """The prompt as a language model gets it."""

    prompt: str
    characters: int
    variables: dict[str, str] = Field(
        description="All that a template may use, such as device.name, with what it is for this device"
    )


@router.get("")
async def list_agents(services: Services, caller: Annotated[Caller, callers(Scope.AGENTS_READ)]) -> Agents:
    """All agents, those of broker.yaml and those that people made."""
    parts = services.managed
    managed = {each.key: each for each in await parts.resources.list_all("agent")}
    keys = dict.fromkeys((*parts.in_force().every_agent, *managed))
    asked = await asyncio.to_thread(parts.providers_of_agents)
    devices = await _devices(services, caller)
    return Agents(
        items=[
            _out(parts, key, managed.get(key), caller, asked.get(key, {}), devices.get(key, 0))
            for key in keys
        ]
    )


@router.post("", status_code=201)
async def create_agent(
    body: NewAgent,
    response: Response,
    services: Services,
    caller: Annotated[Caller, callers(Scope.AGENTS_WRITE)],
) -> AgentOut:
    """Makes an agent. Devices that are given it talk to it from their next session on."""

    def is_new(version: int) -> None:
        if version:
            raise Conflict(f"there is an agent {body.key} already")

    change = Change("agent", body.key, body.settings.given())
    made = await services.managed.resources.put(change, caller.author, is_new)
    await services.managed.watched.settled()
    response.headers["Location"] = f"{API_PREFIX}/agents/{made.key}"
    return await _written(services, made, caller, response)


@router.post("/preview")
async def preview_prompt(
    body: PreviewIn, services: Services, caller: Annotated[Caller, callers(Scope.AGENTS_WRITE)]
) -> Preview:
    """Fills in a prompt for a device, without asking a language model. A fault of the template is told with
    its line, in `fields`."""
    del caller
    try:
        found = await services.managed.previews.render(
            body.agent, prompt=body.prompt, name=body.name, device_id=body.device
        )
    except WrongTemplate as error:
        line = {} if error.line is None else {"line": str(error.line)}
        fault = {"field": "prompt", "message": str(error).removeprefix("prompt: "), **line}
        raise Problem(422, str(error), more={"fields": [fault]}) from None
    return Preview(prompt=found.text, characters=len(found.text), variables=dict(found.variables))


@router.get("/{key}")
async def read_agent(
    key: Key,
    response: Response,
    services: Services,
    caller: Annotated[Caller, callers(Scope.AGENTS_READ)],
) -> AgentOut:
    """One agent."""
    parts = services.managed
    managed = await parts.resources.find("agent", key)
    if managed is None and key not in parts.in_force().every_agent:
        raise NotFound(f"there is no agent {key!r}")
    etags.tell(response, managed.version if managed is not None else 0)
    devices = await _devices(services, caller)
    return _out(parts, key, managed, caller, parts.providers_of(key), devices.get(key, 0))


@router.put("/{key}")
async def put_agent(
    key: Key,
    body: AgentIn,
    response: Response,
    services: Services,
    caller: Annotated[Caller, callers(Scope.AGENTS_WRITE)],
    if_match: IfMatch = None,
) -> AgentOut:
    """Makes an agent, or replaces all that people set of it. Running conversations follow at their next
    turn."""
    change = Change("agent", key, body.given())
    made = await services.managed.resources.put(change, caller.author, expecting(if_match))
    await services.managed.watched.settled()
    return await _written(services, made, caller, response)


@router.patch("/{key}")
async def change_agent(
    key: Key,
    body: AgentIn,
    response: Response,
    services: Services,
    caller: Annotated[Caller, callers(Scope.AGENTS_WRITE)],
    if_match: IfMatch = None,
) -> AgentOut:
    """Changes the keys that are named; null takes one back, so that the default agent's counts."""
    change = Change("agent", key, body.given())
    made = await services.managed.resources.patch(change, caller.author, expecting(if_match))
    await services.managed.watched.settled()
    return await _written(services, made, caller, response)


@router.delete("/{key}", status_code=204)
async def delete_agent(
    key: Key,
    services: Services,
    caller: Annotated[Caller, callers(Scope.AGENTS_WRITE)],
    if_match: IfMatch = None,
) -> None:
    """Deletes what people set of an agent; its devices talk to the default one. It can be restored for a
    time."""
    await services.managed.resources.delete("agent", key, caller.author, expecting(if_match))
    await services.managed.watched.settled()


add_history(router, "agent", Scope.AGENTS_WRITE, Scope.AGENTS_WRITE)


async def _written(services: ApiServices, made: Resource, caller: Caller, response: Response) -> AgentOut:
    etags.tell(response, made.version)
    devices = await _devices(services, caller)
    providers = services.managed.providers_of(made.key)
    return _out(services.managed, made.key, made, caller, providers, devices.get(made.key, 0))


async def _devices(services: ApiServices, caller: Caller) -> dict[str, int]:
    """The number of devices by the agent that they talk to; the default one takes the place of a missing
    one."""
    person = None if caller.is_admin else caller.user_id
    every = services.managed.in_force().every_agent
    found: dict[str, int] = {}
    for agent, number in (await services.devices.agent_counts(person, caller.groups)).items():
        key = agent if agent in every else DEFAULT_AGENT
        found[key] = found.get(key, 0) + number
    return found


def _out(
    parts: ManagedParts,
    key: str,
    managed: Resource | None,
    caller: Caller,
    providers: dict[str, list[str]],
    devices: int,
) -> AgentOut:
    base, in_force = parts.base(), parts.in_force().every_agent.get(key)
    provisioned = key == DEFAULT_AGENT or key in base.agents
    settings = in_force.model_dump(mode="json") if in_force is not None else {}
    given = dict(managed.content) if managed is not None else None
    if not caller.is_admin:
        settings = {name: value for name, value in settings.items() if name not in _PRIVATE}
        given = None
    fixed = set(AgentSettings.model_fields) if key in base.agents else set()
    if key == DEFAULT_AGENT:
        fixed = base.assistant.model_fields_set
    return AgentOut(
        key=key,
        source=("both" if managed is not None else "broker.yaml") if provisioned else "managed",
        settings=settings,
        given=given,
        fixed=sorted(fixed),
        providers=providers,
        version=managed.version if managed is not None else None,
        updated_at=managed.updated_at if managed is not None else None,
        author=managed.author if managed is not None and caller.is_admin else "",
        problems=list(parts.watched.problems("agent", key)) if caller.is_admin else [],
        devices=devices,
    )
