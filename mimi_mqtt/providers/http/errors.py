"""Failures of HTTP and WebSocket requests as the kinds of ProviderError, for all vendors."""

import json
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

import httpx
from pydantic import SecretStr
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.runtime.resilience import Limits

# RFC 6455, section 7.4.1.
_POLICY_VIOLATION = 1008
_MESSAGE_TOO_BIG = 1009

_MESSAGE_CHARS = 200
_MESSAGE_KEYS = ("message", "msg", "detail", "err_msg", "error_description", "error", "reason", "description")


def status_error(
    name: str,
    status: int,
    message: str,
    headers: Mapping[str, str],
    cures: Mapping[int, str] | None = None,
) -> ProviderError:
    """The error that `status` stands for; `message` as `readable` makes it; `cures` by status.

    Header names are looked up in lower case. 429 carries the vendor's own time; 408, 409, 425 and 5xx may
    pass by themselves; all else is a refusal (RFC 9110, section 15).
    """
    said = f": {message}" if message else ""
    if status == 429:
        return ProviderRateLimited(name, f"too many requests{said}", retry_after_s(headers))
    if status in (408, 409, 425) or status >= 500:
        return ProviderUnavailable(name, f"answered {status}{said}")
    cure = (cures or {}).get(status)
    return ProviderRefused(name, f"refused with {status}{said}{'; ' + cure if cure else ''}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms` or `Retry-After` (RFC 9110, section 10.2.3; dates are left out)."""
    for header, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(header, "")) / divisor
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def readable(body: bytes | str, secrets: Sequence[SecretStr | None] = ()) -> str:
    """A vendor's complaint as one short line, without `secrets`; empty for a body that is no complaint."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        text = _message(json.loads(text))
    except (ValueError, RecursionError):
        if text.lstrip().startswith("<"):  # a proxy's page says no more than the status
            return ""
    for secret in secrets:
        if secret is not None and secret.get_secret_value():
            text = text.replace(secret.get_secret_value(), "***")
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_CHARS else text[:_MESSAGE_CHARS] + "…"


def _message(value: object, depth: int = 3) -> str:
    """The message within an error's JSON, whichever of the usual names it has."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and depth:
        for key in _MESSAGE_KEYS:
            if key in value and (found := _message(value[key], depth - 1)):
                return found
    if isinstance(value, list) and value and depth:
        return _message(value[0], depth - 1)
    return ""


@asynccontextmanager
async def http_errors(name: str, limits: Limits, where: str) -> AsyncIterator[None]:
    """Turns what httpx raises inside into ProviderError kinds. `where` is the address of the request."""
    try:
        yield
    except httpx.TimeoutException as error:
        not_sent = isinstance(error, httpx.ConnectTimeout)
        raise ProviderTimeout(name, f"no answer within {limits.timeout_s:g} s", not_sent=not_sent) from error
    except httpx.ConnectError as error:
        raise ProviderUnavailable(name, f"can't reach {where}", not_sent=True) from error
    except httpx.TransportError as error:
        raise ProviderUnavailable(name, f"{where} hung up ({type(error).__name__})") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderBadAnswer(
            name, f"{where} answered in an unknown way ({type(error).__name__})"
        ) from error


@contextmanager
def websocket_errors(
    name: str,
    url: str,
    *,
    secrets: Sequence[SecretStr | None] = (),
    cures: Mapping[int, str] | None = None,
) -> Iterator[None]:
    """Turns what a connection to `url` raises inside into ProviderError kinds.

    `cures` are by HTTP status. A TimeoutError passes: the time-out is the caller's.
    """
    try:
        yield
    except InvalidStatus as error:
        response = error.response
        message = readable(bytes(response.body or b""), secrets)
        if response.status_code < 400:
            raise ProviderBadAnswer(
                name, f"{_place(url)} is no WebSocket service (HTTP {response.status_code})"
            ) from error
        answered = {key.lower(): value for key, value in response.headers.raw_items()}
        raise status_error(name, response.status_code, message, answered, cures) from error
    except InvalidMessage as error:
        if isinstance(error.__cause__, EOFError):
            raise ProviderUnavailable(name, f"{_place(url)} hung up") from error
        raise ProviderBadAnswer(name, f"{_place(url)} is no WebSocket service") from error
    except (InvalidURI, InvalidHandshake) as error:
        raise ProviderBadAnswer(name, f"{_place(url)} is no WebSocket service") from error
    except ConnectionClosed as error:
        if error.sent is not None and error.sent.code == _MESSAGE_TOO_BIG:
            raise ProviderBadAnswer(name, "an answer of more than 1 MiB") from error
        closed = error.rcvd
        message = readable(closed.reason, secrets) if closed else ""
        if closed is not None and closed.code == _POLICY_VIOLATION:
            raise ProviderRefused(name, f"refused: {message or closed.code}") from error
        why = f"{closed.code} {message}".strip() if closed else "connection lost"
        raise ProviderUnavailable(name, f"hung up in the middle ({why})") from error
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        cause = error.strerror or type(error).__name__
        raise ProviderUnavailable(name, f"can't reach {_place(url)} ({cause})") from error


def _place(url: str) -> str:
    return url.partition("?")[0]
