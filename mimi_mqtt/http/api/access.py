"""Declarations of who may call a route: `callers(Scope.X)` for a parameter, or `@anyone` above the route.

A route without either fails `tests/unit/http/api/test_routes.py`. The scopes stand in the OpenAPI document.
"""

from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from fastapi.security.utils import get_authorization_scheme_param

from mimi_mqtt.errors import LoginRefused
from mimi_mqtt.http.api.problems import Problem
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.session_cookie import SESSION_COOKIE, holder_of
from mimi_mqtt.people.access import Caller, Presented, Scope

RETRY_AFTER_S: Final = 60
"""Seconds after which a client whose credentials were not checked may try again."""

_NOT_VALID: Final = "the token, key or session is not valid (any more): sign in again"
_OPEN: Final = "__mimi_open_to_anyone__"

_bearer = HTTPBearer(auto_error=False, description="An API key or a token (JWT)")
_cookie = APIKeyCookie(name=SESSION_COOKIE, auto_error=False, description="A browser's session")

_Route = TypeVar("_Route", bound=Callable[..., object])


async def who(
    request: Request,
    asked: SecurityScopes,
    services: Services,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    session: Annotated[str | None, Depends(_cookie)],
) -> Caller:
    """The caller, with all scopes that the route asks for. Raises Problem: 401, 403 or 429."""
    del bearer, session  # they are there for the OpenAPI document
    shown = presented(request)
    caller = await _authenticated(services, shown)
    if caller is None:
        if shown.bearer or shown.session:
            detail = _NOT_VALID
        else:
            detail = "sign in, or send an API key or a token as `Authorization: Bearer …`"
        raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
    missing = [scope for scope in asked.scopes if not caller.may(Scope(scope))]
    if missing:
        raise Problem(403, f"this needs the scope {' and '.join(missing)}, which the caller does not have")
    return caller


async def visitor(request: Request, services: Services) -> Caller | None:
    """The caller of a route that is open to anyone and tells callers more; None for a stranger. Raises
    Problem: 401 for credentials that are not good, 429."""
    shown = presented(request)
    if not shown.bearer and not shown.session:
        return None
    caller = await _authenticated(services, shown)
    if caller is None and shown.bearer:
        raise Problem(401, _NOT_VALID, headers={"WWW-Authenticate": "Bearer"})
    return caller


async def presented_by(request: Request, services: Services) -> Caller:
    """The caller of a route that is open to anyone, whatever he may do. Raises Problem: 401 or 429."""
    caller = await visitor(request, services)
    if caller is None:
        raise Problem(401, _NOT_VALID, headers={"WWW-Authenticate": "Bearer"})
    return caller


def presented(request: Request) -> Presented:
    """The credentials that a request shows."""
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    return Presented(
        token if scheme.lower() == "bearer" else "",
        request.cookies.get(SESSION_COOKIE, ""),
        holder_of(request),
    )


async def _authenticated(services: ApiServices, shown: Presented) -> Caller | None:
    """The caller, who is within his rate, or None. Raises Problem 429."""
    try:
        caller = await services.authenticator.authenticate(shown)
    except LoginRefused as error:
        raise Problem(429, str(error), headers={"Retry-After": str(RETRY_AFTER_S)}) from None
    if caller is not None:
        services.rates.take(caller)
    return caller


def callers(*scopes: Scope) -> object:
    """The dependency that admits callers with all `scopes`, as `Annotated[Caller, callers(Scope.X)]`."""
    if not scopes:
        raise ValueError("a route names at least one scope")
    return Security(who, scopes=[scope.value for scope in scopes])


def anyone(route: _Route) -> _Route:
    """Declares that a route needs no caller: it tells nothing and changes nothing of anybody."""
    setattr(route, _OPEN, True)
    return route


def is_open(route: Callable[..., object]) -> bool:
    """True for a route that was declared open to anyone."""
    return bool(getattr(route, _OPEN, False))
