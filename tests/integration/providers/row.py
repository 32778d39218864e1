"""A row of the contract tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.providers.contract.provider import Role
from tests.servers.vendor import FakeVendor


@dataclass(frozen=True)
class Vendor:
    """One provider as the contract tests see it.

    `options` makes its configuration from its server's URL; `wrong_key` is what to change in it, nothing for
    services without keys. `speaks_http`: its errors are HTTP's, with status codes and Retry-After.
    `says_why`: its client passes on the words of an error. `remote`: it is a service, with a connection that
    can be cut. `tells_language`: the one that was spoken, or that it was made to listen for.
    `streams_answers`: its language model answers in pieces and counts tokens;
    `calls_tools`: ours and not its own. `recites_aside`: it forgets that it was told to say something.
    `arrange` leads a client that takes no address to its server's URL.
    """

    name: str
    server: Callable[[], FakeVendor]
    options: Callable[[str], Mapping[str, Any]]
    wrong_key: Mapping[str, Any]
    streams_transcripts: bool = True
    streams_answers: bool = True
    calls_tools: bool = True
    recites_aside: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    tells_language: bool = True
    speaks_http: bool = True
    says_why: bool = True
    remote: bool = True
    arrange: Callable[[str, pytest.MonkeyPatch], None] = lambda url, patch: None

    def settings(self, role: Role, url: str, **changes: Any) -> ProviderSettings:
        options = {**self.options(url), **self.extra, **changes}
        return ProviderSettings.model_validate({role: self.name, "options": {self.name: options}})
