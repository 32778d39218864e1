"""A device in memory: the facts for sessions, and those that decide about its credentials."""

from dataclasses import dataclass, field

from mimi_mqtt.config.prompt import DeviceFacts
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
    host: str
    reported_language: str

    @classmethod
    def of(cls, device: Device) -> "Registration":
        """The registration in a row."""
        return cls(
            device.id, device.client_id, device.epoch, device.transport, device.host, device.reported_language
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """The part of a device's row that the directory decides by."""

    epoch: int
    revision: int
    info: DeviceInfo | None
    """None: revoked or forgotten. Remembered, so that an older row that arrives late does not bring it
    back."""
    registration: Registration | None
    secret_id: str = ""

    @classmethod
    def of(cls, device: Device) -> "Entry":
        """The entry for a row."""
        if not device.allowed:
            return cls(device.epoch, device.revision, None, None)
        info = DeviceInfo(
            device.id,
            device.host or None,
            device.language or device.reported_language,
            device.name,
            device.board,
            device.firmware_version,
            device.agent,
            device.user_name,
            device.board_name,
            device.cellular,
        )
        return cls(device.epoch, device.revision, info, Registration.of(device), device.secret_id)
