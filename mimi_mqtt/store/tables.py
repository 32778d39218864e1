"""Every table, with the bounds of its texts. A change here comes with a migration in `store.migrations`.

The column types are those SQLite and PostgreSQL share. Times are UTC.
"""

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
)
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.values import UtcDateTime

DEVICE_ID_CHARS = 17
CLIENT_ID_CHARS = 128
NAME_CHARS = 64
AGENT_CHARS = 32
USER_NAME_CHARS = 64
LANGUAGE_CHARS = 35
BOARD_CHARS = 64
VERSION_CHARS = 64
HOST_CHARS = 253
SERIAL_CHARS = 64
REPORT_CHARS = 32_768
SESSION_ID_CHARS = 64
HEARD_CHARS = 4_000
REPLY_CHARS = 8_000
WORD_CHARS = 32
ADDRESS_CHARS = 64
SECRET_ID_CHARS = 16

# SQLite gives an integer primary key its own rowid only when it is spelled INTEGER.
_SERIAL = BigInteger().with_variant(Integer(), "sqlite")


def _time(*, index: bool = False) -> Column[datetime]:
    return Column(UtcDateTime(), nullable=False, index=index)


def _added(chars: int) -> Column[str]:
    """A text column that was added to a table with rows."""
    return Column(String(chars), nullable=False, server_default="")


class Device(SQLModel, table=True):
    """A device that was given credentials at least once."""

    __tablename__ = "devices"

    id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), primary_key=True))
    client_id: str = Field(repr=False, sa_column=Column(String(CLIENT_ID_CHARS), nullable=False))
    """The Client-Id that the MAC is bound to; a request with another one gets no credentials."""
    epoch: int = Field(default=1, sa_column=Column(Integer, nullable=False))
    """Part of every credential; raising it makes the old ones worthless."""
    allowed: bool = True
    transport: str | None = Field(default=None, sa_column=Column(String(16), nullable=True))
    """`mqtt`, `websocket`, or None: the server's `ota.transport`."""
    name: str = Field(default="", sa_column=Column(String(NAME_CHARS), nullable=False))
    language: str = Field(default="", sa_column=Column(String(LANGUAGE_CHARS), nullable=False))
    """Set by a person; empty: `reported_language`."""
    reported_language: str = Field(default="", sa_column=Column(String(LANGUAGE_CHARS), nullable=False))
    board: str = Field(default="", sa_column=Column(String(BOARD_CHARS), nullable=False))
    """The board's type; this and the next three are from the last OTA report."""
    board_name: str = Field(default="", sa_column=_added(BOARD_CHARS))
    firmware_version: str = Field(default="", sa_column=Column(String(VERSION_CHARS), nullable=False))
    cellular: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    """A modem in place of Wi-Fi: it takes shorter messages (device contract, section 3)."""
    host: str = Field(default="", sa_column=Column(String(HOST_CHARS), nullable=False))
    """The address of ours that the device last used to reach OTA."""
    agent: str = Field(default="", sa_column=_added(AGENT_CHARS))
    """The agent that a person gave it, by its name in the configuration; empty: the default."""
    user_name: str = Field(default="", sa_column=_added(USER_NAME_CHARS))
    """The name of the person who talks to it."""
    address: str = Field(default="", sa_column=_added(ADDRESS_CHARS))
    """The address (`shares.address_holder`) that registered it by itself; empty: a person allowed it, or it
    is from before this was kept."""
    connected_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime(), nullable=True))
    """The last time that it was seen connected with its credentials, as far as that is known; None: never."""
    secret_id: str = Field(default="", sa_column=_added(SECRET_ID_CHARS))
    """The server's secret (`Credentials.secret_id`) that it proved to have credentials of, after a rotation;
    empty: it had no need to."""
    revision: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    """Raised above every other row's at each change that credentials or sessions depend on."""
    created_at: datetime = Field(sa_column=_time())
    updated_at: datetime = Field(sa_column=_time())
    last_seen_at: datetime = Field(sa_column=_time(index=True))


class ForgottenDevice(SQLModel, table=True):
    """A device that was deleted: tells every process that it is gone. Kept for some weeks."""

    __tablename__ = "forgotten_devices"

    id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), primary_key=True))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    """Among those of the devices, as if their row had changed."""
    forgotten_at: datetime = Field(sa_column=_time())


class OtaReport(SQLModel, table=True):
    """The last OTA report of a device, without what identifies a modem or SIM card."""

    __tablename__ = "ota_reports"

    device_id: str = Field(
        sa_column=Column(
            String(DEVICE_ID_CHARS), ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True
        )
    )
    received_at: datetime = Field(sa_column=_time())
    report: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class Activation(SQLModel, table=True):
    """A request for a device's credentials that is pending until a person allows it.

    The device need not exist yet: one that was never allowed takes no room among the devices.
    """

    __tablename__ = "activations"
    __table_args__ = (UniqueConstraint("device_id", "client_id", name="uq_activations_asker"),)

    id: int | None = Field(default=None, sa_column=Column(_SERIAL, primary_key=True))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False))
    client_id: str = Field(repr=False, sa_column=Column(String(CLIENT_ID_CHARS), nullable=False))
    code: str = Field(repr=False, sa_column=Column(String(6), nullable=False, unique=True))
    challenge: str = Field(repr=False, sa_column=Column(String(64), nullable=False))
    serial_number: str = Field(default="", repr=False, sa_column=Column(String(SERIAL_CHARS), nullable=False))
    board: str = Field(default="", sa_column=Column(String(BOARD_CHARS), nullable=False))
    firmware_version: str = Field(default="", sa_column=Column(String(VERSION_CHARS), nullable=False))
    language: str = Field(default="", sa_column=Column(String(LANGUAGE_CHARS), nullable=False))
    host: str = Field(default="", sa_column=Column(String(HOST_CHARS), nullable=False))
    address: str = Field(default="", sa_column=_added(ADDRESS_CHARS))
    """The address (`shares.address_holder`) that it came from."""
    created_at: datetime = Field(sa_column=_time())
    asked_at: datetime = Field(sa_column=_time())
    expires_at: datetime = Field(sa_column=_time(index=True))


class Conversation(SQLModel, table=True):
    """One session in which at least one turn was taken. It ends with its age, or with its device."""

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_device", "device_id", "last_turn_at"),)

    id: str = Field(sa_column=Column(String(SESSION_ID_CHARS), primary_key=True))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False))
    started_at: datetime = Field(sa_column=_time())
    last_turn_at: datetime = Field(sa_column=_time(index=True))


class Turn(SQLModel, table=True):
    """One turn: the words heard, the answer, the outcome and the duration of its stages."""

    __tablename__ = "turns"
    __table_args__ = (UniqueConstraint("conversation_id", "number", name="uq_turns_number"),)

    id: int | None = Field(default=None, sa_column=Column(_SERIAL, primary_key=True))
    conversation_id: str = Field(
        sa_column=Column(
            String(SESSION_ID_CHARS), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False
        )
    )
    number: int = Field(sa_column=Column(Integer, nullable=False))
    started_at: datetime = Field(sa_column=_time())
    mode: str = Field(sa_column=Column(String(WORD_CHARS), nullable=False))
    heard: str = Field(sa_column=Column(Text, nullable=False))
    reply: str = Field(sa_column=Column(Text, nullable=False))
    outcome: str = Field(sa_column=Column(String(WORD_CHARS), nullable=False))
    timings_ms: dict[str, float] = Field(sa_column=Column(JSON, nullable=False))
    tools_called: list[str] = Field(sa_column=Column(JSON, nullable=False))


class LastSession(SQLModel, table=True):
    """The last session id given to a device, as long as it may not know that the session is over."""

    __tablename__ = "last_sessions"

    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), primary_key=True))
    session_id: str = Field(sa_column=Column(String(SESSION_ID_CHARS), nullable=False))
    given_at: datetime = Field(sa_column=_time())
