"""The fleet's parts: accounts of the broker, the directory, keys of chips, claims, the log of OTA requests,
connections, ended sessions."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.commands.screenshots import Belonging
from mimi_mqtt.config import Settings
from mimi_mqtt.events import OtaAnswered, OtaRefused
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.browser_devices import BrowserDevices
from mimi_mqtt.fleet.claiming import Claims
from mimi_mqtt.fleet.connection_history import ConnectionHistory
from mimi_mqtt.fleet.device_keys import DeviceKeys
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.ota_log import OtaLog, Request
from mimi_mqtt.fleet.ownership import People, StoredPeople
from mimi_mqtt.fleet.registry import DeviceRegistry
from mimi_mqtt.fleet.session_records import SessionRecord, SessionRecords
from mimi_mqtt.session.attachment import Attachment
from mimi_mqtt.session.live_fleet import ConnectedDevices, audio_report, listed_tools
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.session.session import Session
from mimi_mqtt.store.tables import BOARD_CHARS, OTA_REASON_CHARS, VERSION_CHARS
from mimi_mqtt.store.values import bounded
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.transports.websocket import PATH

_RESEALED_EVERY_S = 60.0


class FleetParts:
    """The fleet's parts, made before the sessions; `join` connects them with the sessions."""

    def __init__(self, settings: Settings, foundation: Foundation) -> None:
        store, credentials = foundation.store, foundation.credentials
        self._foundation = foundation
        self._max_devices = settings.ota.max_devices
        self.accounts = Accounts(settings.accounts, settings.shares, foundation.ledger)
        self.directory = DeviceDirectory(store, credentials, self.accounts)
        self.people: People = StoredPeople(store)
        self.keys = DeviceKeys(store, credentials)
        self.connections = ConnectionHistory(store, foundation.events)
        self.log = OtaLog(
            store, share=settings.shares.waiting_devices_per_address, on_saved=self._requests_saved
        )
        self._records = SessionRecords(store)
        self._resealing = SupervisedLoop("sealing of device keys", self._reseal, every_s=_RESEALED_EVERY_S)

    @property
    def healthy(self) -> bool:
        """True while changes of devices are noticed, requests, connections and sessions recorded, and keys
        sealed."""
        recorded = self.log.healthy and self.connections.healthy and self._records.healthy
        return self.directory.healthy and recorded and self._resealing.healthy

    async def start(self, stack: AsyncExitStack) -> None:
        """Starts the directory and the writers, which `stack` ends. Raises StoreError."""
        stack.callback(self.accounts.close)
        stack.push_async_callback(self.directory.aclose)
        await self.directory.start()
        stack.push_async_callback(self.log.aclose)
        await self.log.start()
        stack.push_async_callback(self.connections.aclose)
        await self.connections.start()
        stack.push_async_callback(self._records.aclose)
        await self._records.start()
        stack.push_async_callback(self._resealing.aclose)
        self._resealing.start()

    def join(self, sessions: SessionManager) -> None:
        """Has ended sessions recorded, and claims reach connected devices."""
        store, directory = self._foundation.store, self.directory
        self.live = ConnectedDevices(sessions)
        self.registry = DeviceRegistry(store, directory, self.live, self.people, has_agent=sessions.has_agent)
        self.browsers = BrowserDevices(
            store, directory, self._foundation.credentials,
            path=PATH, max_devices=self._max_devices, is_connected=sessions.connected,
        )  # fmt: skip
        self.claims = Claims(store, directory, self.live, self._foundation.ledger)
        sessions.on_session_over = self._session_over

    def owner_of(self, device_id: str) -> str:
        """The account that the device belongs to; "" for nobody's."""
        device = self.directory.get(device_id)
        return device.owner_id if device is not None else ""

    def belonging(self, device_id: str) -> Belonging | None:
        """The owner and group of a device; None when there is none of that id."""
        device = self.directory.get(device_id)
        if device is None:
            return None
        return Belonging(device.owner_id, device.group_id)

    def _session_over(self, session: Session, attachment: Attachment | None) -> None:
        if attachment is not None and attachment.is_tester:
            return
        audio = audio_report(session, attachment, asyncio.get_running_loop().time())
        if audio is None:
            return
        tools = listed_tools(attachment) if attachment is not None else None
        self._records.add(
            SessionRecord(session.device_id, datetime.now(UTC), session.end_reason, audio, tools)
        )

    def _requests_saved(self, requests: Sequence[Request]) -> None:
        for each in requests:
            if not each.device_id:
                self._foundation.events.publish(
                    OtaRefused(at=each.at, reason=bounded(each.reason, OTA_REASON_CHARS))
                )
                continue
            told = OtaAnswered(
                at=each.at, device_id=each.device_id, answer=each.answer.value,
                board=bounded(each.board, BOARD_CHARS),
                firmware=bounded(each.firmware_version, VERSION_CHARS),
            )  # fmt: skip
            self._foundation.events.publish(told)

    async def _reseal(self) -> None:
        """After a rotation of the server's secret: keys are sealed with the one in force."""
        await self.keys.reseal()
