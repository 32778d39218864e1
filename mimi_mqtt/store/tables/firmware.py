"""Images of firmware and of assets, their roll-outs, and what became of each device in them."""

from datetime import datetime

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
)
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.bounds import DEVICE_ID_CHARS
from mimi_mqtt.store.tables.columns import SERIAL, moment_column, time_column
from mimi_mqtt.store.tables.devices import BOARD_CHARS, CHANNEL_CHARS, VERSION_CHARS

CHIP_NAME_CHARS = 16
PROJECT_CHARS = 32
SHA256_HEX_CHARS = 64
IMAGE_NOTES_CHARS = 4_000
UPLOADER_CHARS = 64
ROLLOUT_NAME_CHARS = 100
STATE_CHARS = 16
OUTCOME_CHARS = 200
ASSETS_NAME_CHARS = 100


def _of_blob() -> "Column[str]":
    return Column(
        String(SHA256_HEX_CHARS), ForeignKey("blobs.sha256", ondelete="RESTRICT"), nullable=False, index=True
    )


def _of_device() -> "Column[str]":
    return Column(
        String(DEVICE_ID_CHARS), ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class FirmwareImage(SQLModel, table=True):
    """An application image. What it is was read from its bytes; its board was told by who uploaded it."""

    __tablename__ = "firmware_images"
    __table_args__ = (UniqueConstraint("board", "board_name", "version", name="uq_firmware_images_version"),)

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    board: str = Field(sa_column=Column(String(BOARD_CHARS), nullable=False))
    board_name: str = Field(default="", sa_column=Column(String(BOARD_CHARS), nullable=False))
    """Empty: for every board of the type."""
    version: str = Field(sa_column=Column(String(VERSION_CHARS), nullable=False))
    channel: str = Field(sa_column=Column(String(CHANNEL_CHARS), nullable=False))
    chip: str = Field(sa_column=Column(String(CHIP_NAME_CHARS), nullable=False))
    project: str = Field(sa_column=Column(String(PROJECT_CHARS), nullable=False))
    idf_version: str = Field(sa_column=Column(String(PROJECT_CHARS), nullable=False))
    built: str = Field(sa_column=Column(String(PROJECT_CHARS), nullable=False))
    elf_sha256: str = Field(sa_column=Column(String(SHA256_HEX_CHARS), nullable=False))
    secure_version: int = Field(sa_column=Column(BigInteger, nullable=False))
    signed: bool = Field(sa_column=Column(Boolean, nullable=False))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    """In bytes."""
    sha256: str = Field(sa_column=_of_blob())
    notes: str = Field(default="", sa_column=Column(Text, nullable=False))
    uploaded_by: str = Field(sa_column=Column(String(UPLOADER_CHARS), nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    revision: int = Field(default=1, sa_column=Column(Integer, nullable=False))
    """Raised by each change."""


class RollOut(SQLModel, table=True):
    """An image on its way to devices; its fields are those of `fleet.firmware.rollout.RollOutFacts`."""

    __tablename__ = "rollouts"
    __table_args__ = (Index("ix_rollouts_state", "state", "id"),)

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    image_id: int = Field(
        sa_column=Column(
            SERIAL, ForeignKey("firmware_images.id", ondelete="RESTRICT"), nullable=False, index=True
        )
    )
    name: str = Field(default="", sa_column=Column(String(ROLLOUT_NAME_CHARS), nullable=False))
    kind: str = Field(sa_column=Column(String(STATE_CHARS), nullable=False))
    state: str = Field(sa_column=Column(String(STATE_CHARS), nullable=False))
    reason: str = Field(default="", sa_column=Column(String(OUTCOME_CHARS), nullable=False))
    """The reason why it halted; empty: it did not."""
    percent: int = Field(sa_column=Column(Integer, nullable=False))
    channel: str = Field(sa_column=Column(String(CHANNEL_CHARS), nullable=False))
    devices: list[str] = Field(sa_column=Column(JSON, nullable=False))
    owners: list[str] = Field(sa_column=Column(JSON, nullable=False))
    groups: list[str] = Field(sa_column=Column(JSON, nullable=False))
    starts_at: datetime | None = Field(default=None, sa_column=moment_column())
    ends_at: datetime | None = Field(default=None, sa_column=moment_column())
    force: bool = Field(sa_column=Column(Boolean, nullable=False))
    halt_after: int = Field(sa_column=Column(Integer, nullable=False))
    halt_percent: int = Field(sa_column=Column(Integer, nullable=False))
    come_back_min: int = Field(sa_column=Column(Integer, nullable=False))
    takes_back: int | None = Field(
        default=None,
        sa_column=Column(SERIAL, ForeignKey("rollouts.id", ondelete="SET NULL"), nullable=True),
    )
    """The roll-out that it takes back."""
    created_by: str = Field(sa_column=Column(String(UPLOADER_CHARS), nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    changed_at: datetime = Field(sa_column=time_column())
    revision: int = Field(default=1, sa_column=Column(Integer, nullable=False))


class RollOutDevice(SQLModel, table=True):
    """One device in a roll-out, from the first offer on; `progress` is one of `rollout.Progress`."""

    __tablename__ = "rollout_devices"
    __table_args__ = (Index("ix_rollout_devices_progress", "rollout_id", "progress"),)

    rollout_id: int = Field(
        sa_column=Column(SERIAL, ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    )
    device_id: str = Field(sa_column=_of_device())
    progress: str = Field(sa_column=Column(String(STATE_CHARS), nullable=False))
    reason: str = Field(default="", sa_column=Column(String(OUTCOME_CHARS), nullable=False))
    from_version: str = Field(default="", sa_column=Column(String(VERSION_CHARS), nullable=False))
    """The version that it ran when it was first offered the image."""
    attempts: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    """Downloads to the end."""
    bytes_sent: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    """From the image's start on, without gaps."""
    offered_at: datetime = Field(sa_column=time_column())
    began_at: datetime | None = Field(default=None, sa_column=moment_column())
    downloaded_at: datetime | None = Field(default=None, sa_column=moment_column())
    decided_at: datetime | None = Field(default=None, sa_column=moment_column())
    """The last time at which it was done, failed or gone; one that failed may try again."""
    counted: bool = Field(default=True, sa_column=Column(Boolean, nullable=False))
    """False: it was decided before a person let the roll-out go on, and does not halt it again."""


class AssetsFile(SQLModel, table=True):
    """An assets image (fonts, themes, wake words) for a board."""

    __tablename__ = "assets"
    __table_args__ = (Index("ix_assets_board", "board", "id"),)

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    name: str = Field(sa_column=Column(String(ASSETS_NAME_CHARS), nullable=False))
    board: str = Field(sa_column=Column(String(BOARD_CHARS), nullable=False))
    board_name: str = Field(default="", sa_column=Column(String(BOARD_CHARS), nullable=False))
    files: int = Field(sa_column=Column(Integer, nullable=False))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    sha256: str = Field(sa_column=_of_blob())
    notes: str = Field(default="", sa_column=Column(Text, nullable=False))
    uploaded_by: str = Field(sa_column=Column(String(UPLOADER_CHARS), nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    revision: int = Field(default=1, sa_column=Column(Integer, nullable=False))


class AssetsDelivery(SQLModel, table=True):
    """A device that was told to fetch an assets image at its next start; `progress` is `offered`,
    `downloading` or `downloaded`."""

    __tablename__ = "assets_deliveries"

    assets_id: int = Field(
        sa_column=Column(SERIAL, ForeignKey("assets.id", ondelete="CASCADE"), primary_key=True)
    )
    device_id: str = Field(sa_column=_of_device())
    progress: str = Field(sa_column=Column(String(STATE_CHARS), nullable=False))
    bytes_sent: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    offered_at: datetime = Field(sa_column=time_column())
    began_at: datetime | None = Field(default=None, sa_column=moment_column())
    downloaded_at: datetime | None = Field(default=None, sa_column=moment_column())
