"""Errors as problem documents (RFC 9457): `application/problem+json` with a title, a status and a detail."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from mimi_mqtt.errors import (
    CommandRefused,
    ConfigError,
    Conflict,
    FileDamaged,
    FilesError,
    FileTooLarge,
    FleetError,
    Forbidden,
    Invalid,
    LimitReached,
    LoginRefused,
    MimiError,
    NotFound,
    ProviderError,
    ReminderError,
    ReminderStale,
    StoreError,
    ToolError,
)
from mimi_mqtt.store.engine import StoreConflict

MEDIA_TYPE: Final = "application/problem+json"
MAX_PROBLEMS: Final = 10
"""Wrong fields that one document tells."""
MAX_NAMED_CHARS: Final = 64
"""Longest name of a field in a document."""
MAX_PLACE_PARTS: Final = 8
"""Names and indexes by which a document says where a field is; the place of a deeper one is cut."""

SCHEMA: Final[Mapping[str, Any]] = {
    "title": "ProblemDocument",
    "description": "A problem document; further members tell more of some problems.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what to do"},
        "fields": {
            "type": "array",
            "description": "The fields that are wrong",
            "items": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
    "required": ["type", "title", "status", "detail"],
}
"""The schema of a problem document."""

_ITEMS: Final = re.compile("items? after validation")
_QUIET_S: Final = 60.0

_log = logging.getLogger(__name__)

_STATUS: Final[tuple[tuple[type[MimiError], int], ...]] = (
    (NotFound, 404),
    (Forbidden, 403),
    (FleetError, 404),
    (Conflict, 409),
    (StoreConflict, 409),
    (LimitReached, 429),
    (LoginRefused, 429),
    (FileTooLarge, 413),
    (FileDamaged, 410),
    (FilesError, 503),
    (Invalid, 422),
    (CommandRefused, 422),
    (ConfigError, 422),
    (ReminderStale, 409),
    (ReminderError, 422),
    (ProviderError, 502),
    (ToolError, 502),
    (StoreError, 503),
)


class Problem(Exception):
    """An answer that is a problem document; `detail` says what is wrong and what to do."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.more = more or {}
        """Further members of the document."""


def problem_reply(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **more: object
) -> Response:
    """A problem document as a response."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse({**content, **more}, status, headers, media_type=MEDIA_TYPE)


def status_of(error: MimiError) -> int:
    """The status that answers an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Has every error of `app`, which has these routes, answered by a problem document."""
    told: dict[str, float] = {}

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)  # noqa: S101 - registered for it
        return problem_reply(error.status, error.detail, error.headers, **error.more)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        detail, headers = str(error.detail), dict(error.headers or {})
        if error.status_code == 404:
            detail = f"there is nothing at {request.url.path[:200]}: see /docs"
        elif error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(request, routes))
            detail = f"{request.method[:20]} is not possible here, but {headers['Allow']}"
        return problem_reply(error.status_code, detail, headers)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        found = [_field(each) for each in error.errors()[:MAX_PROBLEMS]]
        if any(each.get("type") == "json_invalid" for each in error.errors()):
            return problem_reply(400, f"the body is not JSON: {found[0]['message']}")
        return problem_reply(422, _sentence(found), fields=found)

    async def failed(_: Request, error: Exception) -> Response:
        assert isinstance(error, MimiError)  # noqa: S101 - registered for it
        status = status_of(error)
        if isinstance(error, FilesError):  # the blob store logs it; a message has names of folders
            detail = "files can't be read or written at present: see the server's health and log"
            if isinstance(error, FileDamaged):
                return problem_reply(410, "the file is missing or damaged on the server: see its health")
            return problem_reply(503, detail, {"Retry-After": "10"})
        if isinstance(error, StoreError):  # a message has the database's address, and the names of its parts
            now = time.monotonic()
            if now - told.get(str(status), float("-inf")) > _QUIET_S:
                told[str(status)] = now
                _log.error("%s", error)
            if isinstance(error, StoreConflict):
                detail = "something else was changed at the same moment: look what is there, and try again"
                return problem_reply(status, detail)
            detail = "the server's database does not work: see its log"
            return problem_reply(status, detail, {"Retry-After": "10"})
        if status == 500:
            _log.error("a request of the API failed: %s", error)
        headers = {}
        if isinstance(error, LimitReached | LoginRefused) and error.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        return problem_reply(status, str(error), headers)

    async def broken(_: Request, error: Exception) -> Response:
        # The server logs it with its traceback.
        del error
        return problem_reply(500, "the server made a mistake: see its log")

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(MimiError, failed)
    app.add_exception_handler(Exception, broken)


def wrong_fields(error: ValidationError) -> Problem:
    """The problem document for fields that do not fit a domain's own model."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    found = [_field(each) for each in details[:MAX_PROBLEMS]]
    return Problem(422, _sentence(found), more={"fields": found})


def _sentence(found: Sequence[Mapping[str, str]]) -> str:
    return "; ".join(f"{each['field']}: {each['message']}" for each in found)


def _field(error: Mapping[str, Any]) -> dict[str, str]:
    place = [str(part)[:MAX_NAMED_CHARS] for part in error["loc"][: MAX_PLACE_PARTS + 1] if part != "body"]
    message = str(error["msg"]).removeprefix("Value error, ")
    if message.startswith("Value should have"):  # pydantic's words for the length of a secret text
        message = _ITEMS.sub("characters", message)
    return {
        "field": ".".join(place) or "body",
        "message": message,
        "type": str(error["type"]),
    }


def _methods(request: Request, routes: Sequence[BaseRoute]) -> list[str]:
    """The methods of all routes of the path: Starlette tells those of the first one alone."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    of_path = [route for route in routes if isinstance(route, Route) and route.path_regex.match(path)]
    return sorted({method for route in of_path for method in route.methods or ()})
