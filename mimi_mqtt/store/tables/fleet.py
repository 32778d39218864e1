"""The fleet beside its devices: who may register, chips' keys, what devices asked, reported and measured."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, String
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.bounds import (
    DEVICE_ID_CHARS,
    GROUP_ID_CHARS,
    SESSION_ID_CHARS,
    USER_ID_CHARS,
)
from mimi_mqtt.store.tables.columns import SERIAL, moment_column, time_column
from mimi_mqtt.store.tables.devices import (
    ADDRESS_CHARS,
    BOARD_CHARS,
    SECRET_ID_CHARS,
    SERIAL_CHARS,
    VERSION_CHARS,
)

ANSWER_CHARS = 24
REASON_CHARS = 32
NOTE_CHARS = 200
NO_FIRMWARE_CHARS = 200
OTA_REASON_CHARS = 200
CHIP_CHARS = 32
TOOLS_CHARS = 32_768
TRANSPORT_CHARS = 16
INTERVAL_CHARS = 16
END_CHARS = 96


class SeenDevice(SQLModel, table=True):
    """A device that asked OTA, is not registered and may not become so (`ota.new_devices: locked`)."""

    __tablename__ = "seen_devices"

    id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), primary_key=True))
    serial_number: str = Field(default="", repr=False, sa_column=Column(String(SERIAL_CHARS), nullable=False))
    board: str = Field(default="", sa_column=Column(String(BOARD_CHARS), nullable=False))
    firmware_version: str = Field(default="", sa_column=Column(String(VERSION_CHARS), nullable=False))
    address: str = Field(default="", sa_column=Column(String(ADDRESS_CHARS), nullable=False, index=True))
    """The address (`shares.address_holder`) that it asked from."""
    first_seen_at: datetime = Field(sa_column=time_column())
    last_seen_at: datetime = Field(sa_column=time_column(index=True))


class ListedDevice(SQLModel, table=True):
    """A device that an administrator listed before it came: it registers whatever `ota.new_devices` says."""

    __tablename__ = "listed_devices"

    kind: str = Field(sa_column=Column(String(8), primary_key=True))
    """`mac` or `serial`."""
    value: str = Field(sa_column=Column(String(SERIAL_CHARS), primary_key=True))
    """A device id, or a serial number."""
    owner_id: str = Field(default="", sa_column=Column(String(USER_ID_CHARS), nullable=False, index=True))
    """The account that owns the device once it registers; empty: nobody's."""
    group_id: str = Field(default="", sa_column=Column(String(GROUP_ID_CHARS), nullable=False))
    note: str = Field(default="", sa_column=Column(String(NOTE_CHARS), nullable=False))
    created_at: datetime = Field(sa_column=time_column())


class DeviceKey(SQLModel, table=True):
    """The key that is burnt into a chip (eFuse HMAC_KEY0), sealed with a key of the server's secret."""

    __tablename__ = "device_keys"

    serial_number: str = Field(sa_column=Column(String(SERIAL_CHARS), primary_key=True))
    device_id: str = Field(default="", sa_column=Column(String(DEVICE_ID_CHARS), nullable=False, index=True))
    """The MAC address of the chip, where it is known: nothing else may claim it; empty: unknown."""
    sealed: bytes = Field(repr=False, sa_column=Column(LargeBinary, nullable=False))
    secret_id: str = Field(sa_column=Column(String(SECRET_ID_CHARS), nullable=False, index=True))
    """The server's secret (`Credentials.secret_id`) that it is sealed with."""
    created_at: datetime = Field(sa_column=time_column())
    proven_at: datetime | None = Field(default=None, sa_column=moment_column())
    """The last time that a device proved to know it."""


class OtaExchange(SQLModel, table=True):
    """One OTA request and its answer; the last ones of each device are kept. A request that names no device
    has the id ""."""

    __tablename__ = "ota_requests"
    __table_args__ = (Index("ix_ota_requests_device", "device_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False))
    at: datetime = Field(sa_column=time_column(index=True))
    address: str = Field(default="", sa_column=Column(String(ADDRESS_CHARS), nullable=False))
    board: str = Field(default="", sa_column=Column(String(BOARD_CHARS), nullable=False))
    firmware_version: str = Field(default="", sa_column=Column(String(VERSION_CHARS), nullable=False))
    answer: str = Field(sa_column=Column(String(ANSWER_CHARS), nullable=False))
    """A value of `fleet.ota_log.Answer`."""
    firmware: str = Field(default="", sa_column=Column(String(NO_FIRMWARE_CHARS), nullable=False))
    """The reason why no firmware was offered; empty: it was, or it was not looked for."""
    offered_version: str = Field(default="", sa_column=Column(String(VERSION_CHARS), nullable=False))
    signal_dbm: int | None = Field(default=None, sa_column=Column(Integer, nullable=True))
    """Strength of its radio signal as it reported; None: it said nothing of it."""
    reason: str = Field(
        default="", sa_column=Column(String(OTA_REASON_CHARS), nullable=False, server_default="")
    )
    """Why the request was refused, for people; empty: it was not."""


class ServerRun(SQLModel, table=True):
    """One run of a server from its start to the last sign of life that it left."""

    __tablename__ = "server_runs"

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    started_at: datetime = Field(sa_column=time_column())
    alive_at: datetime = Field(sa_column=time_column(index=True))


class DeviceInterval(SQLModel, table=True):
    """A time in which a device was connected, or had a session; of one run of a server."""

    __tablename__ = "device_intervals"
    __table_args__ = (Index("ix_device_intervals_device", "device_id", "began_at"),)

    run_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    number: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    """Counts from 1 in its run."""
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False))
    kind: str = Field(sa_column=Column(String(INTERVAL_CHARS), nullable=False))
    """`connection` or `session`."""
    transport: str = Field(default="", sa_column=Column(String(TRANSPORT_CHARS), nullable=False))
    began_at: datetime = Field(sa_column=time_column())
    ended_at: datetime | None = Field(default=None, sa_column=moment_column(index=True))
    """None: it goes on, or ended with its run."""
    reason: str = Field(default="", sa_column=Column(String(END_CHARS), nullable=False))


class Board(SQLModel, table=True):
    """A type of board that was seen, with what its last OTA report says of its chip and flash."""

    __tablename__ = "boards"

    type: str = Field(sa_column=Column(String(BOARD_CHARS), primary_key=True))
    name: str = Field(default="", sa_column=Column(String(BOARD_CHARS), nullable=False))
    chip: str = Field(default="", sa_column=Column(String(CHIP_CHARS), nullable=False))
    """Such as `esp32s3`."""
    flash_bytes: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    app_bytes: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    """Size of the smallest partition that takes a firmware; 0: not reported."""
    assets_bytes: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    """Size of the assets partition; 0: none, or not reported."""
    first_seen_at: datetime = Field(sa_column=time_column())
    last_seen_at: datetime = Field(sa_column=time_column())


class SessionStatistics(SQLModel, table=True):
    """The audio channel of one session that is over; the last ones of each device are kept."""

    __tablename__ = "session_statistics"
    __table_args__ = (
        Index("ix_session_statistics_device", "device_id", "ended_at"),
        Index("ix_session_statistics_ended", "ended_at", "received", "lost"),
    )

    session_id: str = Field(sa_column=Column(String(SESSION_ID_CHARS), primary_key=True))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False))
    transport: str = Field(sa_column=Column(String(TRANSPORT_CHARS), nullable=False))
    started_at: datetime = Field(sa_column=time_column())
    ended_at: datetime = Field(sa_column=time_column())
    reason: str = Field(default="", sa_column=Column(String(REASON_CHARS), nullable=False))
    udp_seen: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=True))
    """True when a good datagram of the device arrived; None: its audio went another way."""
    received: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    lost: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    late: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    jitter_ms: float | None = Field(default=None, sa_column=Column(Float, nullable=True))
    round_trip_ms: float | None = Field(default=None, sa_column=Column(Float, nullable=True))


class KnownTools(SQLModel, table=True):
    """The tools that a device listed when it was last asked."""

    __tablename__ = "device_tools"

    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), primary_key=True))
    tools: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    learned_at: datetime = Field(sa_column=time_column())
