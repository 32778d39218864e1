"""Accounts of people and the memory of companion servers, as one part of the server."""

from contextlib import AsyncExitStack

from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.config import Settings
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.memory.companion import CompanionMemory
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authenticators import CommandLine, FirstOf


class PeopleParts:
    """People's accounts, the authenticator of all callers, and conversations that companion servers save."""

    def __init__(self, settings: Settings, foundation: Foundation) -> None:
        store, credentials = foundation.store, foundation.credentials
        self.companion = CompanionMemory(store, keep_days=settings.companion.keep_days)
        self.accounts = Accounts.build(
            store, credentials, people=settings.people, oidc=settings.oidc, shares=settings.shares,
            ledger=foundation.ledger,
        )  # fmt: skip
        self.authenticator = FirstOf(
            CommandLine(credentials.check_command_line_password), self.accounts.authenticator
        )

    def start(self, stack: AsyncExitStack) -> None:
        """Starts their upkeep, which `stack` ends."""
        stack.push_async_callback(self.companion.aclose)
        self.companion.start()
        stack.push_async_callback(self.accounts.aclose)
        self.accounts.start()

    def health(self) -> PartHealth:
        """The health of the accounts."""
        return PartHealth(self.accounts.healthy, "sessions, keys and audit")
