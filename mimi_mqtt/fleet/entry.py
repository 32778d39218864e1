"""A device in memory: the facts for sessions, and those that decide about its credentials."""

from dataclasses import dataclass, field
from sys import intern

from mimi_mqtt.config.prompt import DeviceFacts
from mimi_mqtt.store.devices import DirectoryRow
from mimi_mqtt.store.tables import Device


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device that may connect. `host` is the address of ours it last reached; a text is "" when unknown,
    `agent` for the default one."""

    device_id: str
    host: str | None = None
    language: str = ""
    name: str = ""
    board: str = ""
    """The board's type, from the last OTA report as its name, `firmware_version` and `cellular`."""
    firmware_version: str = ""
    agent: str = ""
    user_name: str = field(default="", repr=False)
    board_name: str = ""
    cellular: bool = False
    """A modem in place of Wi-Fi: messages are shorter (device contract, section 3)."""
    espressif: bool = False
    """Espressif's own client: it knows neither `alert` nor `notify`, and its WebSocket outlives its sessions
    (device contract, section 8)."""
    origin: str = ""
    """Scheme, host and port by which it reached OTA, such as `http://192.0.2.7:8003`."""
    owner_id: str = ""
    """The account that owns it; "" for nobody's."""
    group_id: str = ""
    """The group that it is shared with; "" for none."""
    auto_update: bool = True
    """It takes firmware of roll-outs by itself."""
    recordings: str = ""
    """`on` or `off`: whether its turns are recorded; "" as its agent says."""

    @property
    def facts(self) -> DeviceFacts:
        """The facts that a prompt may tell."""
        return DeviceFacts(self.device_id, self.name, self.board, self.language, self.firmware_version)


@dataclass(frozen=True, slots=True)
class Registration:
    """The part of a device's row that decides how OTA answers it without asking the database."""

    device_id: str
    client_id: str = field(repr=False)
    epoch: int
    transport: str | None

    @classmethod
    def of(cls, device: Device) -> "Registration":
        """The registration in a row."""
        return cls(device.id, device.client_id, device.epoch, device.transport)


@dataclass(frozen=True, slots=True)
class Entry:
    """The part of a device's row that the directory decides by. Small: a server has a hundred thousand of
    them, and texts that many have are held once."""

    epoch: int
    revision: int
    info: DeviceInfo | None = None
    """None: revoked or forgotten. Remembered, so that an older row that arrives late does not bring it
    back."""
    secret_id: str = ""
    client_id: str = field(default="", repr=False)
    transport: str | None = None
    language: str = ""
    """The language that a person chose; "": the device's own."""
    reported_language: str = ""

    @property
    def registration(self) -> Registration | None:
        """The registration of a device that may connect."""
        info = self.info
        if info is None:
            return None
        return Registration(info.device_id, self.client_id, self.epoch, self.transport)

    @classmethod
    def of(cls, row: DirectoryRow) -> "Entry":
        """The entry for a row."""
        if not row.allowed:
            return cls(row.epoch, row.revision)
        info = DeviceInfo(
            row.id,
            intern(row.host) if row.host else None,
            intern(row.language or row.reported_language),
            row.name,
            intern(row.board),
            intern(row.firmware_version),
            intern(row.agent),
            row.user_name,
            intern(row.board_name),
            row.cellular,
            row.espressif,
            intern(row.origin),
            intern(row.owner_id),
            intern(row.group_id),
            row.auto_update,
            intern(row.recordings),
        )
        return cls(
            row.epoch,
            row.revision,
            info,
            intern(row.secret_id),
            row.client_id,
            intern(row.transport) if row.transport else None,
            intern(row.language),
            intern(row.reported_language),
        )
