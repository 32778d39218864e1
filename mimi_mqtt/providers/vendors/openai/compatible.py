"""The common part of providers over OpenAI's protocol: options, the lazily made client, ProviderError kinds.

The `openai` package is imported by `OpenAiClient.get`, in a thread, and nowhere before.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, SecretStr

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.catalog.presets import preset
from mimi_mqtt.providers.catalog.requirements import demand, variables
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.http.client import ClientProvider, LazyClient, trusted_certificates
from mimi_mqtt.providers.http.errors import readable, status_error
from mimi_mqtt.providers.runtime.resilience import Limits

if TYPE_CHECKING:
    import httpx2
    from openai import APIError, APIStatusError, AsyncOpenAI

OFFICIAL_URL = "https://api.openai.com/v1"

# Servers in the house want no key, but the client wants one.
_PLACEHOLDER_KEY = "none"

_AZURE_V1 = "/openai/v1"


class OpenAiOptions(ProviderOptions):
    """Address and credentials of the service, for all roles."""

    by_preset: ClassVar[bool] = True

    base_url: str | None = Field(None, pattern=r"^https?://[^/]")
    """Address of the service, such as http://localhost:1234/v1. Empty: the vendor's own."""

    api_key: SecretStr | None = None
    """The key. Empty: the vendor's variable, such as OPENAI_API_KEY; a server of your own may need none."""

    organization: str | None = None
    """Organization to bill."""

    project: str | None = None
    """Project to bill."""

    api_version: str | None = None
    """Version of Azure's API; no other service has one."""

    @property
    def official(self) -> bool:
        """True when this is OpenAI itself, with all its parameters, and not a compatible server."""
        return self.base_url is None or self.base_url.rstrip("/") == OFFICIAL_URL


def _http_client(name: str) -> "httpx2.AsyncClient":
    """The SDK's own HTTP client with the shared certificates.

    A server in the house is asked without the proxy of the environment: what is said stays in the house.
    """
    import httpx2
    from openai import DefaultAsyncHttpxClient

    return DefaultAsyncHttpxClient(
        verify=trusted_certificates(httpx2.create_ssl_context), trust_env=not preset(name).in_house
    )


class OpenAiClient(LazyClient["AsyncOpenAI"]):
    """The SDK's client; one per provider. Raises ProviderNotConfigured without the package or the key."""

    def __init__(self, name: str, options: OpenAiOptions, limits: Limits) -> None:
        super().__init__()
        self._name = name
        self._options = options
        self._limits = limits

    async def _close(self, made: "AsyncOpenAI") -> None:
        await made.close()

    def _make(self) -> "AsyncOpenAI":
        demand(self._name, self._options)
        load_package("openai", self._name, "openai")
        client = self._azure() if self._speaks_azure() else self._plain()
        # The SDK falls back to OpenAI's variables, which are no other vendor's business.
        client.organization, client.project = self._options.organization, self._options.project
        # The SDK imports these when they are first touched, which would hold up the event loop.
        _ = (client.chat.completions, client.audio.speech, client.audio.transcriptions)
        return client

    def _speaks_azure(self) -> bool:
        """True when the address is Azure's by deployment; its newer one (…/openai/v1) is like OpenAI's."""
        path = (self._options.base_url or "").rstrip("/")
        return preset(self._name).client == "azure" and not path.endswith(_AZURE_V1)

    def _plain(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI

        key = self._options.api_key
        return AsyncOpenAI(
            api_key=_PLACEHOLDER_KEY if key is None else key.get_secret_value(),
            base_url=self._options.base_url or OFFICIAL_URL,
            timeout=self._limits.timeout_s,
            max_retries=0,
            http_client=_http_client(self._name),
        )

    def _azure(self) -> "AsyncOpenAI":
        from openai import AsyncAzureOpenAI

        key = self._options.api_key
        return AsyncAzureOpenAI(
            api_key=_PLACEHOLDER_KEY if key is None else key.get_secret_value(),
            azure_endpoint=self._options.base_url or "",
            api_version=self._options.api_version,
            timeout=self._limits.timeout_s,
            max_retries=0,
            http_client=_http_client(self._name),
        )

    @asynccontextmanager
    async def errors(self) -> AsyncIterator[None]:
        """Turns what the SDK raises inside into ProviderError kinds."""
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
        if status == 429 and error.code == "insufficient_quota":
            return ProviderRefused(self._name, f"refused with 429: {message}")
        where = f"providers.options.{self._name}"
        named = variables(self._name, type(self._options)).get("api_key", ())
        cures = {
            401: f"set {' or '.join((*named, f'{where}.api_key'))}",
            403: "the key may not do this",
            404: f"see the model names and base_url in {where}",
        }
        return status_error(self._name, status, message, error.response.headers, cures)

    def _stream_error(self, error: "APIError") -> ProviderError:
        """An error event within a stream that had begun well; OpenRouter's code is an HTTP status."""
        code = str(error.code or "")
        status = int(code) if code.isdecimal() else 0
        kind = f"{error.type or ''} {code}"
        message = self._message(error)
        if "rate_limit" in kind or status == 429:
            return ProviderRateLimited(self._name, message)
        if "invalid_request" in kind or (400 <= status < 500 and status != 408):
            return ProviderRefused(self._name, message)
        return ProviderUnavailable(self._name, message)

    def _message(self, error: "APIError") -> str:
        message = error.message
        if isinstance(error.body, dict) and isinstance(error.body.get("message"), str):
            message = error.body["message"]
        return readable(message, (self._options.api_key,))


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


class OpenAiProvider(ClientProvider):
    """The common part of all roles."""

    packages = ("openai",)
    extra = "openai"
    _client: OpenAiClient

    def __init__(self, name: str, options: OpenAiOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._client = OpenAiClient(name, options, limits)
