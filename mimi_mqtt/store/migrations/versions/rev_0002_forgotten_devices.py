"""Devices that were forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "forgotten_devices",
        sa.Column("id", sa.String(17), primary_key=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_forgotten_devices_revision", "forgotten_devices", ["revision"])


def downgrade() -> None:
    op.drop_table("forgotten_devices")
