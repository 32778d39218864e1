"""The text in which people are searched for, folded alike on every database."""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_CHARS = 1_024


def upgrade() -> None:
    op.add_column("users", sa.Column("search", sa.String(_CHARS), nullable=False, server_default=""))
    columns = ("id", "name", "display_name", "email", "search")
    users = sa.table("users", *(sa.column(name) for name in columns))
    connection = op.get_bind()
    rows = connection.execute(sa.select(users.c.id, users.c.name, users.c.display_name, users.c.email)).all()
    for user_id, *texts in rows:
        search = "\n".join(map(_folded, texts))[:_CHARS]
        connection.execute(sa.update(users).where(users.c.id == user_id).values(search=search))


def downgrade() -> None:
    op.drop_column("users", "search")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
