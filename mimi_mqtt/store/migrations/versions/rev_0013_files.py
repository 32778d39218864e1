"""Stored files: blobs by the hash of their content, pictures that devices sent, recordings of turns."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("object", sa.String(160), nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_blobs_touched_at", "blobs", ["touched_at"])
    op.create_table(
        "blob_objects",
        sa.Column("name", sa.String(160), primary_key=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("doomed", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_blob_objects_since", "blob_objects", ["since"])
    usage = op.create_table(
        "blob_usage",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(usage, [{"id": 1, "bytes": 0}])
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("device_id", sa.String(17), nullable=False),
        sa.Column("owner_id", sa.String(32), nullable=False),
        sa.Column("group_id", sa.String(32), nullable=False),
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("media_type", sa.String(64), nullable=False),
        _blob(),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_uploads_device", "uploads", ["device_id", "created_at"])
    op.create_index("ix_uploads_owner", "uploads", ["owner_id", "created_at"])
    for column in ("session_id", "sha256", "created_at", "expires_at"):
        op.create_index(f"ix_uploads_{column}", "uploads", [column])
    op.create_table(
        "recordings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("device_id", sa.String(17), nullable=False),
        sa.Column("owner_id", sa.String(32), nullable=False),
        sa.Column("group_id", sa.String(32), nullable=False),
        _blob(),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("session_id", "turn", "side", name="uq_recordings_turn"),
    )
    for column in ("device_id", "owner_id", "sha256", "created_at"):
        op.create_index(f"ix_recordings_{column}", "recordings", [column])
    op.add_column("devices", sa.Column("recordings", sa.String(8), nullable=False, server_default=""))


def _blob() -> sa.Column[str]:
    return sa.Column(
        "sha256", sa.String(64), sa.ForeignKey("blobs.sha256", ondelete="RESTRICT"), nullable=False
    )


def downgrade() -> None:
    op.drop_column("devices", "recordings")
    op.drop_table("recordings")
    op.drop_table("uploads")
    op.drop_table("blob_usage")
    op.drop_table("blob_objects")
    op.drop_table("blobs")
