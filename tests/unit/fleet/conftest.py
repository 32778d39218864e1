from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from mimi_mqtt.config import AccountSettings, OtaSettings
from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.firmware_offers import FirmwareOffers
from mimi_mqtt.fleet.ota_log import OtaLog
from mimi_mqtt.fleet.provisioning import Endpoints, Provisioner
from mimi_mqtt.shares import Ledger
from mimi_mqtt.store.engine import Store
from mimi_mqtt.wire.ota import ActivationSection, OtaRequest, OtaResponse

MAC = "aa:bb:cc:00:11:22"
DEVICE = "aa-bb-cc-00-11-22"


@dataclass
class Clock:
    """A clock that tests move."""

    now: datetime = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@dataclass
class Fleet:
    """A server's fleet on a database of its own, without the network."""

    store: Store
    credentials: Credentials
    directory: DeviceDirectory
    clock: Clock
    revoked: list[str] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    def provisioner(
        self,
        *,
        new_devices: Literal["allow", "activate", "locked"] = "allow",
        transport: Literal["mqtt", "websocket"] = "mqtt",
        max_devices: int = 100,
        endpoints: Endpoints | None = None,
        timezone: str | None = None,
        waiting_share: int = 100,
        activate_by_hmac: bool = True,
        log: OtaLog | None = None,
        offers: FirmwareOffers | None = None,
        is_public: bool = False,
    ) -> Provisioner:
        return Provisioner(
            self.store,
            self.directory,
            self.credentials,
            endpoints or Endpoints(mqtt_port=1883, udp_port=8884),
            OtaSettings(
                new_devices=new_devices,
                transport=transport,
                max_devices=max_devices,
                activate_by_hmac=activate_by_hmac,
            ),
            shares=SharesSettings(waiting_devices_per_address=waiting_share),
            ledger=self.ledger,
            keepalive_s=240,
            timezone=timezone,
            log=log,
            offers=offers,
            is_public=lambda host: is_public,
            clock=self.clock,
        )


def asking(client_id: str = "uuid-1", mac: str = MAC, **headers: str) -> OtaRequest:
    """An OTA request of a stock device."""
    head = {"Device-Id": mac, "User-Agent": "bread-compact-wifi/2.0.4", "Accept-Language": "en-US"}
    if client_id:
        head["Client-Id"] = client_id
    return OtaRequest.from_http(
        head | {name.replace("_", "-"): text for name, text in headers.items()}, b"{}"
    )


def password_of(response: OtaResponse) -> bytes:
    """The MQTT password a response carries."""
    assert response.mqtt is not None
    return response.mqtt.password.encode()


async def code_for(
    provisioner: Provisioner, client_id: str, mac: str = MAC, address: str = "10.0.0.9"
) -> ActivationSection:
    response = await provisioner.provision(asking(client_id, mac), "10.0.0.1", address=address)
    assert response.mqtt is None
    assert response.activation is not None
    return response.activation


@pytest.fixture
async def fleet(tmp_path: Path, migrated_url: str) -> AsyncIterator[Fleet]:
    store = Store(migrated_url)
    await store.open()
    credentials = Credentials.load(tmp_path)
    directory = DeviceDirectory(store, credentials, Accounts(AccountSettings()))
    found = Fleet(store, credentials, directory, Clock())
    directory.on_revoked = found.revoked.append
    await directory.start()
    yield found
    await directory.aclose()
    await store.aclose()
