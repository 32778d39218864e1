"""The part of the provider contract that all five roles share: options, limits, start, check and close.

A vendor subclasses one role and implements its one private method; time-outs, retries and metrics are in
`runtime.resilience`, bounds in the roles. PCM is mono `int16[n]`; rates are in Hz.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from mimi_mqtt.config.voice import PriceSettings
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.events import EventBus
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.providers.runtime.resilience import Limits

Role = Literal["vad", "stt", "llm", "tts", "s2s"]


class ProviderOptions(BaseModel):
    """A vendor's typed options, from `providers.options.<name>`; an unknown key is a configuration error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    environment: ClassVar[Mapping[str, str | tuple[str, ...]]] = {}
    """Options whose value comes from an environment variable where the configuration has none.

    Of several variables the first that is set counts.
    """

    required: ClassVar[tuple[str, ...]] = ()
    """Options without which the provider can't be used; `requirements` tells which are missing."""

    instead: ClassVar[Mapping[str, str]] = {}
    """For a required option, another one that makes it needless, as an address does a region."""

    model_option: ClassVar[str] = ""
    """The option that holds the place of a local model, such as `stt_model`; it begins with the role. It also
    takes a name of the catalogue of models, which the registry replaces by the place."""

    by_preset: ClassVar[bool] = False
    """True when `presets` declares the above for each name, as many services share these options."""


class Provider(ABC):
    """The common part of all roles. `name` is the registry's; `Options` the vendor's option model."""

    role: ClassVar[Role]
    Options: ClassVar[type[ProviderOptions]] = ProviderOptions

    packages: ClassVar[tuple[str, ...]] = ()
    """Python packages (their import names) that it can't do without, beyond those always installed."""

    extra: ClassVar[str] = ""
    """The extra that installs `packages`: pip install 'mimi-mqtt[<extra>]'."""

    standby: ClassVar[bool] = False
    """True when it holds a model in memory: in a chain it is started when it is first needed, if a provider
    before it knows its languages."""

    last_resort: ClassVar[bool] = False
    """True when it is always there, and the others of a chain are better: it takes the place of none that is
    only slow, nor is it asked beside it, but for text to speech."""

    has_side_effects: bool = False
    """True when asking the model may itself have side effects, as with a service that switches lights."""

    price: PriceSettings | None = None
    """The price, where `providers.prices` has one; usage is counted in any case."""

    def __init__(self, name: str, options: ProviderOptions, limits: Limits) -> None:
        self.name = name
        self.options = options
        self.limits = limits

    async def start(self) -> None:  # noqa: B027 - not every vendor has something to start
        """Loads models or starts children. Raises ProviderNotConfigured with the cure."""

    async def aclose(self) -> None:  # noqa: B027 - nor to free
        """Frees what `start` took; safe to call twice."""

    def observe(self, events: EventBus) -> None:  # noqa: B027 - one alone is never rested
        """Tells `events` from now on when it is rested for its failures, and when it works again."""

    @abstractmethod
    async def check(self) -> str:
        """Sends the started provider a small real request; a short description for `doctor`.

        Raises ProviderError.
        """


def load_package(module: str, provider: str, extra: str) -> ModuleType:
    """Imports a vendor's package on first use. Raises ProviderNotConfigured that names the extra to install.

    Blocks for as long as the import takes: call it from a thread where that is more than a few milliseconds.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ProviderNotConfigured(
            provider,
            f"the Python package {package} can't be loaded ({error}): pip install 'mimi-mqtt[{extra}]'",
        ) from error


def speaks(languages: frozenset[str] | None, language: str | None) -> bool:
    """True when `language` (such as `pt-BR`) is among `languages` by its primary subtag; None is any."""
    if languages is None or language is None:
        return True
    spoken = primary(language)
    return any(primary(known) == spoken for known in languages)
