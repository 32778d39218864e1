"""The application of the REST API: its routers, its errors, and its OpenAPI document."""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from mimi_mqtt import __version__
from mimi_mqtt.http.api import (
    activations,
    agents,
    assets,
    audit,
    backups,
    boards,
    browser_device,
    commands,
    conversation_exports,
    conversations,
    devices,
    diagnostics,
    events,
    firmware,
    groups,
    health,
    keys,
    licences,
    local_models,
    logs,
    me,
    ota_requests,
    overview,
    passkeys,
    prices,
    problems,
    providers,
    recordings,
    reminders,
    rollouts,
    server,
    session,
    sessions,
    settings,
    setup,
    stages,
    statistics,
    tokens,
    traces,
    turns,
    uploads,
    users,
    voices,
)
from mimi_mqtt.http.api.bodies import BodyBounds
from mimi_mqtt.http.api.loading import API_PREFIX
from mimi_mqtt.http.api.null_characters import NoNullCharacters
from mimi_mqtt.http.api.services import ApiServices

_RESOURCES: Final = (
    activations,
    agents,
    assets,
    audit,
    backups,
    boards,
    browser_device,
    commands,
    conversation_exports,
    conversations,
    devices,
    diagnostics,
    events,
    firmware,
    groups,
    health,
    keys,
    licences,
    local_models,
    logs,
    me,
    ota_requests,
    overview,
    passkeys,
    prices,
    providers,
    recordings,
    reminders,
    rollouts,
    server,
    session,
    sessions,
    settings,
    setup,
    stages,
    statistics,
    tokens,
    traces,
    turns,
    uploads,
    users,
    voices,
)
ROUTERS: Final = tuple(resource.router for resource in _RESOURCES)
"""Every resource."""


_PROBLEM: Final[dict[str, Any]] = {
    "description": "Problem (RFC 9457)",
    "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
}


def document() -> dict[str, Any]:
    """The OpenAPI document, which no part of a server is needed for."""
    return build_api(None).openapi()


def build_api(services: ApiServices | None, routers: Sequence[APIRouter] = ROUTERS) -> FastAPI:
    """The API, to be mounted at `API_PREFIX`; without `services` it can only describe itself."""
    app = FastAPI(
        title="mimi_mqtt",
        summary="A self-hosted voice server for ESP32 devices.",
        version=__version__,
        servers=[{"url": API_PREFIX}],
        # Below the mount they would be of no use: `http.app` serves them at the top.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        root_path_in_servers=False,
        generate_unique_id_function=_operation_id,
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
    )
    app.state.services = services
    app.add_middleware(BodyBounds)
    app.add_middleware(NoNullCharacters)
    for router in routers:
        app.include_router(router)
    problems.install(app, [route for router in routers for route in router.routes])
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["ProblemDocument"] = problems.SCHEMA
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
