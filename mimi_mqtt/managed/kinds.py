"""The kinds of managed resources, and the check of what a person gives for one: as strict as that of
broker.yaml, with the same sentences. No I/O."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from mimi_mqtt.config import ProviderSettings, Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT, AgentSettings, agent_name_problem
from mimi_mqtt.config.loading import explain_value
from mimi_mqtt.config.voice import PriceSettings
from mimi_mqtt.errors import ConfigError, Invalid
from mimi_mqtt.models.catalog import catalog
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.provider import Role

Kind = Literal["agent", "provider", "price"]

KINDS: Final[tuple[Kind, ...]] = ("agent", "provider", "price")

MAX_OF_KIND: Final[Mapping[Kind, int]] = {"agent": 500, "provider": 200, "price": 200}
"""Most resources of each kind."""
MAX_CONTENT_CHARS: Final = 65_536
"""Longest content of one resource, as JSON."""
MAX_SECRET_CHARS: Final = 4_096
"""Longest key of a provider."""

CHAINS: Final[tuple[Role, ...]] = ("stt", "llm", "tts", "s2s")
"""The roles whose providers an agent chooses."""

_PROVIDER_NAME: Final = re.compile(r"[a-z0-9_]{1,32}(?::[A-Za-z0-9][A-Za-z0-9_.-]{0,47})?")
_SOCKET: Final = "unix:"


def is_address(option: str) -> bool:
    """True for an option that tells where a provider's requests, and so its keys, are sent."""
    return option == "proxy" or option.endswith(("url", "uri"))


def secret_options(name: str) -> frozenset[str]:
    """The options of the provider `name` that are secret."""
    return frozenset(
        option
        for model in registry.option_models(name).values()
        for option, field in model.model_fields.items()
        if field.annotation is not None and SecretStr in _types(field.annotation)
    )


def _types(annotation: object) -> tuple[object, ...]:
    return (annotation, *getattr(annotation, "__args__", ()))


def _paths(name: str) -> frozenset[str]:
    """The options of the provider `name` that are paths of this machine."""
    return frozenset(
        model.model_option for model in registry.option_models(name).values() if model.model_option
    )


# ── what a person gives ──────────────────────────────────────────────────────────────────────────────────


def check_key(kind: Kind, key: str) -> None:
    """Raises Invalid for a key that no resource of the kind can have."""
    if kind == "agent":
        if key != DEFAULT_AGENT and (problem := agent_name_problem(key)):
            raise Invalid(problem)
        return
    if not _PROVIDER_NAME.fullmatch(key) or not registry.option_models(key):
        known = ", ".join(sorted({name for role in CHAINS for name in registry.known(role)}))
        raise Invalid(
            f"there is no provider {key[:64]!r}; known are {known}, each with a label too, as openai:house"
        )


def checked_content(
    kind: Kind, key: str, content: Mapping[str, object], base: Settings, environ: Mapping[str, str]
) -> dict[str, object]:
    """`content` as it is kept, in JSON. Raises Invalid with a sentence for each field that is wrong.

    `base` are the settings of broker.yaml and the environment.
    """
    given = _plain(content)
    if len(json.dumps(given)) > MAX_CONTENT_CHARS:
        raise Invalid(f"{kind} {key}: longer than {MAX_CONTENT_CHARS} characters")
    match kind:
        case "agent":
            return parsed_agent(given).model_dump(mode="json", exclude_unset=True)
        case "price":
            return parsed_price(given).model_dump(mode="json", exclude_unset=True)
        case "provider":
            _check_provider(key, given, base, environ)
            return given


def parsed_agent(content: Mapping[str, object]) -> AgentSettings:
    """The settings of an agent, only those keys that it was given. Raises Invalid.

    Its prompt is compiled and tried out, which takes some ms: agents that were parsed before are remembered.
    """
    return _parsed_agent(json.dumps(_plain(content)))


@lru_cache(maxsize=MAX_OF_KIND["agent"])
def _parsed_agent(content: str) -> AgentSettings:
    try:
        agent = AgentSettings.model_validate(_with_numbers(json.loads(content)))
        for key, role, names in own_chains(agent):
            registry.check_names(role, names, key)
    except ValidationError as error:
        raise _invalid(error, AgentSettings) from None
    except ConfigError as error:
        raise Invalid(str(error)) from None
    return agent


def _with_numbers(content: dict[str, object]) -> dict[str, object]:
    """`content`. Raises Invalid for a text in place of a number, which is right in a variable alone."""
    for name in ("speed", "end_silence_ms"):
        value = content.get(name)
        for each in value.values() if isinstance(value, dict) else (value,):
            if isinstance(each, str | bool):
                raise Invalid(f"{name}: must be a number")
    return content


def parsed_price(content: Mapping[str, object]) -> PriceSettings:
    """The prices of a provider. Raises Invalid."""
    try:
        return PriceSettings.model_validate(content, strict=True)
    except ValidationError as error:
        raise _invalid(error, PriceSettings) from None


def own_chains(agent: AgentSettings) -> Sequence[tuple[str, Role, tuple[str, ...]]]:
    """The providers that an agent names itself: the key, the role that they play, and their names."""
    return (
        ("stt", "stt", agent.stt),
        ("llm", "llm", agent.llm),
        ("tts", "tts", agent.tts),
        ("s2s", "s2s", (agent.s2s,) if agent.s2s else ()),
        ("vision", "llm", agent.vision),
    )


def _invalid(error: ValidationError, model: type[AgentSettings] | type[PriceSettings]) -> Invalid:
    problems = error.errors(include_url=False, include_context=False)
    return Invalid("; ".join(explain_value(problem, model) for problem in problems[:10]))


def _check_provider(
    name: str, options: Mapping[str, object], base: Settings, environ: Mapping[str, str]
) -> None:
    secrets, paths = secret_options(name), _paths(name)
    for option, value in options.items():
        if option in secrets:
            raise Invalid(f"{option}: is secret: give it among the secrets")
        if option in paths and value is not None and value not in catalog():
            raise Invalid(
                f"{option}: must be the name of a local model, as `mimi-mqtt models` lists them; the path of "
                "a file of this machine is set in broker.yaml"
            )
        if is_address(option) and isinstance(value, str):
            _check_address(option, value)
    alone = base.providers.model_copy(update={"options": {name: dict(options)}})
    check_provider_options(name, alone, environ)


def check_provider_options(name: str, settings: ProviderSettings, environ: Mapping[str, str]) -> None:
    """Raises Invalid when the options that `settings` have for the provider `name` are wrong."""
    try:
        registry.check_options(name, settings, environ)
    except ConfigError as error:
        lines = dict.fromkeys(str(error).splitlines())
        raise Invalid("; ".join(line.removeprefix(f"providers.options.{name}.") for line in lines)) from None


def _check_address(option: str, address: str) -> None:
    if address.startswith(_SOCKET):
        raise Invalid(f"{option}: a socket of this machine is set in broker.yaml")
    try:
        parts = urlsplit(address)
        has_user = parts.username is not None or parts.password is not None
    except ValueError:
        raise Invalid(f"{option}: is not an address") from None
    if has_user:
        raise Invalid(f"{option}: must not hold a user name or password: it is not kept encrypted")


def checked_secrets(name: str, secrets: Mapping[str, str | None]) -> None:
    """Raises Invalid for secrets that the provider `name` does not have, or that can't be one."""
    known = secret_options(name)
    for option, text in secrets.items():
        if option not in known:
            there = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise Invalid(f"{option[:64]}: {name} has no such secret; {there}")
        if text is None:
            continue
        if not text.strip() or len(text) > MAX_SECRET_CHARS:
            raise Invalid(f"{option}: must have 1 to {MAX_SECRET_CHARS} characters; null removes it")
        if not (text.isascii() and text.isprintable()):
            raise Invalid(f"{option}: must be printable ASCII, without line breaks: was it copied whole?")


def _plain(content: Mapping[str, object]) -> dict[str, object]:
    """`content` as JSON. Raises Invalid for what is none, or what a database does not take."""
    try:
        plain: dict[str, object] = json.loads(json.dumps(dict(content), allow_nan=False))
        text = json.dumps(plain, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        raise Invalid("a text holds half of a pair of surrogates") from None
    except (ValueError, TypeError, RecursionError):
        raise Invalid("the content is not JSON: numbers must be finite") from None
    if any("\0" in each for each in _texts(plain)):
        raise Invalid("a text holds the character U+0000")
    return plain


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
