"""Providers of speech and language: what each needs, its options and keys, and a real request to one."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field, SecretStr

from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.etags import IfMatch
from mimi_mqtt.http.api.managed_models import Key, add_history, expecting
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.managed.kinds import check_key, is_address, secret_options
from mimi_mqtt.managed.merging import Origin, winning
from mimi_mqtt.managed.parts import ManagedParts
from mimi_mqtt.managed.resources import Change, Resource
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.providers.catalog.found_servers import found_servers
from mimi_mqtt.providers.catalog.option_forms import described_options
from mimi_mqtt.providers.contract.provider import Role

router = APIRouter(prefix="/providers", tags=["providers"])


class Need(BaseModel):
    """An option that must have a value, and the environment variables that can give it one."""

    option: str
    variables: list[str]


class ProviderListing(BaseModel):
    """One provider of one role."""

    role: Role
    name: str
    ready: bool = Field(description="True when nothing is lacking")
    needs: list[Need]
    lacking: list[str] = Field(description="What is missing before it can be used, each with its cure")
    extra: str = Field(description="The extra that installs its packages: mimi-mqtt[extra]; empty: none")
    place: int | None = Field(description="Its place, from 1, in the list that the default agent asks")
    agents: dict[str, int] = Field(description="Its place in the lists of agents that ask others")


class Providers(BaseModel):
    """Providers by role."""

    items: list[ProviderListing]


class ProviderIn(BaseModel):
    """Options of a provider. The keys are those of `providers.options.<name>` in broker.yaml, and are checked
    by the same rules."""

    options: dict[str, Any] = Field(default_factory=dict, examples=[{"llm_model": "gpt-5.4-mini"}])
    secrets: dict[str, SecretStr | None] = Field(
        default_factory=dict,
        description="Keys, which are stored encrypted and never told: one that is not named stays, unless an "
        "address changes; null removes one",
    )

    def change(self, name: str) -> Change:
        """The change that is asked for."""
        given = {
            option: None if text is None else text.get_secret_value() for option, text in self.secrets.items()
        }
        return Change("provider", name, self.options, given)


class OptionOut(BaseModel):
    """An option that is set. `value` is null for a secret."""

    origin: Origin = Field(description="broker.yaml and the environment win over what people set")
    secret: bool
    value: Any = None


class OptionForm(BaseModel):
    """An option that a provider has."""

    name: str
    roles: list[Role] = Field(description="The roles that take it")
    needed_by: list[Role] = Field(description="The roles that can't be used without it")
    value_schema: dict[str, Any] = Field(description="JSON schema of its value; null takes it back")
    description: str
    default: Any = Field(description="In force while nobody sets it")
    secret: bool
    address: bool = Field(description="Tells where requests are sent: a stored key does not follow a new one")
    model: bool = Field(description="Takes the name of a local model, as GET /models lists them")
    variables: list[str] = Field(description="Environment variables that set it, too")


class ProviderOut(BaseModel):
    """A provider's options that are set, wherever."""

    name: str
    roles: list[Role]
    options: dict[str, OptionOut]
    given: dict[str, Any] = Field(description="The options that people set, without secrets")
    secrets: dict[str, datetime] = Field(description="When people set each secret")
    secret_options: list[str] = Field(description="The options that are secret")
    forms: list[OptionForm] = Field(description="Every option that it has")
    version: int | None = Field(description="The version of what people set; null: nothing")
    updated_at: datetime | None
    author: str
    problems: list[str] = Field(description="What does not work as it was set, and how to mend it")


class FoundProvider(BaseModel):
    """A server on this machine that a provider can ask."""

    provider: str = Field(description="The provider that asks it")
    name: str
    role: Role
    address: str
    models: list[str] = Field(description="Its models that can be asked, the best for a voice first")
    model_option: str = Field(description="The option that names one of them; empty: nothing to choose")
    options: dict[str, Any] = Field(description="The provider's options for this server")
    in_use: bool = Field(description="true: the default agent asks it")


class FoundProviders(BaseModel):
    """Servers on this machine."""

    items: list[FoundProvider]


class TrialOut(BaseModel):
    """How a real request to a provider went; times in ms."""

    role: Role
    name: str
    ok: bool
    said: str = Field(description="The provider's answer")
    error: str
    start_ms: float | None
    first_result_ms: float | None = Field(description="To the first of the answer")
    answer_ms: float | None


@router.get("")
async def list_providers(
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_READ)],
    role: Annotated[Role | None, Query(description="Only providers of this role")] = None,
) -> Providers:
    """Every provider by role: what it needs, what is missing, and who asks it now."""
    del caller
    found = await services.managed.listings()
    return Providers(
        items=[
            ProviderListing(
                role=each.role,
                name=each.name,
                ready=each.configured,
                needs=[Need(option=need.option, variables=list(need.variables)) for need in each.options],
                lacking=list(each.lacking),
                extra=each.extra,
                place=each.place,
                agents=dict(each.agents),
            )
            for each in found
            if role in (None, each.role)
        ]
    )


@router.get("/found")
async def list_found_providers(
    services: Services, caller: Annotated[Caller, callers(Scope.PROVIDERS_WRITE)]
) -> FoundProviders:
    """Servers that answer on this machine now at their usual ports: Ollama, LM Studio, vLLM, and Wyoming's
    servers of speech. To use one, change its provider by the options that are told here."""
    del caller
    asked = services.managed.providers_of(DEFAULT_AGENT)
    given = services.managed.in_force().providers.options
    return FoundProviders(
        items=[
            FoundProvider(
                provider=each.provider,
                name=each.name,
                role=each.role,
                address=each.address,
                models=list(each.models),
                model_option=each.model_option,
                options=dict(each.options),
                in_use=each.provider in asked.get(each.role, [])
                and each.options.items() <= given.get(each.provider, {}).items(),
            )
            for each in await found_servers(services.managed.environ)
        ]
    )


@router.get("/{key}")
async def read_provider(
    key: Key,
    response: Response,
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_READ)],
) -> ProviderOut:
    """A provider's options, and where each comes from. Secrets are never told."""
    del caller
    check_key("provider", key)
    managed = await services.managed.resources.find("provider", key)
    return _out(services.managed, key, managed, response)


@router.put("/{key}")
async def put_provider(
    key: Key,
    body: ProviderIn,
    response: Response,
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_WRITE)],
    if_match: IfMatch = None,
) -> ProviderOut:
    """Sets a provider's options, in place of all that people set before, and its secrets one by one.

    A secret does not follow its provider to another address: give it again with that.
    """
    resources = services.managed.resources
    managed = await resources.put(body.change(key), caller.author, expecting(if_match))
    await services.managed.watched.settled()
    return _out(services.managed, key, managed, response)


@router.patch("/{key}")
async def change_provider(
    key: Key,
    body: ProviderIn,
    response: Response,
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_WRITE)],
    if_match: IfMatch = None,
) -> ProviderOut:
    """Changes the options and secrets that are named; null takes one back."""
    resources = services.managed.resources
    managed = await resources.patch(body.change(key), caller.author, expecting(if_match))
    await services.managed.watched.settled()
    return _out(services.managed, key, managed, response)


@router.delete("/{key}", status_code=204)
async def delete_provider(
    key: Key,
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_WRITE)],
    if_match: IfMatch = None,
) -> None:
    """Deletes what people set of a provider, and its secrets."""
    await services.managed.resources.delete("provider", key, caller.author, expecting(if_match))
    await services.managed.watched.settled()


@router.post("/{role}/{key}/test")
async def test_provider(
    role: Role,
    key: Key,
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_WRITE)],
    body: ProviderIn | None = None,  # noqa: PT028 - a route, not a test
) -> TrialOut:
    """Really asks a provider for something small; conversations go on as they are. One test at a time, at
    most 30 s.

    Without a body with the options in force; with one as they would be if it was put, without storing
    anything: a stored secret is used as long as no address changes, and has to be given again with that.
    """
    del caller
    result = await services.managed.trials.run(role, key, None if body is None else body.change(key))
    trial = result.trial
    if trial is not None and body is None:  # a draft says nothing of what is in force
        services.problems.provider_works(role, key)
    return TrialOut(
        role=role,
        name=key,
        ok=trial is not None,
        said=trial.said if trial is not None else "",
        error=result.error,
        start_ms=_ms(trial.start_s) if trial is not None else None,
        first_result_ms=_ms(trial.first_result_s) if trial is not None else None,
        answer_ms=_ms(trial.answer_s) if trial is not None else None,
    )


add_history(router, "provider", Scope.PROVIDERS_READ, Scope.PROVIDERS_WRITE)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _forms(name: str) -> list[OptionForm]:
    return [
        OptionForm(
            name=each.name,
            roles=list(each.roles),
            needed_by=list(each.needed_by),
            value_schema=dict(each.schema),
            description=each.description,
            default=each.default,
            secret=each.secret,
            address=is_address(each.name),
            model=each.model,
            variables=list(each.variables),
        )
        for each in described_options(name)
    ]


def _out(parts: ManagedParts, name: str, managed: Resource | None, response: Response) -> ProviderOut:
    etags.tell(response, managed.version if managed is not None else 0)
    secrets = secret_options(name)
    found = winning(name, parts.base().providers, managed, parts.environ)
    return ProviderOut(
        name=name,
        roles=parts.roles(name),
        options={
            option: OptionOut(
                origin=origin,
                secret=option in secrets,
                value=None if option in secrets else value,
            )
            for option, (origin, value) in sorted(found.items())
        },
        given=dict(managed.content) if managed is not None else {},
        secrets=dict(managed.secrets) if managed is not None else {},
        secret_options=sorted(secrets),
        forms=_forms(name),
        version=managed.version if managed is not None else None,
        updated_at=managed.updated_at if managed is not None else None,
        author=managed.author if managed is not None else "",
        problems=list(parts.watched.problems("provider", name)),
    )
