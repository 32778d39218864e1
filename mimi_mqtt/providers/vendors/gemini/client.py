"""The common part of all Gemini providers: options, the lazily made client, and ProviderError kinds.

The `google-genai` package is imported by `GeminiClient.get`, in a thread, and nowhere before. It is given an
httpx client of ours: with its own it repeats a failed request by itself, seconds later.
"""

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

import httpx
from pydantic import Field, SecretStr

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.http.client import ClientProvider, LazyClient, http_client, trusted_certificates
from mimi_mqtt.providers.http.errors import readable, status_error
from mimi_mqtt.providers.runtime.resilience import Limits

if TYPE_CHECKING:
    from google.genai.client import AsyncClient
    from google.genai.errors import APIError
    from google.genai.types import FunctionDeclaration, ThinkingConfig

ThinkingLevel = Literal["minimal", "low", "medium", "high"]

_SAMPLE_RATE = 24_000
_RATE = re.compile(r"\brate=(\d{4,5})\b")

WITHHELD = frozenset({"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"})
"""Reasons for an early end of an answer, other than the model's own (FinishReason of the API)."""

OFFICIAL_URL = "https://generativelanguage.googleapis.com"


class GeminiOptions(ProviderOptions):
    """Address and credentials of the service, for all roles."""

    environment: ClassVar[Mapping[str, str | tuple[str, ...]]] = {
        "api_key": ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    }
    required: ClassVar[tuple[str, ...]] = ("api_key",)

    api_key: SecretStr | None = None
    """The key. Empty: the variable GEMINI_API_KEY or GOOGLE_API_KEY."""

    base_url: str = Field(OFFICIAL_URL, pattern=r"^https?://[^/]")
    """Address of the service, where it isn't Google's own."""


class GeminiClient(LazyClient["AsyncClient"]):
    """The SDK's client; one per provider. Raises ProviderNotConfigured without the package or the key.

    `websocket` are arguments of `websockets.connect`, for the Live API.
    """

    def __init__(
        self,
        name: str,
        options: GeminiOptions,
        limits: Limits,
        websocket: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        self._name = name
        self._options = options
        self._limits = limits
        self._websocket = websocket
        self._http: httpx.AsyncClient | None = None

    async def _close(self, made: "AsyncClient") -> None:
        http, self._http = self._http, None
        await made.aclose()
        if http is not None:
            await http.aclose()

    def _make(self) -> "AsyncClient":
        demand(self._name, self._options)
        load_package("google.genai", self._name, "gemini")
        from google.genai import Client
        from google.genai.types import HttpOptions

        self._http = http_client(self._limits)
        trusted = trusted_certificates(httpx.create_ssl_context)
        plain = self._websocket is None
        options = HttpOptions(
            base_url=self._options.base_url,
            api_version="v1beta",  # where Google's guides have speech
            timeout=round(self._limits.timeout_s * 1000),
            httpx_async_client=self._http,
            # The SDK makes its own for each way to ask that it knows, unless it is given one here.
            async_client_args={"verify": trusted, "ssl": trusted} if plain else dict(self._websocket or {}),
        )
        key = self._options.api_key
        return Client(
            api_key="" if key is None else key.get_secret_value(), vertexai=False, http_options=options
        ).aio

    @asynccontextmanager
    async def errors(self) -> AsyncIterator[None]:
        """Turns what the SDK raises inside into ProviderError kinds."""
        from google.genai.errors import APIError

        try:
            yield
        except httpx.TimeoutException as error:
            raise ProviderTimeout(self._name, f"no answer within {self._limits.timeout_s:g} s") from error
        except httpx.TransportError as error:
            cause = type(error).__name__
            where = self._options.base_url
            raise ProviderUnavailable(self._name, f"can't reach {where}, or it hung up ({cause})") from error
        except APIError as error:
            raise self._status_error(error) from error
        except (ValueError, AttributeError, TypeError, LookupError) as error:
            # The text of such an error may hold what was said.
            raise ProviderBadAnswer(
                self._name, f"the answer has an unknown shape ({type(error).__name__})"
            ) from error

    def _status_error(self, error: "APIError") -> ProviderError:
        message = readable(error.message if isinstance(error.message, str) else "", (self._options.api_key,))
        headers = error.response.headers if isinstance(error.response, httpx.Response) else {}
        mapped = status_error(self._name, error.code or 502, message, headers, cures(self._name))
        if isinstance(mapped, ProviderRateLimited) and mapped.retry_after_s is None:
            mapped.retry_after_s = _retry_delay_s(error.details)
        return mapped


class GeminiProvider(ClientProvider):
    """The common part of all roles."""

    packages = ("google.genai",)
    extra = "gemini"
    websocket: ClassVar[Mapping[str, object] | None] = None
    """See `GeminiClient`."""

    _client: GeminiClient

    def __init__(self, name: str, options: GeminiOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._client = GeminiClient(name, options, limits, self.websocket)


def cures(name: str) -> Mapping[int, str]:
    """The cure for an HTTP status."""
    key = f"set GEMINI_API_KEY or providers.options.{name}.api_key"
    return {400: f"if it is the key: {key}", 401: key, 403: key, 404: "see the model names"}


def thinking(level: ThinkingLevel | None, budget: int | None) -> "ThinkingConfig | None":
    """The model's reasoning effort; None: its own default."""
    from google.genai import types

    if level is None and budget is None:
        return None
    return types.ThinkingConfig(
        thinking_level=None if level is None else types.ThinkingLevel(level.upper()), thinking_budget=budget
    )


def functions(tools: Sequence[ToolSpec]) -> "list[FunctionDeclaration]":
    """The tools in Gemini's form."""
    from google.genai.types import FunctionDeclaration

    return [
        FunctionDeclaration(
            name=tool.name,
            description=tool.description,
            parameters_json_schema=dict(tool.parameters) or None,
        )
        for tool in tools
    ]


def pace(speed: float) -> str:
    """`speed` in words: these models take no number; empty for a normal one."""
    if speed >= 1.4:
        return "very fast-paced"
    if speed >= 1.1:
        return "fast-paced"
    if speed <= 0.7:
        return "very slow-paced"
    return "slow-paced" if speed <= 0.9 else ""


def pcm_rate(name: str, kind: str) -> int:
    """The rate in Hz in a type such as `audio/L16;codec=pcm;rate=24000`. Raises ProviderBadAnswer."""
    if not kind.lower().startswith(("audio/l16", "audio/pcm", "audio/wav")):
        raise ProviderBadAnswer(name, f"sent {kind or 'something'} instead of PCM")
    found = _RATE.search(kind)
    return int(found[1]) if found else _SAMPLE_RATE


def _retry_delay_s(answer: object) -> float | None:
    """Seconds from google.rpc.RetryInfo, such as `"retryDelay": "35s"`, within an error's details."""
    error = answer.get("error") if isinstance(answer, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, Iterable) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return max(0.0, float(delay[:-1]))
            except ValueError:
                continue
    return None
