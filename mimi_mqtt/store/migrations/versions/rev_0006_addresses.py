"""Addresses of those who register, when devices connected, and the server's secret that they know."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, name, chars in (
        ("activations", "address", 64),
        ("devices", "address", 64),
        ("devices", "secret_id", 16),
    ):
        op.add_column(table, sa.Column(name, sa.String(chars), nullable=False, server_default=""))
    op.add_column("devices", sa.Column("connected_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("devices", "connected_at")
    for table, name in (("devices", "secret_id"), ("devices", "address"), ("activations", "address")):
        op.drop_column(table, name)
