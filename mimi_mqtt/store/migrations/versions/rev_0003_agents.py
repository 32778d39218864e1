"""The agent and the user of a device."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, chars in (("agent", 32), ("user_name", 64)):
        op.add_column("devices", sa.Column(name, sa.String(chars), nullable=False, server_default=""))


def downgrade() -> None:
    for name in ("agent", "user_name"):
        op.drop_column("devices", name)
