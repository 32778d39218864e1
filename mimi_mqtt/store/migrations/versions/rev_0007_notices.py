"""Notices that wait for their devices, and how devices reach HTTP."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("device_id", sa.String(17), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sound_id", sa.String(64), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "notice_sounds",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("stream", sa.LargeBinary(), nullable=False),
    )
    op.add_column("devices", sa.Column("espressif", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("devices", sa.Column("origin", sa.String(270), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("devices", "origin")
    op.drop_column("devices", "espressif")
    op.drop_table("notice_sounds")
    op.drop_table("notices")
