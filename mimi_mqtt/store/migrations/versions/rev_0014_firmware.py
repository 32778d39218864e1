"""Images of firmware and assets, roll-outs with their devices, and the channel of a device."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def _id(
    name: str = "id", *constraints: sa.ForeignKey, key: bool = True, nullable: bool = False
) -> "sa.Column[int]":
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, *constraints, primary_key=key, nullable=nullable)


def _text(name: str, chars: int, *constraints: sa.ForeignKey) -> "sa.Column[str]":
    return sa.Column(name, sa.String(chars), *constraints, nullable=False)


def _number(name: str, *, large: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger() if large else sa.Integer(), nullable=False)


def _at(name: str, *, nullable: bool = False) -> "sa.Column[object]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _flag(name: str) -> "sa.Column[bool]":
    return sa.Column(name, sa.Boolean(), nullable=False)


def _json(name: str) -> "sa.Column[object]":
    return sa.Column(name, sa.JSON(), nullable=False)


def _blob() -> "sa.Column[str]":
    return _text("sha256", 64, sa.ForeignKey("blobs.sha256", ondelete="RESTRICT"))


def _device() -> "sa.Column[str]":
    of_device = sa.ForeignKey("devices.id", ondelete="CASCADE")
    return sa.Column("device_id", sa.String(17), of_device, primary_key=True, nullable=False)


def upgrade() -> None:
    op.add_column("devices", sa.Column("channel", sa.String(32), nullable=False, server_default=""))
    op.create_table(
        "firmware_images",
        _id(), _text("board", 64), _text("board_name", 64), _text("version", 64), _text("channel", 32),
        _text("chip", 16), _text("project", 32), _text("idf_version", 32), _text("built", 32),
        _text("elf_sha256", 64), _number("secure_version", large=True), _flag("signed"),
        _number("size", large=True), _blob(), sa.Column("notes", sa.Text(), nullable=False),
        _text("uploaded_by", 64), _at("created_at"), _number("revision"),
        sa.UniqueConstraint("board", "board_name", "version", name="uq_firmware_images_version"),
    )  # fmt: skip
    op.create_index("ix_firmware_images_sha256", "firmware_images", ["sha256"])
    op.create_table(
        "rollouts",
        _id(), _id("image_id", sa.ForeignKey("firmware_images.id", ondelete="RESTRICT"), key=False),
        _text("name", 100), _text("kind", 16), _text("state", 16), _text("reason", 200), _number("percent"),
        _text("channel", 32), _json("devices"), _json("owners"), _json("groups"),
        _at("starts_at", nullable=True), _at("ends_at", nullable=True), _flag("force"), _number("halt_after"),
        _number("halt_percent"), _number("come_back_min"),
        _id("takes_back", sa.ForeignKey("rollouts.id", ondelete="SET NULL"), key=False, nullable=True),
        _text("created_by", 64), _at("created_at"), _at("changed_at"), _number("revision"),
    )  # fmt: skip
    op.create_index("ix_rollouts_image_id", "rollouts", ["image_id"])
    op.create_index("ix_rollouts_state", "rollouts", ["state", "id"])
    op.create_table(
        "rollout_devices",
        _id("rollout_id", sa.ForeignKey("rollouts.id", ondelete="CASCADE")), _device(), _text("progress", 16),
        _text("reason", 200), _text("from_version", 64), _number("attempts"),
        _number("bytes_sent", large=True),
        _at("offered_at"), _at("began_at", nullable=True), _at("downloaded_at", nullable=True),
        _at("decided_at", nullable=True),
        _flag("counted"),
    )  # fmt: skip
    op.create_index("ix_rollout_devices_device_id", "rollout_devices", ["device_id"])
    op.create_index("ix_rollout_devices_progress", "rollout_devices", ["rollout_id", "progress"])
    op.create_table(
        "assets",
        _id(), _text("name", 100), _text("board", 64), _text("board_name", 64), _number("files"),
        _number("size", large=True), _blob(), sa.Column("notes", sa.Text(), nullable=False),
        _text("uploaded_by", 64), _at("created_at"), _number("revision"),
    )  # fmt: skip
    op.create_index("ix_assets_sha256", "assets", ["sha256"])
    op.create_index("ix_assets_board", "assets", ["board", "id"])
    op.create_table(
        "assets_deliveries",
        _id("assets_id", sa.ForeignKey("assets.id", ondelete="CASCADE")), _device(), _text("progress", 16),
        _number("bytes_sent", large=True), _at("offered_at"), _at("began_at", nullable=True),
        _at("downloaded_at", nullable=True),
    )  # fmt: skip
    op.create_index("ix_assets_deliveries_device_id", "assets_deliveries", ["device_id"])


def downgrade() -> None:
    for table in ("assets_deliveries", "assets", "rollout_devices", "rollouts", "firmware_images"):
        op.drop_table(table)
    op.drop_column("devices", "channel")
