"""Timers, alarms and reminders."""

from datetime import datetime

from sqlalchemy import Column, Integer, String
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.bounds import DEVICE_ID_CHARS
from mimi_mqtt.store.tables.columns import moment_column, time_column

REMINDER_ID_CHARS = 8
REMINDER_CHARS = 200
OWNER_CHARS = 64
ZONE_CHARS = 64
RULE_CHARS = 255


class Reminder(SQLModel, table=True):
    """A timer, alarm or reminder of a device: see `store.reminders.ReminderRecord`."""

    __tablename__ = "reminders"

    id: str = Field(sa_column=Column(String(REMINDER_ID_CHARS), primary_key=True))
    version: int = Field(sa_column=Column(Integer, nullable=False))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False, index=True))
    owner: str | None = Field(default=None, sa_column=Column(String(OWNER_CHARS), nullable=True))
    kind: str = Field(sa_column=Column(String(16), nullable=False))
    text: str = Field(repr=False, sa_column=Column(String(REMINDER_CHARS), nullable=False))
    duration_s: int = Field(sa_column=Column(Integer, nullable=False))
    wall: str = Field(sa_column=Column(String(19), nullable=False))
    zone: str = Field(sa_column=Column(String(ZONE_CHARS), nullable=False))
    rule: str = Field(sa_column=Column(String(RULE_CHARS), nullable=False))
    expires_s: int = Field(sa_column=Column(Integer, nullable=False))
    due_at: datetime | None = Field(default=None, sa_column=moment_column(index=True))
    pending_at: datetime | None = Field(default=None, sa_column=moment_column())
    pending_until: datetime | None = Field(default=None, sa_column=moment_column(index=True))
    told_at: datetime | None = Field(default=None, sa_column=moment_column())
    ended_at: datetime | None = Field(default=None, sa_column=moment_column(index=True))
    created_at: datetime = Field(sa_column=time_column())
