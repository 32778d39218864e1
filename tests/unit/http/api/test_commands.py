"""Commands over REST: who may give them, what becomes of them, and that a key has one carried out once."""

import asyncio
from typing import Any

import httpx
import pytest

from mimi_mqtt.http.api.commands import MAX_UPLOADS, Uploads
from mimi_mqtt.http.device.notices import MAX_UPLOAD_BYTES
from mimi_mqtt.people.access import Caller, Role, Scope
from tests.fakes.api import KnownCallers, client
from tests.fakes.api_scene import BOBS, NOBODYS, SHARED, Noted, Scene

SAY = {"text": "Dinner is ready."}


async def give(
    scene: Scene, name: str, as_: str = "bob", device: str = BOBS, **options: Any
) -> httpx.Response:
    async with client(as_=as_, **scene.parts) as api:
        return await api.post(f"/devices/{device}/commands/{name}", **options)


@pytest.mark.parametrize(
    ("name", "body", "asked"),
    [
        ("say", SAY, ("say", BOBS, "Dinner is ready.")),
        ("alert", {"message": "Door", "emotion": "sad"}, ("alert", BOBS, "Notice", "Door", "sad")),
        ("tool", {"tool": "volume"}, ("call", BOBS, "volume", "{}")),
        ("reboot", None, ("reboot", BOBS)),
        ("end", None, ("end", BOBS, "command")),
        ("disconnect", {}, ("disconnect", BOBS, "command")),
    ],
)
async def test_a_command_reaches_the_device(name: str, body: object, asked: tuple[str, ...]) -> None:
    scene = Scene()
    answer = await give(scene, name, json=body) if body is not None else await give(scene, name)
    assert (answer.status_code, answer.json()["status"]) == (200, "done")
    assert scene.control.asked == [asked]


async def test_an_idle_device_plays_a_sound() -> None:
    scene = Scene()
    answer = await give(scene, "play", device=SHARED, json={"url": "http://192.0.2.9/bell.ogg"})
    assert answer.json()["result"] == {"how": "sent"}


async def test_a_device_gets_another_agent_in_the_name_of_the_caller() -> None:
    scene = Scene()
    assert (await give(scene, "agent", json={"agent": "chef"})).status_code == 200
    ((device_id, agent, author),) = scene.agents.chosen
    assert (device_id, agent, author.name, author.user_id) == (BOBS, "chef", "bob", "u-bob")
    assert (await give(scene, "agent", json={"agent": "cook"})).status_code == 422


@pytest.mark.parametrize(
    ("name", "device", "body", "status", "reason"),
    [
        ("say", NOBODYS, SAY, 409, "not_connected"),
        ("end", SHARED, {}, 409, "no_session"),
        ("play", BOBS, {"url": "http://192.0.2.9/a.ogg"}, 429, "busy"),
        ("tool", BOBS, {"tool": "refuse"}, 502, None),
        ("tool", BOBS, {"tool": "hang", "timeout_s": 2}, 504, None),
        ("tool", BOBS, {"tool": "break"}, 502, None),
    ],
)
@pytest.mark.virtual_time
async def test_what_is_not_done_is_a_problem_document(
    name: str, device: str, body: object, status: int, reason: str | None
) -> None:
    answer = await give(Scene(), name, "ada", device, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told.get("reason"), told["command"]) == (reason, "call" if name == "tool" else name)
    assert ("retry-after" in answer.headers) == (status == 429)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("say", {"text": ""}), ("say", {"text": " "}), ("say", {}), ("say", {"text": "x", "more": 1}),
        ("say", {"text": 5}), ("say", {"text": "x" * 2_001}), ("say", {"text": "x", "timeout_s": 61}),
        ("say", {"text": "x", "device_id": NOBODYS}),
        ("alert", {"message": "x", "emotion": "bored"}), ("play", {"url": "file:///etc/passwd"}),
        ("tool", {"tool": "t", "arguments": {"a": "x" * 4_096}}), ("notify", {"text": "x", "expires_s": 0}),
    ],
)  # fmt: skip
async def test_a_wrong_body_is_refused_and_names_the_field(name: str, body: dict[str, object]) -> None:
    scene = Scene()
    answer = await give(scene, name, json=body)
    assert answer.status_code == 422
    assert answer.json()["fields"]
    assert scene.control.asked == []


@pytest.mark.parametrize(
    "device", [NOBODYS, "aa-bb-cc-00-11-99", "x", "..%2f..", "%00", "aa-bb-cc-00-11-22%0a"]
)
async def test_what_is_not_the_callers_does_not_exist(device: str) -> None:
    scene = Scene()
    assert (await give(scene, "say", device=device, json=SAY)).status_code == 404
    assert scene.control.asked == []


async def test_a_group_member_commands_what_is_shared_with_him() -> None:
    scene = Scene()
    guest = KnownCallers(
        guest=Caller("gil", "u-gil", Role.MEMBER, frozenset({Scope.COMMANDS}), frozenset({"g-home"}))
    )
    for device, status in ((SHARED, 200), (BOBS, 404)):
        async with client(as_="guest", authenticator=guest, **scene.parts) as api:
            assert (await api.post(f"/devices/{device}/commands/say", json=SAY)).status_code == status


@pytest.mark.parametrize(
    ("scopes", "status"), [({Scope.COMMANDS}, 502), ({Scope.COMMANDS, Scope.DEVICES_WRITE}, 200)]
)
async def test_tools_for_people_need_the_scope_for_changes(scopes: set[Scope], status: int) -> None:
    scene = Scene()
    key = KnownCallers(key=Caller("bob", "u-bob", Role.MEMBER, frozenset(scopes)))
    async with client(as_="key", authenticator=key, **scene.parts) as api:
        answer = await api.post(f"/devices/{BOBS}/commands/tool", json={"tool": "reboot"})
        assert answer.status_code == status
        agent = await api.post(f"/devices/{BOBS}/commands/agent", json={"agent": "chef"})
        assert agent.status_code == (200 if status == 200 else 403)


# ── idempotency keys ─────────────────────────────────────────────────────────────────────────────────────

KEY = {"Idempotency-Key": "0b3c"}


async def test_a_request_that_is_sent_again_is_carried_out_once() -> None:
    scene = Scene()
    first = await give(scene, "say", json=SAY, headers=KEY)
    again = await give(scene, "say", json={"text": "Dinner is ready.", "timeout_s": None}, headers=KEY)
    assert first.json() == again.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(scene.control.asked) == 1


@pytest.mark.parametrize(
    ("name", "device", "body"),
    [("say", BOBS, {"text": "Another text."}), ("say", SHARED, SAY), ("alert", BOBS, {"message": "Dinner"})],
)
async def test_a_key_is_good_for_one_request(name: str, device: str, body: object) -> None:
    scene = Scene()
    await give(scene, "say", json=SAY, headers=KEY)
    assert (await give(scene, name, device=device, json=body, headers=KEY)).status_code == 422
    assert len(scene.control.asked) == 1


async def test_a_key_of_another_caller_is_another_key() -> None:
    scene = Scene()
    await give(scene, "tool", json={"tool": "volume"}, headers=KEY)
    answer = await give(scene, "tool", "ada", json={"tool": "volume"}, headers=KEY)
    assert "idempotency-replayed" not in answer.headers
    assert len(scene.control.asked) == 2
    assert (await give(scene, "tool", "eve", json={"tool": "volume"}, headers=KEY)).status_code == 404


async def test_a_failure_is_a_result_too_and_a_refusal_is_none() -> None:
    scene = Scene()
    for _ in range(2):
        answer = await give(scene, "tool", json={"tool": "refuse"}, headers=KEY)
        assert answer.status_code == 502
    assert len(scene.control.asked) == 1
    scene.control.online.discard(BOBS)
    other = {"Idempotency-Key": "away"}
    assert (await give(scene, "say", json=SAY, headers=other)).status_code == 409
    scene.control.online.add(BOBS)
    assert (await give(scene, "say", json=SAY, headers=other)).status_code == 200


async def test_a_second_request_waits_for_the_first() -> None:
    scene = Scene()
    body = {"tool": "hang"}
    async with client(as_="bob", **scene.parts) as api:
        path = f"/devices/{BOBS}/commands/tool"
        first = asyncio.create_task(api.post(path, json=body, headers=KEY))
        while not scene.control.asked:  # noqa: ASYNC110 - a fake without an event of its own
            await asyncio.sleep(0)
        second = asyncio.create_task(api.post(path, json=body, headers=KEY))
        other = await api.post(path, json={"tool": "volume"}, headers=KEY)
        assert other.status_code == 422
        scene.control.answer.set()
        assert (await first).json() == (await second).json()
    assert len(scene.control.asked) == 1


@pytest.mark.parametrize("key", ["", "x" * 129, "a b", "ü".encode().decode("latin-1")])
async def test_a_key_that_can_not_be_kept_is_refused(key: str) -> None:
    scene = Scene()
    headers = {"Idempotency-Key": key.encode("latin-1")}
    assert (await give(scene, "say", json=SAY, headers=headers)).status_code == 422
    assert scene.control.asked == []


# ── sounds ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_sound_is_played() -> None:
    scene, noted = Scene(), Noted()
    parts = {**scene.parts, "commands": noted, "sound_uploads": Uploads()}
    async with client(as_="bob", **parts) as api:
        path = f"/devices/{BOBS}/commands/notify/audio"
        answer = await api.post(f"{path}?text=Bell&urgent=true", content=b"OggS")
        assert answer.json()["result"] == {"how": "delivered", "notice": "n1"}
        assert (await api.post(path)).status_code == 422
        assert (await api.post(path, content=b"x" * (MAX_UPLOAD_BYTES + 1))).status_code == 413
        assert (await api.post(f"{path}?expires_s=nan", content=b"OggS")).status_code == 422
    (command,) = noted.ran
    assert (command.audio, command.text, command.urgent) == (b"OggS", "Bell", True)


async def test_sounds_at_once_are_bounded() -> None:
    uploads = Uploads()
    parts = {**Scene().parts, "commands": Noted(), "sound_uploads": uploads}
    async with client(as_="bob", **parts) as api:
        for _ in range(MAX_UPLOADS):
            uploads.__enter__()
        path = f"/devices/{BOBS}/commands/notify/audio"
        assert (await api.post(path, content=b"OggS")).status_code == 429
        uploads.__exit__()
        assert (await api.post(path, content=b"OggS")).status_code == 200
