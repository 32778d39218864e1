"""The backups that this server made. No backup has this table: it tells of this installation's files."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, Integer, String
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.audit import AUTHOR_CHARS
from mimi_mqtt.store.tables.columns import SERIAL, added_text, moment_column, time_column

NODE_CHARS = 64
BACKUP_NAME_CHARS = 64
BACKUP_PROBLEM_CHARS = 500


class BackupRow(SQLModel, table=True):
    """One backup, from when it was begun."""

    __tablename__ = "backups"

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    node: str = Field(sa_column=Column(String(NODE_CHARS), nullable=False))
    """The name of the machine in whose folder it is."""
    name: str = Field(sa_column=Column(String(BACKUP_NAME_CHARS), nullable=False))
    """The file in `backup.folder`."""
    state: str = Field(sa_column=Column(String(16), nullable=False))
    """`running`, `done` or `failed`."""
    scheduled: bool = Field(sa_column=Column(Boolean, nullable=False))
    """False: a person asked for it."""
    author: str = Field(default="", sa_column=added_text(AUTHOR_CHARS))
    """The name of that person; empty for a scheduled one."""
    started_at: datetime = Field(sa_column=time_column())
    ended_at: datetime | None = Field(default=None, sa_column=moment_column())
    bytes: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    missing_files: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    """Stored files that were not there when it was made."""
    problem: str = Field(default="", sa_column=Column(String(BACKUP_PROBLEM_CHARS), nullable=False))
