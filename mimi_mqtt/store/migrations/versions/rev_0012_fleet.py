"""Owners, rooms, tags and notes of devices; keys of chips, listed and seen devices, boards, the log of OTA
requests, the tools of devices and the statistics of their sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_devices_owner": ["owner_id", "id"],
    "ix_devices_group": ["group_id", "id"],
    "ix_devices_room": ["room", "id"],
    "ix_devices_name": ["name", "id"],
    "ix_devices_agent": ["agent", "id"],
    "ix_devices_created": ["created_at", "id"],
    "ix_devices_seen": ["last_seen_at", "id"],
    "ix_devices_board": ["board", "firmware_version", "id"],
    "ix_devices_allowed": ["allowed", "id"],
    "ix_devices_search": ["search", "id"],
}
_COLUMNS = (
    "owner_id", "owned_since", "group_id", "room", "tags", "notes", "auto_update", "serial_number",
    "disabled_by", "search",
)  # fmt: skip


def _text(name: str, chars: int, default: str | None = None) -> "sa.Column[str]":
    return sa.Column(name, sa.String(chars), nullable=False, server_default=default)


def _at(name: str, *, nullable: bool = False) -> "sa.Column[object]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _number(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer(), nullable=False)


def upgrade() -> None:
    for name, chars in {"owner_id": 32, "group_id": 32, "room": 64, "serial_number": 64}.items():
        op.add_column("devices", _text(name, chars, ""))
    op.add_column("devices", _at("owned_since", nullable=True))
    op.add_column("devices", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("devices", sa.Column("notes", sa.Text(), nullable=False, server_default=""))
    op.add_column("devices", sa.Column("auto_update", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("devices", _text("disabled_by", 32, ""))
    op.add_column("devices", _text("search", 512, ""))
    op.execute("UPDATE devices SET search = LOWER(id || ' ' || name)")
    op.drop_index("ix_devices_last_seen_at", "devices")
    for name, columns in _INDEXES.items():
        op.create_index(name, "devices", columns)
    op.add_column(
        "activations", sa.Column("key_proven", sa.Boolean(), nullable=False, server_default=sa.false())
    )

    op.create_table(
        "seen_devices",
        sa.Column("id", sa.String(17), primary_key=True),
        _text("serial_number", 64),
        _text("board", 64),
        _text("firmware_version", 64),
        _text("address", 64),
        _at("first_seen_at"),
        _at("last_seen_at"),
    )
    op.create_index("ix_seen_devices_address", "seen_devices", ["address"])
    op.create_index("ix_seen_devices_last_seen_at", "seen_devices", ["last_seen_at"])
    op.create_table(
        "listed_devices",
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("value", sa.String(64), primary_key=True),
        _text("owner_id", 32),
        _text("group_id", 32),
        _text("note", 200),
        _at("created_at"),
    )
    op.create_index("ix_listed_devices_owner_id", "listed_devices", ["owner_id"])
    op.create_table(
        "device_keys",
        sa.Column("serial_number", sa.String(64), primary_key=True),
        _text("device_id", 17),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        _text("secret_id", 16),
        _at("created_at"),
        _at("proven_at", nullable=True),
    )
    op.create_index("ix_device_keys_device_id", "device_keys", ["device_id"])
    op.create_index("ix_device_keys_secret_id", "device_keys", ["secret_id"])
    op.create_table(
        "ota_requests",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        _text("device_id", 17),
        _at("at"),
        _text("address", 64),
        _text("board", 64),
        _text("firmware_version", 64),
        _text("answer", 24),
        _text("firmware", 200),
        _text("offered_version", 64),
    )
    op.create_index("ix_ota_requests_device", "ota_requests", ["device_id", "id"])
    op.create_index("ix_ota_requests_at", "ota_requests", ["at"])
    op.create_table(
        "boards",
        sa.Column("type", sa.String(64), primary_key=True),
        _text("name", 64),
        _text("chip", 32),
        _number("flash_bytes"),
        _number("app_bytes"),
        _number("assets_bytes"),
        _at("first_seen_at"),
        _at("last_seen_at"),
    )
    op.create_table(
        "session_statistics",
        sa.Column("session_id", sa.String(64), primary_key=True),
        _text("device_id", 17),
        _text("transport", 16),
        _at("started_at"),
        _at("ended_at"),
        _text("reason", 32),
        sa.Column("udp_seen", sa.Boolean(), nullable=True),
        _number("received"),
        _number("lost"),
        _number("late"),
        sa.Column("jitter_ms", sa.Float(), nullable=True),
        sa.Column("round_trip_ms", sa.Float(), nullable=True),
    )
    op.create_index("ix_session_statistics_device", "session_statistics", ["device_id", "ended_at"])
    op.create_table(
        "device_tools",
        sa.Column("device_id", sa.String(17), primary_key=True),
        sa.Column("tools", sa.JSON(), nullable=False),
        _at("learned_at"),
    )


def downgrade() -> None:
    for table in (
        "device_tools", "session_statistics", "boards", "ota_requests", "device_keys", "listed_devices",
        "seen_devices",
    ):  # fmt: skip
        op.drop_table(table)
    op.drop_column("activations", "key_proven")
    for name in _INDEXES:
        op.drop_index(name, "devices")
    op.create_index("ix_devices_last_seen_at", "devices", ["last_seen_at"])
    for name in _COLUMNS:
        op.drop_column("devices", name)
