"""Devices: lists, settings, credentials, owners, and claims by codes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mimi_mqtt.config import AccountSettings
from mimi_mqtt.events import EventBus
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.browser_devices import BrowserDevices
from mimi_mqtt.fleet.claiming import Claims
from mimi_mqtt.fleet.connection_history import ConnectionHistory
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.live import AudioReport, DevicePresence
from mimi_mqtt.fleet.ownership import StoredPeople
from mimi_mqtt.fleet.registry import DeviceRegistry
from mimi_mqtt.session.trace import ControlTraces
from mimi_mqtt.store import devices
from mimi_mqtt.store.tables import Activation, OtaExchange
from tests.fakes.api import MEMBER, STRANGER, KnownCallers
from tests.unit.http.api.isolation.example import Example
from tests.unit.http.api.isolation.house import BOBS, EVES, HOME, NOW, NOWHERE, add, device_of, opened

CODE = "123456"
"""The code that bob's device shows after it was reset."""
NOBODYS = "aa-bb-cc-00-11-03"
"""A device of nobody's, which is connected from bob's address."""
BOBS_BROWSER = "02-00-5e-00-11-01"
BOBS_ADDRESS, EVES_ADDRESS = "192.0.2.1", "192.0.2.2"


class Connected:
    """The connected devices: one, at bob's address. A `LiveFleet` and `NearbyDevices`."""

    def presence(self, device_id: str) -> DevicePresence | None:
        return None

    def online(self) -> Sequence[str]:
        return [NOBODYS]

    def audio(self, device_id: str) -> AudioReport | None:
        return None

    def tools(self, device_id: str) -> Sequence[Mapping[str, object]] | None:
        return None

    async def every_tool(self, device_id: str) -> Sequence[Mapping[str, object]] | None:
        return None

    def connected_from(self, address: str) -> Sequence[str]:
        return [NOBODYS] if address == BOBS_ADDRESS else []

    def show(self, device_id: str, title: str, text: str) -> bool:
        return True


@asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[Mapping[str, object]]:
    """bob's device, of which another client shows a code, eve's, and one of nobody's."""
    async with opened(folder) as store:
        async with store.write() as session:
            await devices.save_changed(session, device_of(NOBODYS, ""), NOW)
            bobs = await devices.get(session, BOBS)
            assert bobs is not None
            bobs.room = "living room"
            await devices.save_changed(session, bobs, NOW)
            browser = device_of(BOBS_BROWSER, "u-bob", "Bob's browser")
            browser.browser = True
            await devices.save_changed(session, browser, NOW)
        asked_at = datetime.now(UTC)  # NOW may be longer ago than a code is good
        activation = Activation(
            device_id=BOBS, client_id="reset", code=CODE, challenge="c", created_at=asked_at,
            asked_at=asked_at, expires_at=asked_at + timedelta(minutes=30),
        )  # fmt: skip
        asked = OtaExchange(device_id=BOBS, at=NOW, answer="mqtt")
        await add(store, [activation], [asked])
        credentials = Credentials(b"s" * 32)
        directory = DeviceDirectory(store, credentials, Accounts(AccountSettings()))
        await directory.refresh()
        connected = Connected()
        traces = ControlTraces()
        traces.close()  # an answer that would go on for ever becomes a refusal
        yield {
            "authenticator": KnownCallers(
                bob=replace(MEMBER, address=BOBS_ADDRESS), eve=replace(STRANGER, address=EVES_ADDRESS)
            ),
            "browsers": BrowserDevices(
                store, directory, credentials, path="/ws", max_devices=100, is_connected=lambda _: False
            ),
            "claims": Claims(store, directory, connected),
            "connections": ConnectionHistory(store, EventBus()),
            "devices": DeviceRegistry(store, directory, connected, StoredPeople(store)),
            "directory": directory,
            "traces": traces,
        }


def _one(what: str = "", json: object = None) -> Example:
    return Example(f"/devices/{BOBS}{what}", fleet, json, nowhere=f"/devices/{NOWHERE}{what}")


def _list(query: str = "") -> Example:
    return Example(f"/devices{query}", fleet, marker=BOBS)


EXAMPLES = {
    "list_ota_requests": Example("/ota-requests", fleet, marker=BOBS),
    "list_devices": _list(),
    "list_devices/search": _list("?search=kitchen"),
    "list_devices/owner": _list("?owner_id=u-bob&sort=-name"),
    "list_devices/offline": _list("?online=false&state=active"),
    "change_devices": Example(
        "/devices", fleet, {"devices": [{"id": EVES, "room": "x"}, {"id": BOBS, "room": "y"}]},
        marker=f'"id":"{BOBS}","status":200',
    ),
    "connect_browser": Example(
        "/me/browser-device", fleet, {"device_id": BOBS_BROWSER}, marker=BOBS_BROWSER
    ),
    "claim_device": Example(
        "/devices/claim", fleet, {"code": CODE}, nowhere="/devices/claim", nowhere_json={"code": "654321"}
    ),
    "show_claim_codes": Example("/devices/claim-codes", fleet, marker='"devices":1'),
    "list_device_labels": Example("/devices/labels", fleet, marker="living room"),
    "read_device": _one(),
    "read_connections": _one("/connections?hours=2"),
    "list_device_tools": _one("/tools"),
    "trace_device": _one("/trace"),
    "change_device": _one("", {"name": "Mine"}),
    "forget_device": _one(),
    "revoke_device": _one("/revoke"),
    "allow_device": _one("/allow"),
    "rotate_device": _one("/rotate"),
    "transfer_device": _one("/owner", {"owner_id": "u-eve"}),
    "transfer_device/nobody": _one("/owner", {"owner_id": "u-nobody"}),
    "share_device": _one("/group", {"group_id": HOME}),
    "share_device/none": _one("/group", {"group_id": None}),
}  # fmt: skip
