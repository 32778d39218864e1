"""Notices that wait for their devices, and the recordings that they play."""

from datetime import datetime

from sqlalchemy import Boolean, Column, Integer, LargeBinary, String, Text
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.bounds import DEVICE_ID_CHARS
from mimi_mqtt.store.tables.columns import time_column

NOTICE_CHARS = 2_000
NOTICE_ID_CHARS = 32
SOUND_ID_CHARS = 64


class WaitingNotice(SQLModel, table=True):
    """A notice that its device has not been told to the end, until it expires."""

    __tablename__ = "notices"

    id: str = Field(sa_column=Column(String(NOTICE_ID_CHARS), primary_key=True))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False))
    text: str = Field(repr=False, sa_column=Column(Text, nullable=False))
    sound_id: str = Field(default="", sa_column=Column(String(SOUND_ID_CHARS), nullable=False))
    """The recording that is played in place of the text; empty: none."""
    urgent: bool = Field(sa_column=Column(Boolean, nullable=False))
    shown: bool = Field(sa_column=Column(Boolean, nullable=False))
    """True once the device was shown the text."""
    tries: int = Field(sa_column=Column(Integer, nullable=False))
    """Addresses that the device was given and did not fetch."""
    created_at: datetime = Field(sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column())


class NoticeSound(SQLModel, table=True):
    """A recording that notices play: an Ogg Opus stream, by the SHA-256 of its bytes."""

    __tablename__ = "notice_sounds"

    id: str = Field(sa_column=Column(String(SOUND_ID_CHARS), primary_key=True))
    stream: bytes = Field(repr=False, sa_column=Column(LargeBinary, nullable=False))
