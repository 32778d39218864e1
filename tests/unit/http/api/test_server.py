"""What the server tells of itself, its health, its problems and its settings."""

from datetime import UTC, datetime, timedelta

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.config.changes import Changes
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.http.api.rates import REQUEST_BURST, REQUESTS_PER_S, CallerRates
from mimi_mqtt.people.access import Caller, Role, Scope
from mimi_mqtt.shares import Ledger
from mimi_mqtt.store.audit import Author
from tests.fakes.api import KnownCallers, client
from tests.fakes.api_scene import BOBS, FakeReloading, Scene


async def test_callers_are_told_how_devices_reach_the_server_and_strangers_are_not() -> None:
    scene = Scene()
    for as_, status, tells in (("", 200, False), ("bob", 200, True), ("nobody", 401, False)):
        async with client(as_=as_, **scene.parts) as api:
            answer = await api.get("/server")
        assert answer.status_code == status
        details = answer.json().get("details")
        assert (details is not None) == tells
        if details is not None:
            assert details["ota_address"] == "http://mimi.test/xiaozhi/ota/"
            assert details["ports"] == {"http": 8003, "mqtt": 1883, "mqtt_tls": None, "udp": 8884}
            assert datetime.now(UTC) - datetime.fromisoformat(details["started_at"]) < timedelta(minutes=1)


async def test_health_is_that_of_all_parts() -> None:
    async with client(as_="ada", **Scene().parts) as api:
        told = (await api.get("/health")).json()
    assert not told["ok"]
    assert told["parts"]["store"] == {"ok": False, "detail": "locked"}
    assert [each["id"] for each in told["problems"]] == ["store.disk", f"device.udp:{BOBS}"]


@pytest.mark.parametrize(
    ("caller", "ids"),
    [
        (Caller("ada", "u-ada", Role.ADMIN, frozenset(Scope)), ["store.disk", f"device.udp:{BOBS}"]),
        (Caller("ada", "u-ada", Role.ADMIN, frozenset({Scope.DEVICES_READ})), [f"device.udp:{BOBS}"]),
        (Caller("bob", "u-bob", Role.MEMBER, frozenset({Scope.DEVICES_READ})), [f"device.udp:{BOBS}"]),
        (Caller("eve", "u-eve", Role.MEMBER, frozenset(Scope)), []),
    ],
)
async def test_problems_of_the_server_are_for_those_who_mend_it(caller: Caller, ids: list[str]) -> None:
    async with client(as_="x", authenticator=KnownCallers(x=caller), **Scene().parts) as api:
        found = (await api.get("/problems")).json()["problems"]
    assert [each["id"] for each in found] == ids
    assert all(each["cause"] and each["cure"] for each in found)


async def test_settings_are_told_with_their_source_and_without_secrets() -> None:
    async with client(as_="ada", **Scene().parts) as api:
        told = {each["key"]: each for each in (await api.get("/settings")).json()["settings"]}
    assert told["http.bind"]["source"] == "broker.yaml, line 3"
    assert told["log.level"] == {
        "key": "log.level", "value": "info", "default": "info", "source": "", "at_run_time": True,
        "doc": "Least severity: debug has the wire, info one line per connection and turn.",
    }  # fmt: skip
    assert not told["http.bind"]["at_run_time"]
    assert told["accounts.admin_password"]["value"] is None


class Broken(FakeReloading):
    """A file with a mistake."""

    async def reload(self, author: Author) -> Changes:
        raise ConfigError("broker.yaml, line 3: there is no such key")


async def test_a_reload_tells_what_changed_and_what_is_wrong() -> None:
    scene = Scene()
    for reloading, status in ((FakeReloading(Settings()), 200), (Broken(), 422), (None, 409)):
        scene.reloading = reloading
        async with client(as_="ada", **scene.parts) as api:
            answer = await api.post("/reload")
        assert answer.status_code == status
        if status == 200:
            assert reloading is not None
            assert reloading.author == Author("ada", "u-ada")
        if status == 422:
            assert "line 3" in answer.json()["detail"]


async def test_one_caller_can_not_keep_the_others_out() -> None:
    now = 0.0
    rates = CallerRates(Ledger(), lambda: now)
    parts = {**Scene().parts, "rates": rates}
    async with client(as_="bob", **parts) as bob, client(as_="eve", **parts) as eve:
        for _ in range(REQUEST_BURST):
            assert (await bob.get("/server")).status_code == 200
        refused = await bob.get("/server")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert (await eve.get("/server")).status_code == 200
        now += 1 / REQUESTS_PER_S
        assert (await bob.get("/server")).status_code == 200
