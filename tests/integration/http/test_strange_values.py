"""Ids, cursors and texts that PostgreSQL, the stricter one of the databases, refuses: on every operation."""

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from mimi_mqtt.app import App
from mimi_mqtt.config import Settings
from mimi_mqtt.http.api import rates
from mimi_mqtt.http.api.paging import cursor_of
from mimi_mqtt.people.authenticators import FirstOf
from tests.fakes.api import ADMIN
from tests.integration.test_app import boot

pytestmark = [pytest.mark.timeout(180), pytest.mark.databases("postgresql")]

DEVICE = "aa-bb-cc-00-11-01"
IDS = ("%00", "a%00b", "%ED%A0%80", "%FF", "0", "1", str(2**31), str(2**53), str(2**63), "-1", "x" * 300)
TEXTS = ("%00", "%ED%A0%80", "'", "x" * 300)
CURSORS = tuple(
    cursor_of(*key)
    for key in (
        ("\0", "\0"), ("x\0",), ("9" * 30, "z"), (2**31,), (2**63,), (10**30,), (-(10**30), "x"),
        (2**62, "x\0"), ("2026-08-01T00:00:00+00:00", "\0"), ("9999-12-31T23:59:59-23:59", "x"),
        ("0001-01-01", "x"), ("mac", "x\0"),
    )
)  # fmt: skip
SURROGATES = "WyJcdWQ4MDAiLCJcdWQ4MDAiXQ", "WyJcdWQ4MDAiXQ"  # ["\ud800","\ud800"] and ["\ud800"]


async def ada(_: FirstOf, shown: object) -> object:
    del shown
    return ADMIN


@pytest.fixture
async def server(
    tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(FirstOf, "authenticate", ada)
    monkeypatch.setattr(rates, "REQUESTS_PER_S", 100_000.0)
    anywhere = {"bind": "127.0.0.1:0"}
    app = App(
        Settings.model_validate(
            {
                "server": {"data_dir": tmp_path}, "http": anywhere, "mqtt": anywhere, "udp": anywhere,
                "shares": {"http_requests_per_minute": 1_000_000, "http_cpu_percent": 100},
                "store": {"url": migrated_url},
            }
        ),
        {},
    )  # fmt: skip
    await app.start()
    app._parts.streams.close()  # a stream that never ends would never be answered
    try:
        url = f"http://127.0.0.1:{app.http_port}"
        async with httpx.AsyncClient(timeout=60.0, base_url=url, trust_env=False) as client:
            yield client
    finally:
        await app.stop()


def requests_of(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Method and path of every request to try."""
    tried: list[tuple[str, str]] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in ("get", "delete", "post", "put", "patch"):
                continue
            queries = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
            if "{" in path:
                tried += [(method, re.sub(r"\{[^}]+\}", id_, path)) for id_ in IDS]
            if method == "get" and "{" not in path:
                tried += [
                    (method, f"{path}?{query}={text}") for query in queries for text in (*TEXTS, *IDS[4:10])
                ]
                if "cursor" in queries:
                    tried += [(method, f"{path}?cursor={cursor}") for cursor in (*CURSORS, *SURROGATES)]
    return tried


def filled(schema: Mapping[str, Any], document: Mapping[str, Any], word: str, depth: int = 0) -> Any:
    """A value of a schema whose texts are `word` wherever they are free."""
    if "$ref" in schema:
        found = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return filled(found, document, word, depth)
    if "anyOf" in schema:
        return filled(schema["anyOf"][0], document, word, depth)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = schema.get("type")
    if kind == "object" and depth < 5:
        extra = {word: word} if schema.get("additionalProperties") else {}
        known = schema.get("properties", {}).items()
        return {name: filled(each, document, word, depth + 1) for name, each in known} | extra
    if kind == "array":
        return [filled(schema.get("items", {}), document, word, depth + 1)]
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    if kind == "boolean":
        return False
    return {"date-time": "2026-11-27T09:00:00Z", "uri": "http://192.0.2.9"}.get(
        schema.get("format", ""), word
    )


def bodies_of(document: Mapping[str, Any], word: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and body of requests whose texts are `word`: with all fields, and with each one."""
    tried: list[tuple[str, str, dict[str, Any]]] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                continue
            where = re.sub(r"\{[^}]+\}", "1", path.replace("{device_id}", DEVICE))
            whole = filled(content["schema"], document, word)
            tried.append((method, where, whole))
            tried += [(method, where, {name: value}) for name, value in whole.items()]
    return tried


async def failing(
    server: httpx.AsyncClient, tried: Iterable[tuple[str, str, Mapping[str, Any] | None]]
) -> list[str]:
    """The requests that the server failed at."""
    failed = []
    for method, path, body in tried:
        content = json.dumps(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if body is not None else {}
        reply = await server.request(method, f"/api/v1{path}", content=content, headers=headers)
        if reply.status_code >= 500 and not (reply.status_code == 504 and "/commands/" in path):
            failed.append(
                f"{method} {path[:200]} {(content or '')[:300]}: {reply.status_code} {reply.text[:100]}"
            )
    return failed


async def test_no_address_makes_the_server_fail(server: httpx.AsyncClient) -> None:
    document = (await server.get("/openapi.json")).json()
    tried: list[tuple[str, str, Mapping[str, Any] | None]] = [
        (method, path, None if method == "get" else {}) for method, path in requests_of(document)
    ]
    assert len(tried) > 1_000
    assert await failing(server, tried) == []


@pytest.mark.parametrize("word", ["a\0b", "\ud800"], ids=["null", "surrogate"])
async def test_no_text_in_a_body_makes_the_server_fail(server: httpx.AsyncClient, word: str) -> None:
    await boot(server, 1)
    document = (await server.get("/openapi.json")).json()
    tried = bodies_of(document, word)
    assert len(tried) > 100
    assert await failing(server, tried) == []
