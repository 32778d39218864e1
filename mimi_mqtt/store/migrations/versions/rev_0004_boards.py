"""The name and the network of a device's board; stored reports lose IMEI, ICCID and cell."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CELLULAR = " OR ".join(
    f"LOWER(CAST(report AS TEXT)) LIKE '%\"{name}\"%'" for name in ("imei", "iccid", "imsi", "cereg")
)


def upgrade() -> None:
    op.add_column("devices", sa.Column("board_name", sa.String(64), nullable=False, server_default=""))
    op.add_column("devices", sa.Column("cellular", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(
        "UPDATE devices SET cellular = TRUE "  # noqa: S608  (constants)
        f"WHERE id IN (SELECT device_id FROM ota_reports WHERE {_CELLULAR})"
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA secure_delete=ON")  # the bytes are overwritten too
    # Each device sends a new report when it boots.
    op.execute(f"DELETE FROM ota_reports WHERE {_CELLULAR}")  # noqa: S608  (constants)


def downgrade() -> None:
    for name in ("board_name", "cellular"):
        op.drop_column("devices", name)
