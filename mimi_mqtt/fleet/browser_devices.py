"""Browsers as devices: each account has a few, made when a browser first talks, and removed as any device.

A browser device has a random, locally administered MAC address and a Client-Id that nobody is told, so that
no OTA request gets its lasting credentials. Its connections are opened by short-lived tokens
(`fleet.browser_tokens`).
"""

import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from mimi_mqtt import __version__
from mimi_mqtt.errors import Conflict, Forbidden, LimitReached, ProtocolError
from mimi_mqtt.fleet.browser_tokens import LIFETIME_S, BrowserTokens
from mimi_mqtt.fleet.credentials import Credentials, first_epoch
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.rights import Rights
from mimi_mqtt.store import audit, devices, people, tables
from mimi_mqtt.store.devices import Boot
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from mimi_mqtt.store.values import bounded
from mimi_mqtt.wire.topics import device_id_from_mac

BOARD: Final = "browser"
"""The board that a browser device is shown with."""
MAX_PER_ACCOUNT: Final = 5
"""Browser devices of one account. A further browser is given the one that was not seen for longest."""

_NAME_CHARS: Final = tables.NAME_CHARS - 4  # room for a number


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser's data about itself. `device_id` is the device that it was before, "" for none; `name` is one
    for a new device, `language` that of its page; `origin` and `host` are the server's as it reached it."""

    device_id: str = ""
    name: str = ""
    language: str = ""
    origin: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class BrowserAccess:
    """Access of a browser: `path` is that of the WebSocket; the token opens it for `lifetime_s` seconds."""

    device: Device
    path: str
    token: str = field(repr=False)
    lifetime_s: int = LIFETIME_S


class BrowserDevices:
    """The browser devices of accounts. `path` is the WebSocket's, `max_devices` the bound of all
    devices. `is_connected` tells whether a device is in use."""

    def __init__(
        self,
        store: Store,
        directory: DeviceDirectory,
        credentials: Credentials,
        *,
        path: str,
        max_devices: int,
        is_connected: Callable[[str], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._directory = directory
        self._tokens = BrowserTokens(credentials)
        self._path = path
        self._max_devices = max_devices
        self._is_connected = is_connected
        self._clock = clock

    async def connect(self, browser: Browser, person: str, rights: Rights) -> BrowserAccess:
        """The caller's device for this browser, which is made where there is none, and a token for it.
        `person` is his name.

        Raises Forbidden for somebody without an account, or whose account is disabled, Conflict for a device
        that was disabled, and LimitReached when the server has no room for another device.
        """
        if not rights.user_id:
            raise Forbidden("a browser device belongs to an account: sign in as a person")
        now = datetime.fromtimestamp(self._clock(), UTC)
        async with self._store.write() as session:
            # Locked: of two browsers at once each would find room. A node may know of the disabling later.
            user = await people.user(session, rights.user_id, lock=True)
            if user is not None and user.disabled:
                raise Forbidden("the account is disabled")
            own = await devices.browsers_of(session, rights.user_id)
            device = self._chosen(own, browser.device_id)
            if device is None:
                if await devices.count(session) >= self._max_devices:
                    raise LimitReached(
                        f"{self._max_devices} devices are registered already: remove some, or raise "
                        "ota.max_devices on the server"
                    )
                device = _new(browser, _name(browser.name or f"{person}'s browser", own), rights, now)
                audit.record(
                    session, rights.author, "device.register", f"device:{device.id}",
                    after={"owner_id": device.owner_id, "board": BOARD},
                )  # fmt: skip
                await devices.save_changed(session, device, now)
        if not device.allowed:
            raise Conflict(f"{device.name} is disabled: allow it again among the devices")
        self._directory.apply(device)
        self._directory.booted(
            Boot(
                device_id=device.id,
                client_id=device.client_id,
                at=now,
                board=BOARD,
                board_name=BOARD,
                firmware_version=__version__,
                host=browser.host,
                origin=browser.origin,
                language=browser.language,
            )
        )
        token = self._tokens.token(device.id, device.epoch, self._clock())
        return BrowserAccess(device, self._path, token)

    def _chosen(self, own: Sequence[Device], device_id: str) -> Device | None:
        """The device that this browser was; at the bound one that nobody uses; None: a new one is made."""
        for device in own:
            if device.id == _canonical(device_id):
                return device
        if len(own) < MAX_PER_ACCOUNT:
            return None
        usable = [device for device in own if device.allowed] or own
        idle = [device for device in usable if not self._is_connected(device.id)]
        return min(idle or usable, key=lambda device: device.last_seen_at)


def _canonical(device_id: str) -> str:
    try:
        return device_id_from_mac(device_id)
    except ProtocolError:
        return ""


def _new(browser: Browser, name: str, rights: Rights, now: datetime) -> Device:
    first, *rest = secrets.token_bytes(6)
    # Locally administered, and of one device (IEEE 802, section 8.2): no vendor gives it to a chip.
    octets = [first & 0xFC | 0x02, *rest]
    return Device(
        id="-".join(f"{octet:02x}" for octet in octets),
        client_id=str(uuid.uuid4()),
        epoch=first_epoch(),
        browser=True,
        transport="websocket",
        name=name,
        board=BOARD,
        board_name=BOARD,
        firmware_version=__version__,
        reported_language=bounded(browser.language, tables.LANGUAGE_CHARS),
        host=bounded(browser.host, tables.HOST_CHARS),
        origin=bounded(browser.origin, tables.ORIGIN_CHARS),
        owner_id=rights.user_id,
        auto_update=False,
        revision=0,
        created_at=now,
        updated_at=now,
        last_seen_at=now,
    )


def _name(wanted: str, own: Sequence[Device]) -> str:
    """A name that none of the account's other browsers has."""
    name, taken = bounded(wanted, _NAME_CHARS), {device.name for device in own}
    number = 1
    unique = name
    while unique in taken:
        number += 1
        unique = f"{name} {number}"
    return unique
