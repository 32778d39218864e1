"""Checks of the addresses of providers: speech, prompts and keys must not cross the internet in clear."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, get_args
from urllib.parse import urlsplit

from mimi_mqtt.cli.security.finding import Finding
from mimi_mqtt.cli.security.reach import Reach, of_name
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import MimiError
from mimi_mqtt.providers.catalog.registry import build
from mimi_mqtt.providers.catalog.selection import different, select_providers, with_providers
from mimi_mqtt.providers.contract.provider import Role

_IN_CLEAR: Final = re.compile(r"(?:http|ws|tcp)://\S+", re.IGNORECASE)


def examine(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """A finding for each provider in use whose address is public and without TLS, or one that there is
    none."""
    what = "providers' addresses"
    try:
        found = dict(_public_in_clear(settings, environ))
    except MimiError as error:
        return [Finding("advice", what, f"can't be known: {error}", "run `mimi-mqtt doctor`")]
    if not found:
        return [Finding("ok", what, "none is reached over the internet without TLS")]
    cure = "use its https:// or wss:// address: speech, answers and its key can be read on the way"
    return [Finding("warning", what, f"{key} is {_shown(address)}", cure) for key, address in found.items()]


def _public_in_clear(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    asked = select_providers(settings, environ)
    roles: tuple[Role, ...] = get_args(Role)
    for role in roles:
        for name in dict.fromkeys(name for chain in different(asked, role) for name in chain):
            provider = build(role, with_providers(settings.providers, role, [name]), environ)
            for option, value in provider.options.model_dump().items():
                if isinstance(value, str) and _IN_CLEAR.fullmatch(value) and _is_public(value):
                    yield f"providers.options.{name}.{option}", value


def _is_public(address: str) -> bool:
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return False
    return host is not None and of_name(host) is Reach.INTERNET


def _shown(address: str) -> str:
    """The address without a password or query in it."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "") + parts.path
