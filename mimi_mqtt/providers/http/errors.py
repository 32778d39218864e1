"""What an HTTP answer other than success means, for all vendors that are spoken to over HTTP or WebSocket."""

import json
import math
from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from mimi_mqtt.errors import ProviderError, ProviderRateLimited, ProviderRefused, ProviderUnavailable

_MESSAGE_CHARS = 200
_MESSAGE_KEYS = ("message", "msg", "detail", "err_msg", "error_description", "error", "reason", "description")


def status_error(
    name: str,
    status: int,
    message: str,
    headers: Mapping[str, str],
    cures: Mapping[int, str] | None = None,
) -> ProviderError:
    """The error that `status` stands for; `message` as `readable` makes it; `cures` adds what to do.

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
    except ValueError:
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
