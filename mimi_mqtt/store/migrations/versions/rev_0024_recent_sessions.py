"""An index of the statistics of sessions by their end: the loss of all devices in a day."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_INDEX = "ix_session_statistics_ended"


def upgrade() -> None:
    op.create_index(_INDEX, "session_statistics", ["ended_at", "received", "lost"])


def downgrade() -> None:
    op.drop_index(_INDEX, "session_statistics")
