"""The Speech resource that both roles of Azure ask: its options, addresses and key."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, SecretStr

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.contract.provider import ProviderOptions


class AzureSpeechOptions(ProviderOptions):
    """Options of `providers.options.azure` for both roles."""

    environment: ClassVar[Mapping[str, str]] = {
        "speech_key": "AZURE_SPEECH_KEY",
        "speech_region": "AZURE_SPEECH_REGION",
    }
    required: ClassVar[tuple[str, ...]] = ("speech_key", "speech_region")

    speech_key: SecretStr | None = None
    """Key of the Speech resource. Empty: the variable AZURE_SPEECH_KEY."""

    speech_region: str | None = Field(None, pattern=r"^[a-z0-9-]+$")
    """Region of the Speech resource, such as westeurope. Empty: the variable AZURE_SPEECH_REGION."""


class SpeechResource:
    """The resource as the provider `name` reaches it: by `own_url`, if set, else the region's `subdomain`."""

    def __init__(self, name: str, options: AzureSpeechOptions, subdomain: str, own_url: str | None) -> None:
        self._where = f"providers.options.{name}"
        self._name = name
        self._options = options
        self._subdomain = subdomain
        self._own_url = own_url
        wrong_key = f"set AZURE_SPEECH_KEY or {self._where}.speech_key, and the key's own region"
        self.cures: Mapping[int, str] = {401: wrong_key, 403: wrong_key}
        """By HTTP status, what to do about it."""

    def url(self, path: str) -> str:
        """The address of `path`. Raises ProviderNotConfigured without a region."""
        if self._own_url is not None:
            return self._own_url.rstrip("/") + path
        region = self._options.speech_region
        if region is None:
            raise ProviderNotConfigured(
                self._name, f"no region: set AZURE_SPEECH_REGION or {self._where}.speech_region"
            )
        return f"https://{region}.{self._subdomain}.speech.microsoft.com{path}"

    def key_header(self) -> Mapping[str, str]:
        """The header with the key. Raises ProviderNotConfigured without one."""
        key = self._options.speech_key
        if key is None:
            raise ProviderNotConfigured(
                self._name, f"no key: set AZURE_SPEECH_KEY or {self._where}.speech_key"
            )
        return {"Ocp-Apim-Subscription-Key": key.get_secret_value()}
