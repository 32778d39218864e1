"""Sends a request to the REST API of the running server, with this machine's own token, and prints the reply.

  mimi-mqtt api server
  mimi-mqtt api devices/aa-bb-cc-00-11-22/commands/say -d '{"text": "Dinner is ready."}'
  mimi-mqtt api devices --all
  mimi-mqtt api 'events?types=turn_ended'
  mimi-mqtt api --document > openapi.json

PATH is what follows /api/v1; http://SERVER/docs has them all. The token is made of the server's secret: who
can read that file administers the server. An event stream is printed until Ctrl-C.
"""

import argparse
import json
import mimetypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from mimi_mqtt.cli.asking import command_line_password, no_server, other_secret, server_address
from mimi_mqtt.config import Settings, load_settings
from mimi_mqtt.errors import MimiError
from mimi_mqtt.http.api.loading import API_PREFIX
from mimi_mqtt.people.authenticators import COMMAND_LINE_PREFIX

TIMEOUT_S: Final = 70.0
"""Longest wait for the answer, in seconds: that of the longest command and some more."""
MAX_SHOWN_CHARS: Final = 2_000
"""Longest text of an error that is no problem document."""

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
_JSON: Final = "application/json"
_PIECE_BYTES: Final = 65_536


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the request."""
    parser.add_argument("path", metavar="PATH", nargs="?", help="such as devices or sessions?limit=10")
    parser.add_argument(
        "--document", action="store_true", help="print the OpenAPI document of this version; needs no server"
    )
    parser.add_argument("-X", "--method", type=str.upper, choices=_METHODS, help="default: GET, with -d POST")
    parser.add_argument(
        "-d", "--data", metavar="JSON|@FILE", help="the body: JSON, or a file; @- reads standard input"
    )
    parser.add_argument(
        "-H", "--header", action="append", default=[], metavar="NAME: VALUE", help="a further header"
    )
    parser.add_argument("--all", action="store_true", help="follow a list to its end, and print its items")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0; raises MimiError with what the server says is wrong."""
    if args.document:
        print(json.dumps(_document(), indent=1, ensure_ascii=False))
        return 0
    if args.path is None:
        raise MimiError("name a PATH, such as devices, or --document")
    path = _path(args.path)
    method = args.method or ("GET" if args.data is None else "POST")
    if args.all and method != "GET":
        raise MimiError("--all is for lists, which are read by GET")
    headers = _headers(args.header)
    content = None
    if args.data is not None:
        content, kind = _body(args.data)
        headers.setdefault("content-type", kind)
    settings = load_settings(args.config, os.environ)
    where = server_address(settings)
    try:
        with httpx.Client(base_url=f"http://{where}", timeout=TIMEOUT_S, trust_env=False) as client:
            if args.all:
                _print_all(client, settings, where, path, headers)
            else:
                _print_one(client, settings, where, client.build_request(
                    method, path, headers=headers | _token(settings), content=content
                ))  # fmt: skip
    except httpx.HTTPError as error:
        raise MimiError(no_server(where, str(error) or type(error).__name__)) from error
    except httpx.InvalidURL as error:
        raise MimiError(f"{args.path[:80]!r} is no path: {error}") from error
    return 0


def _document() -> dict[str, Any]:
    from mimi_mqtt.http.api.app import document  # FastAPI takes its time to load

    return document()


def _path(text: str) -> str:
    if "://" in text:
        raise MimiError("PATH is what follows /api/v1, such as devices, and no whole address")
    text = "/" + text.lstrip("/")
    if not (text + "/").startswith(API_PREFIX + "/") and not text.startswith(API_PREFIX + "?"):
        text = API_PREFIX + text
    return quote(text, safe="/?&=%:,;@!$'()*+-._~[]")


def _headers(given: list[str]) -> dict[str, str]:
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        try:
            httpx.Headers({name.strip(): value.strip()})
            usable = bool(colon) and name.strip().isascii() and bool(name.strip()) and text.isprintable()
        except (ValueError, UnicodeError):
            usable = False
        if not usable:
            raise MimiError(f"-H {text[:80]!r}: write it as 'Name: value'")
        headers[name.strip().lower()] = value.strip()
    return headers


def _body(data: str) -> tuple[bytes | Iterator[bytes], str]:
    """The body and its media type. Raises MimiError."""
    if not data.startswith("@"):
        try:
            json.loads(data)
        except ValueError as error:
            raise MimiError(f"-d is not JSON: {error}; a file is named as @FILE") from error
        return data.encode(), _JSON
    if data == "@-":
        return sys.stdin.buffer.read(), _JSON
    file = Path(data[1:])
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise MimiError(f"-d: {file} can't be read: {error.strerror}") from error
    return _pieces(file), kind


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while piece := source.read(_PIECE_BYTES):
            yield piece


def _token(settings: Settings) -> dict[str, str]:
    return {"authorization": f"Bearer {COMMAND_LINE_PREFIX}{command_line_password(settings)}"}


def _print_one(client: httpx.Client, settings: Settings, where: str, request: httpx.Request) -> None:
    answer = client.send(request, stream=True)
    try:
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if answer.is_error or answer.is_redirect:
            raise _refused(answer, settings, where)
        if kind == "text/event-stream":
            # Events may be far apart: the server sends a comment every 15 s.
            for text in answer.iter_text():
                print(text, end="", flush=True)
        elif kind.endswith("json"):
            if answer.read():  # there is none after a deletion, and by HEAD
                print(json.dumps(answer.json(), indent=2, ensure_ascii=False))
        else:
            for piece in answer.iter_bytes():
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    finally:
        answer.close()


def _print_all(
    client: httpx.Client, settings: Settings, where: str, path: str, headers: dict[str, str]
) -> None:
    """Prints the items of all pages as one JSON array, as they come."""
    cursor: str | None = None
    first = True
    print("[", end="")
    while True:
        url = httpx.URL(path)
        if cursor is not None:
            url = url.copy_set_param("cursor", cursor)
        answer = client.get(url, headers=headers | _token(settings))
        if answer.is_error or answer.is_redirect:
            print()
            raise _refused(answer, settings, where)
        page = answer.json() if answer.headers.get("content-type", "").startswith(_JSON) else None
        if not isinstance(page, dict) or not isinstance(page.get("items"), list):
            print("]")
            raise MimiError("--all: the answer is no list with pages; leave the option out")
        for item in page["items"]:
            print(("" if first else ",") + "\n" + json.dumps(item, indent=2, ensure_ascii=False), end="")
            first = False
        cursor = page.get("next")
        if cursor is None:
            break
    print("\n]")


def _refused(answer: httpx.Response, settings: Settings, where: str) -> MimiError:
    """The error of an answer that is a refusal."""
    answer.read()
    if answer.status_code == 401:
        return MimiError(other_secret(settings, where))
    try:
        told: Any = answer.json()
    except ValueError:
        told = None
    detail = (told.get("detail") or told.get("error")) if isinstance(told, dict) else None
    text = str(detail or answer.text)[:MAX_SHOWN_CHARS]
    return MimiError(f"{answer.status_code} {answer.reason_phrase}: {text}")
