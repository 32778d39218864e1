"""The parts that all others use: the database, the server's secret, events and the ledger of refusals."""

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.backup.interrupted import finish
from mimi_mqtt.backup.ports import Installation
from mimi_mqtt.config import Settings
from mimi_mqtt.events import EventBus
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.shares import KnownAddresses, Ledger
from mimi_mqtt.store.engine import Store
from mimi_mqtt.supervision import SupervisedLoop

_LEDGER_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """The database, the secret, events, the ledger of refusals. `environ` has the API keys of providers."""

    environ: Mapping[str, str]
    store: Store
    credentials: Credentials
    events: EventBus
    ledger: Ledger
    known: KnownAddresses
    """Addresses from which devices connected."""
    sweeping: SupervisedLoop

    @classmethod
    async def open(
        cls, settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack
    ) -> "Foundation":
        """Opens the database, which `stack` closes, and reads the secret. Raises BackupError, StartupError
        and StoreError."""
        store = Store(settings.database_url, keep_copies=settings.store.keep_copies)
        await finish(Installation(store, settings.server.data_dir))  # before the secret is read
        credentials = Credentials.load(settings.server.data_dir)
        ledger = Ledger()

        async def sweep() -> None:
            ledger.sweep(time.monotonic())

        sweeping = SupervisedLoop("ledger of refusals", sweep, every_s=_LEDGER_S)
        stack.push_async_callback(sweeping.aclose)
        sweeping.start()
        stack.push_async_callback(store.aclose)
        await store.open()
        return cls(
            environ=environ,
            store=store,
            credentials=credentials,
            events=EventBus(),
            ledger=ledger,
            known=KnownAddresses(),
            sweeping=sweeping,
        )

    def health(self) -> PartHealth:
        """The health of the ledger: if it is swept, and which refusals it has."""
        return PartHealth(self.sweeping.healthy, self.ledger.summary() or "nobody is refused")
