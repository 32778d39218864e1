"""Devices, their reports, and those that wait to be allowed."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
    true,
)
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.bounds import DEVICE_ID_CHARS, GROUP_ID_CHARS, SESSION_ID_CHARS, USER_ID_CHARS
from mimi_mqtt.store.tables.columns import SERIAL, added_text, moment_column, time_column
from mimi_mqtt.store.values import UtcDateTime

CLIENT_ID_CHARS = 128
NAME_CHARS = 64
AGENT_CHARS = 32
USER_NAME_CHARS = 64
LANGUAGE_CHARS = 35
BOARD_CHARS = 64
VERSION_CHARS = 64
HOST_CHARS = 253
ORIGIN_CHARS = 270
REPORT_CHARS = 32_768
SERIAL_CHARS = 64
ADDRESS_CHARS = 64
SECRET_ID_CHARS = 16
RECORDINGS_CHARS = 8
ROOM_CHARS = 64
TAG_CHARS = 32
MAX_TAGS = 16
NOTES_CHARS = 2_000
SEARCH_CHARS = 512
CHANNEL_CHARS = 32


class Device(SQLModel, table=True):
    """A device that was given credentials at least once."""

    __tablename__ = "devices"
    __table_args__ = (
        Index("ix_devices_owner", "owner_id", "id"),
        Index("ix_devices_group", "group_id", "id"),
        Index("ix_devices_room", "room", "id"),
        Index("ix_devices_name", "name", "id"),
        Index("ix_devices_agent", "agent", "id"),
        Index("ix_devices_created", "created_at", "id"),
        Index("ix_devices_seen", "last_seen_at", "id"),
        Index("ix_devices_board", "board", "firmware_version", "id"),
        Index("ix_devices_allowed", "allowed", "id"),
        Index("ix_devices_search", "search", "id"),
    )

    id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), primary_key=True))
    client_id: str = Field(repr=False, sa_column=Column(String(CLIENT_ID_CHARS), nullable=False))
    """The Client-Id that the MAC is bound to; a request with another one gets no credentials."""
    epoch: int = Field(default=1, sa_column=Column(Integer, nullable=False))
    """Part of every credential; raising it makes the old ones worthless."""
    allowed: bool = True
    transport: str | None = Field(default=None, sa_column=Column(String(16), nullable=True))
    """`mqtt`, `websocket`, or None: the server's `ota.transport`."""
    fallback_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime(), nullable=True))
    """When `transport` was set because the device's audio over UDP did not arrive; None: a person set it."""
    name: str = Field(default="", sa_column=Column(String(NAME_CHARS), nullable=False))
    language: str = Field(default="", sa_column=Column(String(LANGUAGE_CHARS), nullable=False))
    """Set by a person; empty: `reported_language`."""
    reported_language: str = Field(default="", sa_column=Column(String(LANGUAGE_CHARS), nullable=False))
    board: str = Field(default="", sa_column=Column(String(BOARD_CHARS), nullable=False))
    """The board's type; this and the next three are from the last OTA report."""
    board_name: str = Field(default="", sa_column=added_text(BOARD_CHARS))
    firmware_version: str = Field(default="", sa_column=Column(String(VERSION_CHARS), nullable=False))
    cellular: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    """A modem in place of Wi-Fi: it takes shorter messages (device contract, section 3)."""
    espressif: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    """Espressif's own client: it knows neither `alert` nor `notify` (device contract, section 8)."""
    host: str = Field(default="", sa_column=Column(String(HOST_CHARS), nullable=False))
    """The address of ours that the device last used to reach OTA."""
    origin: str = Field(default="", sa_column=added_text(ORIGIN_CHARS))
    """Scheme, host and port by which it reaches HTTP, such as `https://voice.example.org`; empty: unknown."""
    agent: str = Field(default="", sa_column=added_text(AGENT_CHARS))
    """The agent that a person gave it, by its name in the configuration; empty: the default."""
    user_name: str = Field(default="", sa_column=added_text(USER_NAME_CHARS))
    """The name of the person who talks to it."""
    recordings: str = Field(default="", sa_column=added_text(RECORDINGS_CHARS))
    """`on` or `off`: whether its turns are recorded; empty: as its agent says."""
    address: str = Field(default="", sa_column=added_text(ADDRESS_CHARS))
    """The address (`shares.address_holder`) that registered it by itself; empty: a person allowed it, or it
    is from before this was kept."""
    connected_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime(), nullable=True))
    """The last time that it was seen connected with its credentials, as far as that is known; None: never."""
    secret_id: str = Field(default="", sa_column=added_text(SECRET_ID_CHARS))
    """The server's secret (`Credentials.secret_id`) that it proved to have credentials of, after a rotation;
    empty: it had no need to."""
    owner_id: str = Field(default="", sa_column=added_text(USER_ID_CHARS))
    """The account that owns it; empty: nobody's."""
    owned_since: datetime | None = Field(default=None, sa_column=moment_column())
    """The last change of owner: nothing of before it is told to the present one."""
    group_id: str = Field(default="", sa_column=added_text(GROUP_ID_CHARS))
    """The group that it is shared with; empty: none."""
    room: str = Field(default="", sa_column=added_text(ROOM_CHARS))
    tags: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False, server_default="[]"))
    notes: str = Field(default="", repr=False, sa_column=Column(Text, nullable=False, server_default=""))
    auto_update: bool = Field(default=True, sa_column=Column(Boolean, nullable=False, server_default=true()))
    """It takes firmware of roll-outs by itself."""
    channel: str = Field(default="", sa_column=added_text(CHANNEL_CHARS))
    """The channel of firmware that it takes, such as `beta`; empty: `stable`."""
    serial_number: str = Field(default="", repr=False, sa_column=added_text(SERIAL_CHARS))
    """The serial number whose key it proved to know; empty: none."""
    browser: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    """A page of the web app: its owner's browsers connect by tokens, and OTA gives it no credentials."""
    disabled_by: str = Field(default="", sa_column=added_text(USER_ID_CHARS))
    """The account that revoked it; empty: it is allowed, or an administrator or the command line did."""
    search: str = Field(default="", repr=False, sa_column=added_text(SEARCH_CHARS))
    """Id, name, room and tags in small letters, for searching."""
    revision: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    """Raised above every other row's at each change that credentials or sessions depend on."""
    created_at: datetime = Field(sa_column=time_column())
    updated_at: datetime = Field(sa_column=time_column())
    last_seen_at: datetime = Field(sa_column=time_column())


class ForgottenDevice(SQLModel, table=True):
    """A device that was deleted: tells every process that it is gone. Kept for some weeks."""

    __tablename__ = "forgotten_devices"

    id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), primary_key=True))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    """Among those of the devices, as if their row had changed."""
    forgotten_at: datetime = Field(sa_column=time_column())


class OtaReport(SQLModel, table=True):
    """The last OTA report of a device, without what identifies a modem or SIM card."""

    __tablename__ = "ota_reports"

    device_id: str = Field(
        sa_column=Column(
            String(DEVICE_ID_CHARS), ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True
        )
    )
    received_at: datetime = Field(sa_column=time_column())
    report: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class Activation(SQLModel, table=True):
    """A request for a device's credentials that is pending until a person allows it.

    The device need not exist yet: one that was never allowed takes no room among the devices.
    """

    __tablename__ = "activations"
    __table_args__ = (UniqueConstraint("device_id", "client_id", name="uq_activations_asker"),)

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False))
    client_id: str = Field(repr=False, sa_column=Column(String(CLIENT_ID_CHARS), nullable=False))
    code: str = Field(repr=False, sa_column=Column(String(6), nullable=False, unique=True))
    challenge: str = Field(repr=False, sa_column=Column(String(64), nullable=False))
    serial_number: str = Field(default="", repr=False, sa_column=Column(String(SERIAL_CHARS), nullable=False))
    board: str = Field(default="", sa_column=Column(String(BOARD_CHARS), nullable=False))
    firmware_version: str = Field(default="", sa_column=Column(String(VERSION_CHARS), nullable=False))
    language: str = Field(default="", sa_column=Column(String(LANGUAGE_CHARS), nullable=False))
    host: str = Field(default="", sa_column=Column(String(HOST_CHARS), nullable=False))
    address: str = Field(default="", sa_column=added_text(ADDRESS_CHARS))
    """The address (`shares.address_holder`) that it came from."""
    key_proven: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    """True once the asker proved to know the key of its serial number."""
    created_at: datetime = Field(sa_column=time_column())
    asked_at: datetime = Field(sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column(index=True))


class LastSession(SQLModel, table=True):
    """The last session id given to a device, as long as it may not know that the session is over."""

    __tablename__ = "last_sessions"

    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), primary_key=True))
    session_id: str = Field(sa_column=Column(String(SESSION_ID_CHARS), nullable=False))
    given_at: datetime = Field(sa_column=time_column())
