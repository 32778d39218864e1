"""The API's agents, providers, prices and voices: rights, versions, errors, and keys that are never told."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from mimi_mqtt.app.samples import VoiceSamples
from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.http.api.app import build_api
from mimi_mqtt.managed import trials
from mimi_mqtt.managed.parts import ManagedParts
from mimi_mqtt.managed.previews import PromptPreviews
from mimi_mqtt.managed.resources import ManagedResources
from mimi_mqtt.managed.trials import ProviderTrials
from mimi_mqtt.managed.watching import WatchedResources
from mimi_mqtt.providers.catalog import overview
from tests.databases import sqlite_store
from tests.fakes.api import client, services
from tests.servers.openai_server import OpenAiServer
from tests.servers.vendor import Status

KEY = "sk-1234567890-abcd"
DEVICE = DeviceInfo("aa-bb-cc-00-11-22", name="Kitchen", user_name="Anna", language="vi")
FILE = {
    "assistant": {"greeting": "Hi!"},
    "agents": {"butler": {"name": "James", "prompt": "The code is 1234."}},
    "providers": {"find_llm": False, "prices": {"groq": {"per_minute": 1}}},
}


@dataclass
class Counted:
    """The devices of each agent, as a `DeviceRegistry` counts them; a member has none."""

    devices: dict[str, int]

    async def agent_counts(self, person: str | None, groups: frozenset[str]) -> dict[str, int]:
        return self.devices if person is None else {}


@dataclass
class Working:
    """The providers that were found to work. A part of `http.api.health.KnownProblems`."""

    found: list[str] = field(default_factory=list)

    def provider_works(self, role: str, name: str) -> None:
        self.found.append(f"{role} {name}")


class NoInstalls:
    """Nobody asked for a model."""

    def of(self, name: str) -> None:
        return None


@dataclass
class House:
    """Managed resources in force as in a server."""

    parts: ManagedParts
    settings: Settings
    environ: dict[str, str] = field(default_factory=dict)
    devices: dict[str, int] = field(default_factory=dict)
    """Of everybody, by agent."""
    working: Working = field(default_factory=Working)

    def calling(self, as_: str = "ada") -> Any:
        samples = VoiceSamples(lambda: self.settings, self.environ)
        parts = services(
            managed=self.parts, samples=samples, devices=Counted(self.devices), problems=self.working,
            installs=NoInstalls(),
        )  # fmt: skip
        return client(build_api(parts), as_=as_)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = sqlite_store(tmp_path)
    await store.open()
    base = Settings.model_validate(FILE | {"server": {"data_dir": tmp_path}})
    credentials, environ = Credentials(b"s" * 32), dict[str, str]()
    resources = ManagedResources(store, credentials, environ, lambda: base)

    async def put_in_force() -> None:
        merged = watched.merged(base)
        made.settings = merged.settings
        watched.took(merged)

    watched = WatchedResources(store, credentials, environ, resources, put_in_force)
    devices = {DEVICE.device_id: DEVICE}
    parts = ManagedParts(
        resources,
        watched,
        ProviderTrials(lambda: made.settings, environ, lambda: base, resources.draft),
        PromptPreviews(lambda: made.settings, devices.get),
        lambda: base,
        lambda: made.settings,
        environ,
    )
    made = House(parts, base, environ)
    watched.start()
    yield made
    await watched.aclose()
    await store.aclose()


@pytest.fixture
async def admin(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.calling() as calling:
        yield calling


async def test_agents_of_broker_yaml_and_of_people_are_one_list(admin: httpx.AsyncClient) -> None:
    made = await admin.post("/agents", json={"key": "chef", "settings": {"name": "Chef", "llm": "offline"}})
    assert (made.status_code, made.headers["ETag"], made.headers["Location"]) == (
        201,
        '"1"',
        "/api/v1/agents/chef",
    )
    listed = {each["key"]: each for each in (await admin.get("/agents")).json()["items"]}
    assert list(listed) == ["default", "butler", "chef"]
    assert {key: each["source"] for key, each in listed.items()} == {
        "default": "broker.yaml", "butler": "broker.yaml", "chef": "managed"
    }  # fmt: skip
    chef = listed["chef"]
    assert (chef["given"], chef["settings"]["greeting"]) == ({"name": "Chef", "llm": "offline"}, "Hi!")
    assert (chef["providers"]["llm"], chef["author"], chef["version"]) == (["offline"], "ada", 1)
    assert listed["default"]["fixed"] == ["greeting"]
    assert "prompt" in listed["butler"]["fixed"]


async def test_devices_of_an_agent_are_counted(house: House, admin: httpx.AsyncClient) -> None:
    house.devices.update({"": 2, "butler": 3, "gone": 1})
    listed = {each["key"]: each["devices"] for each in (await admin.get("/agents")).json()["items"]}
    assert listed == {"default": 3, "butler": 3}
    assert (await admin.get("/agents/butler")).json()["devices"] == 3
    async with house.calling("bob") as bob:
        assert (await bob.get("/agents/butler")).json()["devices"] == 0


async def test_a_change_is_made_to_the_version_that_was_read(admin: httpx.AsyncClient) -> None:
    await admin.put("/agents/chef", json={"name": "Chef", "speed": 1.5})
    tag = (await admin.get("/agents/chef")).headers["ETag"]
    changed = await admin.patch("/agents/chef", json={"speed": None}, headers={"If-Match": tag})
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    assert changed.json()["given"] == {"name": "Chef"}
    for attempt in (
        admin.patch("/agents/chef", json={"speed": 2}, headers={"If-Match": tag}),
        admin.put("/agents/chef", json={"name": "Cook"}, headers={"If-Match": tag}),
        admin.delete("/agents/chef", headers={"If-Match": tag}),
        admin.post("/agents/chef/restore", json={"version": 1}, headers={"If-Match": tag}),
    ):
        assert (await attempt).status_code == 412
    assert (await admin.get("/agents/chef")).json()["version"] == 2
    again = await admin.post("/agents", json={"key": "chef", "settings": {}})
    assert again.status_code == 409


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("/agents/chef", {"speed": 9}, 422, "speed: must be 0.5 to 2"),
        ("/agents/chef", {"prompt": "{{ nobody }}"}, 422, "prompt: there is no variable 'nobody'"),
        ("/agents/Chef", {"name": "x"}, 422, "is no agent's name"),
        ("/agents/butler", {"name": "x"}, 409, "broker.yaml has the agent butler"),
        ("/agents/default", {"greeting": "x"}, 409, "assistant.greeting"),
        ("/agents/chef", [1], 422, ""),
        ("/providers/nobody", {}, 422, "there is no provider 'nobody'"),
        ("/providers/openai", {"options": {"api_key": KEY}}, 422, "api_key: is secret"),
        ("/providers/openai", {"secrets": {"api_key": "x\ny"}}, 422, "api_key: must be printable"),
        ("/providers/openai", {"secrets": {"api_key": [KEY]}}, 422, ""),
        ("/prices/openai", {"per_minute": -1}, 422, "per_minute"),
        ("/prices/groq", {"per_minute": 2}, 409, "broker.yaml has the prices of groq"),
    ],
)
async def test_what_is_wrong_is_told_with_its_field(
    admin: httpx.AsyncClient, path: str, body: Any, status: int, told: str
) -> None:
    reply = await admin.put(path, json=body)
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert told in reply.json()["detail"]
    assert KEY not in reply.text


async def test_the_default_agent_and_providers_can_be_changed_without_having_been_set(
    admin: httpx.AsyncClient,
) -> None:
    read = await admin.get("/agents/default")
    changed = await admin.patch(
        "/agents/default", json={"name": "Tom"}, headers={"If-Match": read.headers["ETag"]}
    )
    assert (changed.status_code, changed.json()["settings"]["name"]) == (200, "Tom")
    assert changed.json()["source"] == "both"
    assert (await admin.patch("/providers/groq", json={"options": {"llm_model": "m"}})).status_code == 200
    assert (await admin.patch("/agents/chef", json={"name": "Chef"})).status_code == 404


async def test_a_history_is_compared_and_restored(admin: httpx.AsyncClient) -> None:
    for name in ("Chef", "Cook"):
        await admin.put("/agents/chef", json={"name": name})
    items = (await admin.get("/agents/chef/versions")).json()["items"]
    assert [(each["version"], each["content"]) for each in items] == [
        (2, {"name": "Cook"}), (1, {"name": "Chef"})
    ]  # fmt: skip
    assert (await admin.get("/agents/chef/versions/1")).json()["author"] == "ada"
    (found,) = (await admin.get("/agents/chef/diff", params={"before": 1, "after": 2})).json()["items"]
    assert (found["field"], found["before"], found["after"]) == ("name", "Chef", "Cook")
    assert "-Chef\n+Cook" in found["unified"]
    await admin.delete("/agents/chef")
    assert (await admin.get("/agents/chef")).status_code == 404
    restored = await admin.post("/agents/chef/restore", json={"version": 1})
    assert restored.json() == {"version": 4, "content": {"name": "Chef"}}
    assert (await admin.post("/agents/chef/restore", json={"version": 99})).status_code == 404


async def test_a_member_sees_agents_without_what_is_not_for_everybody(
    house: House, admin: httpx.AsyncClient
) -> None:
    await admin.put("/agents/chef", json={"name": "Chef", "prompt": "The safe is behind the picture."})
    await admin.put("/providers/openai", json={"secrets": {"api_key": KEY}})
    async with house.calling("bob") as bob:
        reply = await bob.get("/agents")
        assert [each["key"] for each in reply.json()["items"]] == ["default", "butler", "chef"]
        assert "safe" not in reply.text + (await bob.get("/agents/chef")).text
        assert "1234" not in reply.text + (await bob.get("/agents/butler")).text
        for method, path in (
            ("PUT", "/agents/chef"), ("PATCH", "/agents/chef"), ("DELETE", "/agents/chef"),
            ("POST", "/agents"), ("POST", "/agents/preview"), ("POST", "/agents/chef/restore"),
            ("GET", "/agents/chef/versions"), ("GET", "/agents/chef/diff?before=1&after=1"),
            ("GET", "/agents/chef/versions/1"), ("GET", "/providers"), ("GET", "/providers/openai"),
            ("PUT", "/providers/openai"), ("DELETE", "/providers/openai"), ("GET", "/prices"),
            ("POST", "/providers/llm/openai/test"), ("PUT", "/prices/openai"), ("GET", "/models"),
            ("POST", "/voices/sample"), ("GET", "/providers/openai/versions"),
        ):  # fmt: skip
            assert (await bob.request(method, path, json={})).status_code == 403, path
        assert (await bob.get("/voices", params={"language": "ja"})).json()["items"]
    async with house.calling("") as nobody:
        assert (await nobody.get("/agents")).status_code == 401


async def test_a_key_is_set_and_never_told(
    house: House, admin: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    put = await admin.put(
        "/providers/openai:house",
        json={"options": {"base_url": "http://127.0.0.1:9/v1"}, "secrets": {"api_key": KEY}},
    )
    assert put.status_code == 200, put.text
    read = await admin.get("/providers/openai:house")
    assert read.json()["secrets"].keys() == {"api_key"}
    assert read.json()["options"]["api_key"] == {"origin": "managed", "secret": True, "value": None}
    assert read.json()["options"]["base_url"]["value"] == "http://127.0.0.1:9/v1"
    assert house.settings.providers.options["openai:house"]["api_key"] == KEY
    told = [put.text, read.text, caplog.text, repr(house.parts.watched.entry("provider", "openai:house"))]
    for path in (
        "/providers",
        "/providers/openai:house/versions",
        "/agents",
        "/providers/openai:house/versions/1",
    ):
        told.append((await admin.get(path)).text)
    told.append((await admin.post("/providers/llm/openai:house/test")).text)
    told.append(json.dumps(build_api(services(managed=house.parts)).openapi()))
    assert not [each for each in told if KEY in each or KEY[-8:] in each]


async def test_the_environment_and_broker_yaml_are_told_as_the_origin_of_options(
    house: House, admin: httpx.AsyncClient
) -> None:
    house.environ["OPENAI_API_KEY"] = KEY
    read = (await admin.get("/providers/openai")).json()
    assert read["options"] == {"api_key": {"origin": "environment", "secret": True, "value": None}}
    assert (read["roles"], read["version"], read["given"]) == (["stt", "llm", "tts"], None, {})


async def test_the_value_of_an_option_is_the_one_that_wins(house: House, admin: httpx.AsyncClient) -> None:
    house.environ["OLLAMA_BASE_URL"] = "http://127.0.0.1:8/v1"
    given = {"options": {"base_url": "http://127.0.0.1:9/v1", "llm_model": "qwen3"}}
    put = await admin.put("/providers/ollama", json=given)
    assert put.status_code == 200, put.text
    read = (await admin.get("/providers/ollama")).json()
    assert read["options"] == {
        "base_url": {"origin": "environment", "secret": False, "value": "http://127.0.0.1:8/v1"},
        "llm_model": {"origin": "managed", "secret": False, "value": "qwen3"},
    }
    assert read["problems"] == ["base_url: the environment sets it, which wins"]
    assert read["given"] == given["options"]


async def test_providers_are_listed_with_what_they_lack_and_who_asks_them(admin: httpx.AsyncClient) -> None:
    items = (await admin.get("/providers", params={"role": "llm"})).json()["items"]
    assert {each["role"] for each in items} == {"llm"}
    listed = {each["name"]: each for each in items}
    assert (listed["offline"]["ready"], listed["offline"]["place"]) == (True, 1)
    assert not listed["openai"]["ready"]
    assert "OPENAI_API_KEY" in listed["openai"]["lacking"][0]
    assert {"option": "api_key", "variables": ["OPENAI_API_KEY"]} in listed["openai"]["needs"]
    await admin.put("/providers/openai", json={"secrets": {"api_key": KEY}})
    listed = {each["name"]: each for each in (await admin.get("/providers?role=llm")).json()["items"]}
    assert (listed["openai"]["place"], listed["offline"]["place"]) == (1, 2)


async def test_a_test_of_options_that_are_not_in_force_ends_no_problem(
    house: House, admin: httpx.AsyncClient
) -> None:
    assert (await admin.post("/providers/llm/offline/test", json={"options": {}})).json()["ok"]
    assert house.working.found == []
    assert (await admin.post("/providers/llm/offline/test")).json()["ok"]
    assert house.working.found == ["llm offline"]


async def test_a_provider_is_tried_out_with_timings(admin: httpx.AsyncClient) -> None:
    tried = (await admin.post("/providers/llm/offline/test")).json()
    assert tried["ok"], tried
    assert tried["said"]
    assert tried["answer_ms"] >= 0
    assert (await admin.post("/providers/tts/deepgram/test")).status_code == 404
    assert (await admin.post("/providers/llm/nobody/test")).status_code == 404
    failed = (await admin.post("/providers/llm/openai/test")).json()
    assert (failed["ok"], "OPENAI_API_KEY" in failed["error"]) == (False, True)


@pytest.fixture
async def vendor() -> AsyncIterator[OpenAiServer]:
    """A service that takes KEY alone."""
    server = OpenAiServer()
    server.key = KEY
    await server.start()
    yield server
    await server.aclose()


async def test_options_and_keys_are_tried_out_before_they_are_saved(
    house: House, admin: httpx.AsyncClient, vendor: OpenAiServer
) -> None:
    where = {"options": {"base_url": vendor.base_url, "llm_model": "m"}}
    given = {**where, "secrets": {"api_key": KEY}}
    tried = (await admin.post("/providers/llm/openai:house/test", json=given)).json()
    assert (tried["ok"], tried["error"], "good day" in tried["said"]) == (True, "", True)
    assert vendor.asked
    assert (await admin.get("/providers/openai:house")).json()["version"] is None
    assert "openai:house" not in house.settings.providers.options
    wrong = await admin.post("/providers/llm/openai:house/test", json={"options": {"llm_modell": "m"}})
    assert (wrong.status_code, "did you mean llm_model?" in wrong.json()["detail"]) == (422, True)
    await admin.put("/providers/openai:house", json=given)
    other = {"options": {**where["options"], "llm_model": "other"}}
    tried = (await admin.post("/providers/llm/openai:house/test", json=other)).json()
    assert tried["ok"], "the stored key is used while the address stays"


async def test_a_test_sends_a_stored_key_to_no_other_address(
    house: House, admin: httpx.AsyncClient, vendor: OpenAiServer
) -> None:
    first = "http://127.0.0.1:9/v1"
    await admin.put(
        "/providers/openai:house", json={"options": {"base_url": first}, "secrets": {"api_key": KEY}}
    )
    elsewhere = {"options": {"base_url": vendor.base_url}}
    await admin.post("/providers/llm/openai:house/test", json=elsewhere)
    await admin.post("/providers/llm/openai:house/test", json={"options": {}})
    house.environ["OPENAI_API_KEY"] = KEY
    assert (await admin.post("/providers/llm/openai/test", json=elsewhere)).status_code == 409
    await admin.post("/providers/llm/openai:new/test", json=elsewhere)
    assert not [each for each in vendor.asked if KEY in str(each.headers)]
    assert house.settings.providers.options["openai:house"]["base_url"] == first


async def test_a_key_that_a_service_repeats_is_not_told(
    admin: httpx.AsyncClient, vendor: OpenAiServer, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"options": {"base_url": vendor.base_url}, "secrets": {"api_key": KEY}}
    vendor.deltas = ({"content": f"sent {KEY}"},)
    said = await admin.post("/providers/llm/openai:house/test", json=given)
    assert (said.json()["ok"], "sent ***" in said.json()["said"]) == (True, True)
    vendor.faults.append(Status(400, f"{KEY} may not ask for this model"))
    refused = await admin.post("/providers/llm/openai:house/test", json=given)
    assert (refused.json()["ok"], "may not ask" in refused.json()["error"]) == (False, True)
    assert KEY not in said.text + refused.text + caplog.text


async def test_a_provider_tells_every_option_that_it_has(admin: httpx.AsyncClient) -> None:
    forms = {each["name"]: each for each in (await admin.get("/providers/azure")).json()["forms"]}
    assert (forms["speech_key"]["secret"], forms["speech_key"]["needed_by"]) == (True, ["stt", "tts"])
    assert forms["speech_key"]["variables"] == ["AZURE_SPEECH_KEY"]
    assert (forms["base_url"]["address"], forms["stt_url"]["address"]) == (True, True)
    assert forms["stt_profanity"]["value_schema"]["enum"] == ["masked", "removed", "raw"]
    assert (forms["stt_language"]["default"], forms["stt_language"]["roles"]) == ("en-US", ["stt"])
    assert all(each["description"] for each in forms.values())
    piper = {each["name"]: each for each in (await admin.get("/providers/piper")).json()["forms"]}
    assert piper["tts_model"]["model"]


async def test_one_provider_is_tried_out_at_a_time(
    admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    attempt = overview.attempt

    async def slowly(*given: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await attempt(*given)

    monkeypatch.setattr(trials, "attempt", slowly)
    first = asyncio.create_task(admin.post("/providers/llm/offline/test"))
    await begun.wait()
    second = await admin.post("/providers/llm/offline/test")
    assert (second.status_code, second.headers["Retry-After"]) == (429, "5")
    go_on.set()
    assert (await first).json()["ok"]


async def test_prices_are_set_read_and_deleted(house: House, admin: httpx.AsyncClient) -> None:
    put = await admin.put("/prices/openai", json={"input_per_million": 0.4})
    assert (put.status_code, put.headers["ETag"]) == (200, '"1"')
    assert house.settings.providers.prices["openai"].input_per_million == 0.4
    listed = (await admin.get("/prices")).json()["items"]
    assert [(each["name"], each["source"]) for each in listed] == [
        ("groq", "broker.yaml"), ("openai", "managed")
    ]  # fmt: skip
    assert (await admin.get("/prices/groq")).json()["prices"]["per_minute"] == 1
    assert (await admin.delete("/prices/openai")).status_code == 204
    assert (await admin.get("/prices/openai")).status_code == 404
    assert "openai" not in house.settings.providers.prices


async def test_a_prompt_is_filled_in_for_a_device(admin: httpx.AsyncClient) -> None:
    prompt = "{{ agent.name }} in the {{ device.name }} talks {{ language }} to {{ user.name }}."
    reply = await admin.post("/agents/preview", json={"prompt": prompt, "device": DEVICE.device_id})
    told = reply.json()
    assert (told["prompt"], told["characters"]) == ("MiMi in the Kitchen talks vi to Anna.", 37)
    assert (
        told["variables"].items() >= {"device.name": "Kitchen", "user.name": "Anna", "language": "vi"}.items()
    )
    wrong = await admin.post("/agents/preview", json={"prompt": "Hello\n{{ nobody }}"})
    (fault,) = wrong.json()["fields"]
    assert (wrong.status_code, fault["field"], fault["line"]) == (422, "prompt", "2")
    assert fault["message"].startswith("there is no variable 'nobody'")
    assert (await admin.post("/agents/preview", json={"agent": "butler"})).json()[
        "prompt"
    ] == "The code is 1234."
    for body, status in (
        ({"agent": "nobody"}, 404),
        ({"device": "aa-bb-cc-00-11-99"}, 404),
        ({"prompt": "{{ nobody }}"}, 422),
        ({"prompt": "{% for a in 'xx' %}{% for b in memory %}" * 10}, 422),
        ({"prompt": "x" * 40_000}, 422),
    ):
        assert (await admin.post("/agents/preview", json=body)).status_code == status


async def test_models_are_listed(admin: httpx.AsyncClient) -> None:
    models = (await admin.get("/models")).json()["items"]
    assert {"name", "installed", "licence", "voices"} <= models[0].keys()
    assert all(each["installed"] for each in (await admin.get("/models?installed=true")).json()["items"])


async def test_a_voice_is_heard_as_wav(admin: httpx.AsyncClient) -> None:
    await admin.put("/agents/default", json={"tts": "offline"})
    reply = await admin.post("/voices/sample", json={"text": "Hello."})
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "audio/wav")
    assert (reply.content[:4], reply.content[8:12], len(reply.content) > 8_000) == (b"RIFF", b"WAVE", True)
    for body, status in (
        ({"text": "x" * 301}, 422),
        ({"text": "..."}, 422),
        ({"text": "Hello.", "agent": "nobody"}, 404),
        ({"text": "Hello.", "voice": "nobody-there"}, 422),
        ({"text": "Hello.", "speed": 9}, 422),
    ):
        assert (await admin.post("/voices/sample", json=body)).status_code == status, body


@pytest.mark.parametrize("value", [0, "on", "false"])
async def test_a_flag_of_an_agent_is_true_or_false(admin: httpx.AsyncClient, value: object) -> None:
    for answer in (
        await admin.put("/agents/chef", json={"recordings": value}),
        await admin.patch("/agents/default", json={"recordings": value}),
        await admin.post("/agents", json={"key": "cook", "settings": {"recordings": value}}),
    ):
        assert answer.status_code == 422
        assert "recordings is true or false" in answer.json()["detail"]
    assert (await admin.put("/agents/chef", json={"recordings": True})).status_code == 200
