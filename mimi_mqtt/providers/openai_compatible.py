"""What the three OpenAI providers share: options, the lazily made client, and errors in our own terms.

The `openai` package is imported by `OpenAiClient.get`, in a thread, and nowhere before.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, SecretStr

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.base import Limits, ProviderOptions, load_package

if TYPE_CHECKING:
    from openai import APIError, APIStatusError, AsyncOpenAI

OFFICIAL_URL = "https://api.openai.com/v1"

# Servers in the house want no key, but the client wants one.
_PLACEHOLDER_KEY = "none"

_MESSAGE_CHARS = 200


class OpenAiOptions(ProviderOptions):
    """Where the service is and how to be let in; shared by the roles."""

    environment: ClassVar[Mapping[str, str]] = {
        "api_key": "OPENAI_API_KEY",
        "base_url": "OPENAI_BASE_URL",
        "organization": "OPENAI_ORG_ID",
        "project": "OPENAI_PROJECT_ID",
    }

    base_url: str | None = Field(None, pattern=r"^https?://[^/]")
    """Address of a compatible server, such as http://localhost:1234/v1. Empty: OpenAI itself."""

    api_key: SecretStr | None = None
    """The key. Empty: the variable OPENAI_API_KEY; a server of your own may need none."""

    organization: str | None = None
    """Organization to bill."""

    project: str | None = None
    """Project to bill."""

    @property
    def official(self) -> bool:
        """Whether this is OpenAI itself, with all its parameters, and not a compatible server."""
        return self.base_url is None or self.base_url.rstrip("/") == OFFICIAL_URL


class OpenAiClient:
    """The SDK's client, made on first use; one per provider."""

    def __init__(self, name: str, options: OpenAiOptions, limits: Limits) -> None:
        self._name = name
        self._options = options
        self._limits = limits
        self._client: AsyncOpenAI | None = None
        self._making = asyncio.Lock()

    async def get(self) -> "AsyncOpenAI":
        """The client. Raises ProviderNotConfigured without the package or the key."""
        if self._client is None:
            async with self._making:
                if self._client is None:
                    self._client = await asyncio.to_thread(self._make)
        return self._client

    async def aclose(self) -> None:
        """Closes the connections; a later `get` makes a new client."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _make(self) -> "AsyncOpenAI":
        if self._options.api_key is not None:
            key = self._options.api_key.get_secret_value()
        elif not self._options.official:
            key = _PLACEHOLDER_KEY
        else:
            raise ProviderNotConfigured(
                self._name, f"no key: set OPENAI_API_KEY or providers.options.{self._name}.api_key"
            )
        load_package("openai", self._name, "openai")
        from openai import AsyncOpenAI

        client = AsyncOpenAI(
            api_key=key,
            base_url=self._options.base_url or OFFICIAL_URL,
            organization=self._options.organization,
            project=self._options.project,
            timeout=self._limits.timeout_s,
            max_retries=0,
        )
        # The SDK imports these when they are first touched, which would hold up the event loop.
        _ = (client.chat.completions, client.audio.speech, client.audio.transcriptions)
        return client

    @asynccontextmanager
    async def errors(self) -> AsyncIterator[None]:
        """Inside, the SDK is used; outside, there are only ProviderErrors."""
        import httpx2
        from openai import (
            APIConnectionError,
            APIError,
            APIStatusError,
            APITimeoutError,
        )

        try:
            yield
        except (APITimeoutError, httpx2.TimeoutException) as error:
            raise ProviderTimeout(self._name, f"no answer within {self._limits.timeout_s:g} s") from error
        except (APIConnectionError, httpx2.TransportError) as error:
            where = self._options.base_url or OFFICIAL_URL
            cause = type(error.__cause__ or error).__name__
            raise ProviderUnavailable(self._name, f"can't reach {where}, or it hung up ({cause})") from error
        except APIStatusError as error:
            raise self._status_error(error) from error
        except APIError as error:
            raise self._stream_error(error) from error
        except (ValueError, AttributeError, TypeError, LookupError) as error:
            # The SDK doesn't validate: a field that is missing or of another type shows up on use.
            # The text of such an error may hold what was said.
            raise ProviderBadAnswer(
                self._name, f"the answer has an unknown shape ({type(error).__name__})"
            ) from error

    def _status_error(self, error: "APIStatusError") -> ProviderError:
        status, message = error.status_code, self._message(error)
        if status == 429 and error.code != "insufficient_quota":
            retry_after_s = _retry_after_s(error.response.headers)
            return ProviderRateLimited(self._name, f"too many requests: {message}", retry_after_s)
        if status in (408, 409, 425) or status >= 500:
            return ProviderUnavailable(self._name, f"answered {status}: {message}")
        cures = {
            401: f"; set OPENAI_API_KEY or providers.options.{self._name}.api_key",
            403: "; the key may not do this",
            404: f"; see the model names and base_url in providers.options.{self._name}",
        }
        return ProviderRefused(self._name, f"refused with {status}: {message}{cures.get(status, '')}")

    def _stream_error(self, error: "APIError") -> ProviderError:
        """An error event within a stream that had begun well."""
        kind = f"{error.type or ''} {error.code or ''}"
        message = self._message(error)
        if "rate_limit" in kind:
            return ProviderRateLimited(self._name, message)
        if "invalid_request" in kind:
            return ProviderRefused(self._name, message)
        return ProviderUnavailable(self._name, message)

    def _message(self, error: "APIError") -> str:
        message = error.message
        if isinstance(error.body, dict) and isinstance(error.body.get("message"), str):
            message = error.body["message"]
        if self._options.api_key is not None:
            message = message.replace(self._options.api_key.get_secret_value(), "***")
        message = " ".join(message.split())
        return message if len(message) <= _MESSAGE_CHARS else message[:_MESSAGE_CHARS] + "…"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms` or `Retry-After` (RFC 9110, section 10.2.3; dates are left out)."""
    for header, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(header, "")) / divisor
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def parse_arguments(name: str, text: str) -> Mapping[str, object]:
    """A tool call's arguments. Raises ProviderBadAnswer unless they are a JSON object, or nothing."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
        if isinstance(value, str):  # some servers encode twice
            value = json.loads(value) if value.strip() else {}
    except ValueError as error:
        raise ProviderBadAnswer(name, "the arguments of a tool call are not JSON") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProviderBadAnswer(name, "the arguments of a tool call are not a JSON object")
    return value
