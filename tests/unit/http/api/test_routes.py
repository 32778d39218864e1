"""Every route of the API declares who may call it, and says what it does."""

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from mimi_mqtt.http.api.access import is_open, who
from mimi_mqtt.http.api.app import ROUTERS
from mimi_mqtt.people.access import Scope

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def scopes(dependant: Dependant) -> set[str] | None:
    """The scopes that the route asks for; None when it does not ask who calls."""
    for each in dependant.dependencies:
        if each.call is who:
            return set(each.own_oauth_scopes or []) | set(each.parent_oauth_scopes or [])
        if (found := scopes(each)) is not None:
            return found
    return None


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_every_route_declares_who_may_call_it(route: APIRoute) -> None:
    asked = scopes(route.dependant)
    if is_open(route.endpoint):
        assert asked is None, "a route is open to anyone, or names its callers"
        return
    assert asked, "name the callers: Annotated[Caller, callers(Scope.X)], or @anyone"
    assert asked <= {scope.value for scope in Scope}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_every_route_has_a_description(route: APIRoute) -> None:
    assert (route.endpoint.__doc__ or "").strip()


def test_operation_ids_are_unique() -> None:
    names = [route.name for route in ROUTES]
    assert sorted(set(names)) == sorted(names)
