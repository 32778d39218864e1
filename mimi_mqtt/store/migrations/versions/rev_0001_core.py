"""Devices, OTA reports, activations, conversations and turns."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _text(name: str, chars: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(chars), nullable=False)


def upgrade() -> None:
    op.create_table(
        "devices",
        sa.Column("id", sa.String(17), primary_key=True),
        _text("client_id", 128),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("transport", sa.String(16), nullable=True),
        _text("name", 64),
        _text("language", 35),
        _text("reported_language", 35),
        _text("board", 64),
        _text("firmware_version", 64),
        _text("host", 253),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        _time("last_seen_at"),
    )
    op.create_index("ix_devices_revision", "devices", ["revision"])
    op.create_index("ix_devices_last_seen_at", "devices", ["last_seen_at"])
    op.create_table(
        "ota_reports",
        sa.Column(
            "device_id", sa.String(17), sa.ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True
        ),
        _time("received_at"),
        sa.Column("report", sa.JSON(), nullable=False),
    )
    op.create_table(
        "activations",
        sa.Column("id", _SERIAL, primary_key=True),
        _text("device_id", 17),
        _text("client_id", 128),
        sa.Column("code", sa.String(6), nullable=False, unique=True),
        _text("challenge", 64),
        _text("serial_number", 64),
        _text("board", 64),
        _text("firmware_version", 64),
        _text("language", 35),
        _text("host", 253),
        _time("created_at"),
        _time("asked_at"),
        _time("expires_at"),
        sa.UniqueConstraint("device_id", "client_id", name="uq_activations_asker"),
    )
    op.create_index("ix_activations_expires_at", "activations", ["expires_at"])
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(64), primary_key=True),
        _text("device_id", 17),
        _time("started_at"),
        _time("last_turn_at"),
    )
    op.create_index("ix_conversations_device", "conversations", ["device_id", "last_turn_at"])
    op.create_index("ix_conversations_last_turn_at", "conversations", ["last_turn_at"])
    op.create_table(
        "turns",
        sa.Column("id", _SERIAL, primary_key=True),
        sa.Column(
            "conversation_id",
            sa.String(64),
            sa.ForeignKey("conversations.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        _time("started_at"),
        _text("mode", 32),
        sa.Column("heard", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        _text("outcome", 32),
        sa.Column("timings_ms", sa.JSON(), nullable=False),
        sa.Column("tools_called", sa.JSON(), nullable=False),
        sa.UniqueConstraint("conversation_id", "number", name="uq_turns_number"),
    )


def downgrade() -> None:
    for table in ("turns", "conversations", "activations", "ota_reports", "devices"):
        op.drop_table(table)
