"""Facts of conversations and turns about agent, owner, providers and cost; words to search; statistics.

Turns that are there already are counted and indexed in the background: see `store.backfill`.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BUCKETS = 38
_KEY = {"role": 32, "device_id": 17, "owner_id": 32, "agent": 32, "provider": 64}
_SUMS = ("turns", "failed", "input_tokens", "output_tokens", "input_audio_tokens", "output_audio_tokens",
         "characters")  # fmt: skip
_INDEXED = {"owner": "owner_id", "agent": "agent", "outcome": "outcome"}


def _text(name: str, chars: int) -> sa.Column[Any]:
    return sa.Column(name, sa.String(chars), nullable=False, server_default="")


def _number(name: str, kind: type[sa.Float[float]] | type[sa.Integer]) -> sa.Column[Any]:
    return sa.Column(name, kind(), nullable=False, server_default=sa.text("0"))


def _json(name: str, empty: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False, server_default=sa.text(f"'{empty}'"))


def _key() -> list[sa.Column[Any]]:
    texts = [sa.Column(name, sa.String(chars), nullable=False) for name, chars in _KEY.items()]
    return [*texts[:2], sa.Column("day", sa.Date(), nullable=False), *texts[2:]]


def upgrade() -> None:
    for column in (
        _text("agent", 32), _text("owner_id", 32), _text("outcome", 32), _number("turns", sa.Integer)
    ):  # fmt: skip
        op.add_column("conversations", column)
    for name, column_name in _INDEXED.items():
        op.create_index(f"ix_conversations_{name}", "conversations", [column_name, "last_turn_at"])
    for column in (
        _text("kind", 32), _text("agent", 32), _json("providers", "{}"), _json("uses", "[]"),
        sa.Column("cost", sa.Float(), nullable=True), _text("error", 32),
        _number("heard_s", sa.Float), _number("spoken_s", sa.Float),
    ):  # fmt: skip
        op.add_column("turns", column)
    op.create_table(
        "backfills",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("below", _SERIAL, nullable=False),
    )
    op.create_table(
        "daily_statistics",
        *_key(),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("heard_s", "spoken_s", "audio_s", "cost")),
        *(sa.Column(f"ms_{bucket:02}", sa.Integer(), nullable=False) for bucket in range(_BUCKETS)),
        sa.PrimaryKeyConstraint("role", "device_id", "day", "owner_id", "agent", "provider"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "daily_errors",
        *_key(),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("role", "device_id", "day", "owner_id", "agent", "provider", "kind"),
        sqlite_with_rowid=False,
    )
    for table in ("daily_statistics", "daily_errors"):
        op.create_index(f"ix_{table}_owner", table, ["owner_id", "day"])
        op.create_index(f"ix_{table}_day", table, ["day"])
    if op.get_bind().dialect.name == "sqlite":
        _index_of_sqlite()
    else:
        op.execute(
            "CREATE TABLE turn_words ("
            "turn_id BIGINT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE, words TSVECTOR NOT NULL)"
        )
        op.execute("CREATE INDEX ix_turn_words ON turn_words USING gin (words)")
    for work in ("words", "statistics"):
        op.execute(
            f"INSERT INTO backfills (name, below) SELECT '{work}', COALESCE(MAX(id), -1) + 1 FROM turns"  # noqa: S608
        )


def _index_of_sqlite() -> None:
    # Without positions, which nobody asks for, the index takes half of the room and time.
    op.execute(
        "CREATE VIRTUAL TABLE turn_words USING fts5("
        "words, detail=none, columnsize=0, tokenize=\"unicode61 remove_diacritics 0 tokenchars ':'\")"
    )
    # Foreign keys do not reach virtual tables; triggers run for cascaded deletes, too.
    op.execute(
        "CREATE TRIGGER turn_words_of_deleted AFTER DELETE ON turns BEGIN "
        "DELETE FROM turn_words WHERE rowid = old.id; END"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER turn_words_of_deleted")
    for table in ("turn_words", "daily_errors", "daily_statistics", "backfills"):
        op.drop_table(table)
    for column in ("spoken_s", "heard_s", "error", "cost", "uses", "providers", "agent", "kind"):
        op.drop_column("turns", column)
    for name in _INDEXED:
        op.drop_index(f"ix_conversations_{name}", "conversations")
    for column in ("turns", "outcome", "owner_id", "agent"):
        op.drop_column("conversations", column)
