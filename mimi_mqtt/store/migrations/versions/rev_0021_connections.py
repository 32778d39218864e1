"""History of devices' connections, runs of the server, and the signal in OTA requests."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "server_runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("alive_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_server_runs_alive_at", "server_runs", ["alive_at"])
    op.create_table(
        "device_intervals",
        sa.Column("run_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("device_id", sa.String(17), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("transport", sa.String(16), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(96), nullable=False),
    )
    op.create_index("ix_device_intervals_device", "device_intervals", ["device_id", "began_at"])
    op.create_index("ix_device_intervals_ended_at", "device_intervals", ["ended_at"])
    op.add_column("ota_requests", sa.Column("signal_dbm", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("ota_requests") as table:
        table.drop_column("signal_dbm")
    op.drop_table("device_intervals")
    op.drop_table("server_runs")
