"""Stored bytes by the hash of their content; a table that refers to them has a foreign key to
`blobs.sha256`."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.bounds import DEVICE_ID_CHARS, GROUP_ID_CHARS, SESSION_ID_CHARS, USER_ID_CHARS
from mimi_mqtt.store.tables.columns import SERIAL, time_column

SHA256_CHARS = 64
OBJECT_CHARS = 160
UPLOAD_ID_CHARS = 32
UPLOAD_KIND_CHARS = 16
MEDIA_TYPE_CHARS = 64
SIDE_CHARS = 16


def blob_column() -> Column[str]:
    """A reference to a blob: the collector keeps it as long as the row is there."""
    return Column(
        String(SHA256_CHARS), ForeignKey("blobs.sha256", ondelete="RESTRICT"), nullable=False, index=True
    )


class StoredBlob(SQLModel, table=True):
    """Bytes that are in the folder or bucket, whole. It ends when nothing refers to it for a while."""

    __tablename__ = "blobs"

    sha256: str = Field(sa_column=Column(String(SHA256_CHARS), primary_key=True))
    bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    object: str = Field(sa_column=Column(String(OBJECT_CHARS), nullable=False, unique=True))
    """The name of the object that holds them. No name is ever used twice."""
    created_at: datetime = Field(sa_column=time_column())
    touched_at: datetime = Field(sa_column=time_column(index=True))
    """The last time that they were put."""


class BlobObject(SQLModel, table=True):
    """An object that no blob has: it is being written, or is to be deleted."""

    __tablename__ = "blob_objects"

    name: str = Field(sa_column=Column(String(OBJECT_CHARS), primary_key=True))
    bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    since: datetime = Field(sa_column=time_column(index=True))
    doomed: bool = Field(sa_column=Column(Boolean, nullable=False))
    """True: it is deleted, and can't become a blob's any more."""


class BlobUsage(SQLModel, table=True):
    """The bytes of all blobs and objects, in one row: what the quota bounds."""

    __tablename__ = "blob_usage"

    id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    bytes: int = Field(sa_column=Column(BigInteger, nullable=False))


class StoredUpload(SQLModel, table=True):
    """A picture that a device sent: a screenshot, or a photo."""

    __tablename__ = "uploads"
    __table_args__ = (
        Index("ix_uploads_device", "device_id", "created_at"),
        Index("ix_uploads_owner", "owner_id", "created_at"),
    )

    id: str = Field(sa_column=Column(String(UPLOAD_ID_CHARS), primary_key=True))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False))
    owner_id: str = Field(sa_column=Column(String(USER_ID_CHARS), nullable=False))
    """The owner of the device at that time; empty: it had none."""
    group_id: str = Field(sa_column=Column(String(GROUP_ID_CHARS), nullable=False))
    """The group that it was shared with at that time; empty: none."""
    session_id: str = Field(sa_column=Column(String(SESSION_ID_CHARS), nullable=False, index=True))
    """The conversation that the picture belongs to; empty: none."""
    kind: str = Field(sa_column=Column(String(UPLOAD_KIND_CHARS), nullable=False))
    media_type: str = Field(sa_column=Column(String(MEDIA_TYPE_CHARS), nullable=False))
    sha256: str = Field(sa_column=blob_column())
    bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = Field(sa_column=time_column(index=True))
    expires_at: datetime = Field(sa_column=time_column(index=True))


class StoredRecording(SQLModel, table=True):
    """The recording of one side of a turn."""

    __tablename__ = "recordings"
    __table_args__ = (UniqueConstraint("session_id", "turn", "side", name="uq_recordings_turn"),)

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    session_id: str = Field(sa_column=Column(String(SESSION_ID_CHARS), nullable=False))
    turn: int = Field(sa_column=Column(Integer, nullable=False))
    side: str = Field(sa_column=Column(String(SIDE_CHARS), nullable=False))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False, index=True))
    owner_id: str = Field(sa_column=Column(String(USER_ID_CHARS), nullable=False, index=True))
    """The owner of the device at that time; empty: it had none."""
    group_id: str = Field(sa_column=Column(String(GROUP_ID_CHARS), nullable=False))
    sha256: str = Field(sa_column=blob_column())
    bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    duration_ms: int = Field(sa_column=Column(Integer, nullable=False))
    created_at: datetime = Field(sa_column=time_column(index=True))
